"""CNI specification, DEL: rules D1 to D5, D7 and D8, with the installed executable as a process.

D6 is among the rules of calls at the same time, the bounds of D8's waits are a file of their own.
"""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.conformance_rig import (
    SLOW,
    V4,
    VERSIONS,
    FakeIpam,
    add_with,
    encoded,
    finish,
    injected,
    refused,
    silent,
    wait_until,
)
from tests.system.plugin_node import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.system.plugin_node import Node


def lose_namespace(node: Node, pod: str, _conf: dict[str, Any]) -> None:
    run("ip", "netns", "del", pod)
    node.pods.remove(pod)


def lose_interface(node: Node, pod: str, _conf: dict[str, Any]) -> None:
    node.execute(pod, "ip", "link", "del", "eth0")


def lose_bridge(node: Node, _pod: str, _conf: dict[str, Any]) -> None:
    node.execute(node.name, "ip", "link", "del", "cni0")


def lose_state(node: Node, _pod: str, _conf: dict[str, Any]) -> None:
    shutil.rmtree(node.state)


def lose_tables(node: Node, _pod: str, _conf: dict[str, Any]) -> None:
    node.execute(node.name, "nft", "flush", "ruleset")


def rename_interface(node: Node, pod: str, _conf: dict[str, Any]) -> None:
    node.execute(pod, "ip", "link", "set", "eth0", "down")
    node.execute(pod, "ip", "link", "set", "eth0", "name", "eth7")


def nothing(_node: Node, _pod: str, _conf: dict[str, Any]) -> None:
    """DEL as it should be."""


def change_conf(**keys: object) -> Callable[[Node, str, dict[str, Any]], None]:
    def change(_node: Node, _pod: str, conf: dict[str, Any]) -> None:
        conf.update(keys)

    return change


CHANGES: dict[str, Callable[[Node, str, dict[str, Any]], None]] = {
    "nothing": nothing,
    "the namespace is deleted": lose_namespace,
    "the interface is deleted": lose_interface,
    "the interface was renamed": rename_interface,
    "the bridge is deleted": lose_bridge,
    "the state file is lost": lose_state,
    "nftables were flushed": lose_tables,
    "prevResult is missing": change_conf(prevResult=None),
    "prevResult is nonsense": change_conf(prevResult={"cniVersion": "9", "ips": 5}),
    "the subnet was changed": change_conf(ipam={"subnet": "10.9.0.0/16"}),
    "ipam is missing": change_conf(ipam=None),
    "another bridge": change_conf(bridge="cni9"),
    "no masquerading any more": change_conf(ipMasq=False, macspoofchk=False),
    "the netconf has gone wrong": change_conf(mtu="x", ipam={"subnet": "nonsense"}, bridge=""),
    "a newer version": change_conf(cniVersion="1.1.0"),
    "the first version": change_conf(cniVersion=None),
    "capabilities are missing": change_conf(runtimeConfig=None),
}
FULL = {
    "runtimeConfig": {
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": {
            "ingressRate": 8_000_000,
            "ingressBurst": 800_000,
            "egressRate": 8_000_000,
            "egressBurst": 800_000,
        },
    },
    "ipMasq": True,
    "macspoofchk": True,
}


@pytest.mark.parametrize("what", CHANGES)
def test_D1_del_succeeds_and_leaves_nothing(node: Node, what: str) -> None:
    """With all that an attachment can have: ports, bandwidth, masquerading, a spoof check."""
    conf = node.conf(**FULL)
    warm = node.pod()
    node.add("warm", warm, conf)
    node.delete("warm", warm, conf)
    before = node.traces()
    pod = node.pod()
    conf["prevResult"] = node.add("c1", pod, conf)
    CHANGES[what](node, pod, conf)
    silent(node.verb("DEL", "c1", pod, conf))
    assert node.held() == {}
    wait_until(lambda: node.links() <= {"lo", "cni0"}, f"links are left: {node.links()}")
    if what not in ("nftables were flushed", "the state file is lost"):
        assert node.traces()["nft"] == before["nft"]


@pytest.mark.parametrize("version", VERSIONS)
def test_D1_del_needs_no_namespace_and_no_earlier_add(node: Node, version: str) -> None:
    conf = node.conf(cniVersion=version)
    silent(node.verb("DEL", "never", "", conf))
    silent(node.verb("DEL", "never", "none", conf))
    pod = node.pod()
    node.add("c1", pod, conf)
    silent(node.verb("DEL", "c1", "", conf))
    assert node.held() == {}
    assert node.links(pod) == {"lo"}


def test_D2_del_may_be_repeated(node: Node) -> None:
    pod = node.pod()
    conf = node.conf(**FULL)
    node.add("c1", pod, conf)
    for _ in range(3):
        silent(node.verb("DEL", "c1", pod, conf))
    assert node.held() == {}


def test_D3_the_address_is_released_even_if_the_link_resists(node: Node) -> None:
    """The kernel's refusal of every request for the link is put in; the next DEL finishes."""
    pod = node.pod()
    node.add("c1", pod)
    trace = injected("sendto,sendmsg:error=EPERM")
    answer = finish(node.start(node.environment("DEL", "c1", pod), node.conf(), trace))
    assert answer.status != 0
    assert answer.json["code"] != 999
    assert node.held() == {}
    assert "eth0" in node.links(pod)
    silent(node.verb("DEL", "c1", pod))
    assert node.links(pod) == {"lo"}


