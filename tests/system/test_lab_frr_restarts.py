"""What a rack router (FRR) and the pods notice when gobgpd or the speaker of a node dies and comes back."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from lab import measure, netns, observe, routing
from lab.commands import run
from lab.monitor import RouteMonitor
from lab.plan import SERVICE_RANGES
from lab.topology import RackKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.rig import Lab
    from lab.runtime import Attachment
    from lab.topology import Address, Prefix

BACK_SECONDS = 5.0  # gobgpd's restart until everything is at the rack again
WATCH_SECONDS = 6.0  # how long after a restart a route update would have come
VERSIONS = (4, 6)


@dataclass(frozen=True, slots=True)
class Stand:
    """A lab with FRR in its rack: a pod on each node, and on node1 one that is announced by itself."""

    lab: Lab
    a: Attachment
    b: Attachment
    lone: Attachment

    def of_node1(self) -> list[Prefix]:
        """All that node1 alone announces."""
        hosts = [ip_network(self.lone.address(version)) for version in VERSIONS]
        return [*self.lab.topology.router("node1").subnets, *hosts]

    def end(self, member: str, towards: str, prefix: Prefix) -> Address:
        return self.lab.topology.end(member, towards).address(prefix.version)

    def received_updates(self) -> dict[str, int]:
        """How many UPDATE messages FRR has got from each neighbour since its start."""
        namespace = self.lab.namespace("rack")
        answer = run(netns.inside(namespace, ["vtysh", "-N", namespace, "-c", "show bgp neighbors json"]))
        neighbours = json.loads(answer)
        found = {
            name: int(entry["messageStats"]["updatesRecv"])
            for name, entry in neighbours.items()
            if isinstance(entry, dict) and "messageStats" in entry
        }
        assert len(found) == len(self.lab.topology.peerings("rack"))
        return found


@pytest.fixture(scope="module")
def stand(make_lab: Callable[[RackKind], Lab]) -> Stand:
    lab = make_lab(RackKind.FRR)
    pods = [
        lab.attach(pod, node, network)
        for pod, node, network in (
            ("a", "node1", "pods"),
            ("b", "node2", "pods"),
            ("lone", "node1", "single"),
        )
    ]
    for pod in pods:
        lab.in_pod(pod, "server", measure.server()).start()
    made = Stand(lab, *pods)
    await_all(made)
    return made


def await_all(stand: Stand) -> None:
    """Waits until everything is at the rack and at both nodes."""
    topology = stand.lab.topology
    for node in topology.nodes:
        for subnet in node.subnets:
            observe.route_via(
                stand.lab, "rack", subnet, [stand.end(node.name, "rack", subnet)], observe.SESSION_SECONDS
            )
            for other in topology.nodes:
                if other is not node:
                    observe.route_via(stand.lab, other.name, subnet, [stand.end("rack", other.name, subnet)])
    for prefix in stand.of_node1():
        observe.route_via(stand.lab, "rack", prefix, [stand.end("node1", "rack", prefix)])
    for shared in SERVICE_RANGES:
        observe.route_via(
            stand.lab, "rack", shared, [stand.end(n.name, "rack", shared) for n in topology.nodes]
        )


def test_killed_gobgpd_s_routes_are_back_at_the_rack_in_time(
    stand: Stand, record_property: Callable[[str, object], None]
) -> None:
    gobgpd = stand.lab.program("node1", "gobgpd")
    gobgpd.signal(signal.SIGKILL)
    try:
        for prefix in stand.of_node1():
            observe.route_via(stand.lab, "rack", prefix, [])
    finally:
        started = time.monotonic()
        gobgpd.start()
    for prefix in stand.of_node1():
        observe.route_via(stand.lab, "rack", prefix, [stand.end("node1", "rack", prefix)])
    for shared in SERVICE_RANGES:
        nodes = [stand.end(node.name, "rack", shared) for node in stand.lab.topology.nodes]
        observe.route_via(stand.lab, "rack", shared, nodes)
    took = time.monotonic() - started
    record_property("seconds_until_routes_are_back", round(took, 2))
    print(f"all routes of node1 were back at the rack {took:.2f} s after gobgpd's restart")
    assert took <= BACK_SECONDS
    await_all(stand)


def test_learned_routes_stay_in_the_kernel_while_gobgpd_dies_and_recovers(stand: Stand) -> None:
    namespace = stand.lab.namespace("node1")
    learned = {s: routing.gateways(namespace, s) for s in stand.lab.topology.router("node2").subnets}
    assert all(learned.values())
    gobgpd = stand.lab.program("node1", "gobgpd")
    with RouteMonitor(namespace) as monitor:
        gobgpd.signal(signal.SIGKILL)
        try:
            for prefix in stand.of_node1():
                observe.route_via(stand.lab, "rack", prefix, [])
        finally:
            gobgpd.start()
        await_all(stand)
    assert {subnet: monitor.removed(subnet) for subnet in learned} == {subnet: [] for subnet in learned}
    assert {s: routing.gateways(namespace, s) for s in learned} == learned


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_speaker_s_restart_is_seen_by_nobody(
    stand: Stand, number: signal.Signals, record_property: Callable[[str, object], None]
) -> None:
    before = stand.received_updates()
    with (
        measure.LossMeter(stand.a.namespace, stand.b.address(4)) as ipv4,
        measure.LossMeter(stand.a.namespace, stand.b.address(6)) as ipv6,
    ):
        for node in stand.lab.topology.nodes:
            stand.lab.program(node.name, "speaker").signal(number)
        for node in stand.lab.topology.nodes:
            stand.lab.program(node.name, "speaker").start()
        deadline = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < deadline:
            assert stand.received_updates() == before
            time.sleep(0.2)
    for losses in (ipv4.losses, ipv6.losses):
        record_property("losses", str(losses))
        print(f"with the speakers {number.name}: {losses}")
        assert losses.lost == 0
        assert losses.sent > 50 * WATCH_SECONDS * 0.9
    follows(stand)
    after = stand.received_updates()
    assert all(after[neighbour] > before[neighbour] for neighbour in before)


def test_what_changed_while_the_speaker_was_dead_is_announced_by_the_next(stand: Stand) -> None:
    speaker = stand.lab.program("node2", "speaker")
    early = stand.lab.attach("early", "node2", "single")
    early_hosts = [ip_network(early.address(version)) for version in VERSIONS]
    for host in early_hosts:
        observe.route_via(stand.lab, "rack", host, [stand.end("node2", "rack", host)])
    speaker.signal(signal.SIGKILL)
    stand.lab.detach(early)
    late = stand.lab.attach("late", "node2", "single")
    late_hosts = [ip_network(late.address(version)) for version in VERSIONS]
    assert not set(late_hosts) & set(early_hosts)
    for host in late_hosts:
        observe.route_via(stand.lab, "rack", host, [], seconds=0)
    speaker.start()
    for host in late_hosts:
        observe.route_via(stand.lab, "rack", host, [stand.end("node2", "rack", host)])
    for host in early_hosts:
        observe.route_via(stand.lab, "rack", host, [])
    stand.lab.detach(late)
    for host in late_hosts:
        observe.route_via(stand.lab, "rack", host, [])


def test_rack_router_that_ends_takes_its_routes_along_and_brings_them_back(stand: Stand) -> None:
    client_subnets = stand.lab.topology.routers[-1].prefixes
    bgpd = stand.lab.program("rack", "bgpd")
    bgpd.signal(signal.SIGTERM)
    try:
        for node in stand.lab.topology.nodes:
            for prefix in client_subnets:
                observe.route_via(stand.lab, node.name, prefix, [])
    finally:
        bgpd.start()
    await_all(stand)
    for node in stand.lab.topology.nodes:
        for prefix in client_subnets:
            observe.route_via(stand.lab, node.name, prefix, [stand.end("rack", node.name, prefix)])


def follows(stand: Stand) -> None:
    """The restarted speakers are at work: what is attached now is announced, what goes is withdrawn."""
    for node in stand.lab.topology.nodes:
        pod = stand.lab.attach("proof", node.name, "single")
        hosts = [ip_network(pod.address(version)) for version in VERSIONS]
        for host in hosts:
            observe.route_via(stand.lab, "rack", host, [stand.end(node.name, "rack", host)])
        stand.lab.detach(pod)
        for host in hosts:
            observe.route_via(stand.lab, "rack", host, [])
