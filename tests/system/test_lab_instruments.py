"""The lab's measuring instruments notice what they are there to notice."""

from __future__ import annotations

import os
import signal
import sys
import time
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from lab import leftovers, measure, netns, observe, routing
from lab.commands import run
from lab.errors import LabError, NotObservedError
from lab.monitor import RouteMonitor
from lab.processes import Program, is_running
from lab.topology import RackKind, namespace_prefix
from lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.rig import Lab


@pytest.fixture(scope="module")
def lab(make_lab: Callable[[RackKind], Lab]) -> Lab:
    """A lab whose client has an echo server."""
    made = make_lab(RackKind.GOBGP)
    Program("server", made.namespace("client"), measure.server(), made.place("rack").directory).start()
    for version in (4, 6):
        observe.reply(made.namespace("rack"), client_address(made, version))
    return made


def client_address(lab: Lab, version: int) -> str:
    return str(lab.topology.end("client", "rack").address(version))


@pytest.mark.parametrize("version", [4, 6])
def test_trace_names_the_router_between(lab: Lab, version: int) -> None:
    node = lab.namespace("node1")
    gateway = str(lab.topology.end("rack", "node1").address(version))
    netns.add_default_routes(node, [lab.topology.end("rack", "node1").address(version)])
    target = client_address(lab, version)
    assert observe.reply(node, target).ttl == 63
    assert measure.trace(node, target) == (
        measure.Hop(gateway, arrived=False),
        measure.Hop(target, arrived=True),
    )


def test_question_without_a_route_or_a_server_is_an_error_and_no_crash(lab: Lab) -> None:
    assert measure.ask(lab.namespace("node2"), "198.51.100.1").error == "Network is unreachable"
    rack = str(lab.topology.end("rack", "client").address(4))
    assert "refused" in measure.ask(lab.namespace("client"), rack).error


@pytest.mark.parametrize("version", [4, 6])
def test_loss_meter_counts_what_a_missing_route_loses(lab: Lab, version: int) -> None:
    # A link that goes down is no good for this: the kernel keeps datagrams until it has found the neighbour again.
    target = client_address(lab, version)
    route = [f"-{version}", "route"]
    with measure.LossMeter(lab.namespace("rack"), target, rate=50) as meter:
        time.sleep(0.5)
        for verb in ("add", "delete"):
            run(["ip", "-n", lab.namespace("rack"), *route, verb, "unreachable", target])
            time.sleep(0.5)
    assert 20 <= meter.losses.lost <= 35
    assert meter.losses.sent >= 70
    assert meter.losses.longest_gap_ms >= 400


def test_monitor_sees_a_route_that_was_gone_for_a_moment(lab: Lab) -> None:
    namespace = lab.namespace("client")
    prefix = ip_network("198.51.100.0/24")
    route = [str(prefix), "dev", "lo"]
    run(["ip", "-n", namespace, "route", "add", *route])
    with RouteMonitor(namespace) as undisturbed:
        pass
    assert undisturbed.removed(prefix) == []
    with RouteMonitor(namespace) as monitor:
        run(["ip", "-n", namespace, "route", "delete", *route])
        run(["ip", "-n", namespace, "route", "add", *route])
    assert len(monitor.removed(prefix)) == 1
    assert routing.gateways(namespace, prefix) == frozenset()


def test_tunnel_and_nat_are_noticed(lab: Lab) -> None:
    namespace = lab.namespace("client")
    observe.only_plain_devices(namespace)
    observe.no_address_translation(namespace)
    run(["ip", "-n", namespace, "link", "add", "odd0", "type", "vxlan", "id", "7", "dstport", "4789"])
    netns.set_link(namespace, "odd0", "up")
    rules = "table ip6 odd { chain out { type nat hook postrouting priority 100; }; }"
    run(netns.inside(namespace, ["nft", "-f", "-"]), stdin=rules)
    with pytest.raises(LabError, match="odd0"):
        observe.only_plain_devices(namespace)
    with pytest.raises(LabError, match="odd/out"):
        observe.no_address_translation(namespace)


def test_route_that_does_not_come_is_said_with_what_was_seen(lab: Lab) -> None:
    prefix = ip_network("198.51.100.128/25")
    gateway = lab.topology.end("client", "rack").address(4)
    with pytest.raises(
        NotObservedError, match=r"rack: route to 198\.51\.100\.128/25 via 192\.0\.2\.50: not so"
    ):
        observe.route_via(lab, "rack", prefix, [gateway], seconds=0.3)


COUNTED = """
table inet t {
    set s {
        type ipv4_addr; flags timeout
        elements = { 192.0.2.1 timeout 60s }
    }
    chain c {
        type filter hook output priority 0
        counter accept
    }
}
"""


def test_counters_that_go_on_are_no_leftovers(lab_name: str) -> None:
    """A firewall's counters: looked at in a namespace, since the machine's own is not touched."""
    namespace = f"anypod-{lab_name}-nft"
    netns.add(namespace)
    try:
        run(netns.inside(namespace, ["nft", "-f", "-"]), stdin=COUNTED)
        script = "from lab.leftovers import rules; print(sorted(rules()))"
        argv = netns.inside(namespace, [sys.executable, "-c", script])
        before = run(argv)
        run(netns.inside(namespace, ["ping", "-c", "2", "-i", "0.2", "127.0.0.1"]))
        assert run(argv) == before
        assert "counter" in before
    finally:
        netns.delete(namespace)


def test_leftovers_are_found(lab_name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(leftovers, "SECONDS", 0.2)
    before = leftovers.look(lab_name)
    namespace = f"{namespace_prefix(lab_name)}node1"
    netns.add(namespace)
    program = Program("sleeper", namespace, ("sleep", "100"), tmp_path)
    pid = program.start()
    try:
        until(program.pid, bool, seconds=5, what="the sleeper runs")
        identities = leftovers.inodes(lab_name)
        found = leftovers.find(lab_name, before, identities)
        assert f"namespace {namespace}" in found
        assert f"process {pid}" in found
        assert any(line.startswith("mount ") for line in found)
        # In a namespace that has lost its name a process is found all the same.
        netns.delete(namespace)
        assert leftovers.find(lab_name, before, identities) == (f"process {pid}",)
    finally:
        os.kill(pid, signal.SIGKILL)
        until(lambda: is_running(pid), lambda running: not running, seconds=5, what="the sleeper ended")
    assert leftovers.find(lab_name, before, identities) == ()