def test_D3_an_error_of_a_delegated_plugin_is_told_and_the_rest_is_done(node: Node, tmp_path: Path) -> None:
    ipam, pod = FakeIpam(tmp_path / "cni"), node.pod()
    conf = node.conf(ipam={"type": "fake-ipam"})
    assert add_with(node, pod, conf, **ipam.variables).status == 0
    ipam.fails("DEL")
    env = node.environment("DEL", "c1", pod) | ipam.variables
    refused(node.call(env, encoded(conf)), 111, "the fake refuses")
    assert node.held() == {}
    assert node.links(pod) == {"lo"}
    ipam.works("DEL")
    silent(node.call(env, encoded(conf)))
    assert ipam.calls() == ["ADD c1 eth0", "DEL c1 eth0", "DEL c1 eth0"]


@pytest.mark.parametrize("call", ["setns", "clone", "sendto"])
def test_D4_a_killed_add_is_cleaned_up(node: Node, call: str) -> None:
    """At the first, second, … of these system calls, until the ADD gets through."""
    pod = node.pod()
    node.add("warm", node.pod())
    before = node.traces()
    killed = 0
    for number in range(1, 30):
        kill = injected(f"{call}:signal=KILL:when={number}")
        answer = finish(node.start(node.environment("ADD", "c1", pod), node.conf(), kill))
        killed += answer.status == -signal.SIGKILL
        silent(node.verb("DEL", "c1", pod))
        assert node.traces() == before, f"{call} number {number}"
        if answer.status == 0:
            break
    assert killed or call == "clone"


def test_D5_another_interface_of_the_container_stays(node: Node) -> None:
    pod = node.pod()
    for ifname in ("eth0", "net1"):
        node.add("c1", pod, node.conf(ipam=V4), ifname=ifname)
    node.delete("c1", pod, node.conf(ipam=V4), ifname="eth0")
    assert node.links(pod) == {"lo", "net1"}
    assert node.held() == {"c1": ("10.244.1.3/24",)}
    assert node.pings(pod, "10.244.1.1")


def test_D5_a_new_owner_of_the_address_keeps_it(node: Node) -> None:
    conf = node.conf(ipam={"subnet": "10.244.1.0/30"})
    first, second = node.pod(), node.pod()
    node.add("c1", first, conf)
    node.delete("c1", first, conf)
    node.add("c2", second, conf)
    silent(node.verb("DEL", "c1", first, conf))
    assert node.held() == {"c2": ("10.244.1.2/30",)}
    assert node.pings(second, "10.244.1.1")


def test_D5_a_new_owner_of_the_host_port_keeps_it(node: Node) -> None:
    conf = node.conf(**FULL)
    first, second = node.pod(), node.pod()
    node.add("c1", first, conf)
    node.delete("c1", first, conf)
    node.add("c2", second, conf)
    before = node.traces()
    silent(node.verb("DEL", "c1", first, conf))
    assert node.traces() == before


def test_D7_what_a_runtime_never_deleted_is_found_when_addresses_run_out(node: Node) -> None:
    """Six addresses, six sandboxes that vanish without a DEL, and three that live."""
    conf = node.conf(ipam={"subnet": "10.244.1.0/28", "rangeEnd": "10.244.1.10"}, **FULL)
    conf["runtimeConfig"] = None
    lost = [node.pod() for _ in range(6)]
    alive = [node.pod() for _ in range(3)]
    for number, pod in enumerate([*lost, *alive]):
        node.add(f"c{number}", pod, conf)
    for pod in lost:
        lose_namespace(node, pod, conf)
    # The kernel takes their links away behind that; as soon as one is gone, there is an address.
    wait_until(
        lambda: sum(name.startswith("anyp") for name in node.links()) == len(alive), "the links are gone"
    )
    node.add("next", node.pod(), conf)
    assert set(node.held()) == {"c6", "c7", "c8", "next"}
    assert all(node.pings(pod, "10.244.1.1") for pod in alive)


# What the tests were started by may ignore signals, and who is started by them would, too.
HEARING = ("env", "--default-signal=HUP,INT,TERM")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT])
def test_D8_a_signal_in_the_middle_of_add_leaves_what_del_cleans_up(node: Node, sent: signal.Signals) -> None:
    pod = node.pod()
    node.add("warm", node.pod())
    before = node.traces()
    process = node.start(node.environment("ADD", "c1", pod), node.conf(**FULL), [*HEARING, *SLOW])
    wait_until(lambda: "c1" in node.held(), "no address was given")
    os.kill(process.pid, sent)
    answer = finish(process)
    assert answer.status != 0
    silent(node.verb("DEL", "c1", pod, node.conf(**FULL)))
    after = node.traces()
    assert {key: after[key] for key in ("links", "pods", "held")} == {
        key: before[key] for key in ("links", "pods", "held")
    }


def test_D8_sigterm_makes_add_undo_itself_and_say_so(node: Node) -> None:
    pod = node.pod()
    node.add("warm", node.pod())
    before = node.traces()
    process = node.start(node.environment("ADD", "c1", pod), node.conf(), SLOW)
    wait_until(lambda: "c1" in node.held(), "no address was given")
    process.terminate()
    refused(finish(process), 11, "SIGTERM")
    assert node.traces() == before
