"""CNI specification, CHECK: rules K1 to K5, with the installed executable as a process."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.conformance_rig import V4, WITH_CHECK, FakeIpam, add_with, encoded, refused, silent

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.plugin_node import Node

MAPPED = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}


@pytest.mark.parametrize("version", WITH_CHECK)
@pytest.mark.parametrize("previous", ["absent", "null"])
def test_K1_check_needs_the_result_of_add(node: Node, version: str, previous: str) -> None:
    pod = node.pod()
    conf = node.conf(cniVersion=version)
    node.add("c1", pod, conf)
    answer = node.verb("CHECK", "c1", pod, conf | ({"prevResult": None} if previous == "null" else {}))
    refused(answer, 7, "Required prevResult missing")


def attached(node: Node, **keys: object) -> tuple[dict[str, Any], str]:
    """A netconf with the result of its ADD, and the pod; CHECK passes, at once (K4)."""
    pod = node.pod()
    conf = node.conf(cniVersion="1.1.0", mtu=1400, ipMasq=True, macspoofchk=True, runtimeConfig=MAPPED) | keys
    conf["prevResult"] = node.add("c1", pod, conf)
    silent(node.verb("CHECK", "c1", pod, conf))
    return conf, pod


# Where the change is made, the change, and a word of what CHECK says to it. HOST is the node's end of the pair.
DAMAGES = {
    "interface deleted": ("pod", "ip link del eth0", "missing"),
    "interface renamed": ("pod", "ip link set eth0 down name eth7", "eth0"),
    "interface down": ("pod", "ip link set eth0 down", "is down"),
    "hardware address": ("pod", "ip link set eth0 address 02:00:00:00:00:77", "02:00:00:00:00:77"),
    "MTU": ("pod", "ip link set eth0 mtu 1300", "MTU 1300"),
    "address of IPv4": ("pod", "ip addr del 10.244.1.2/24 dev eth0", "10.244.1.2/24"),
    "address of IPv6": ("pod", "ip addr del fd00:1::2/64 dev eth0", "fd00:1::2/64"),
    "prefix length": ("pod", "ip addr change 10.244.1.2/16 dev eth0", ""),
    "default route": ("pod", "ip route del default", "0.0.0.0/0"),
    "default route of IPv6": ("pod", "ip -6 route del default", "::/0"),
    "port down": ("node", "ip link set HOST down", "HOST"),
    "port of no bridge": ("node", "ip link set HOST nomaster", "HOST"),
    "bridge deleted": ("node", "ip link del cni0", "cni0"),
    "bridge down": ("node", "ip link set cni0 down", "cni0"),
    "gateway": ("node", "ip addr del 10.244.1.1/24 dev cni0", "10.244.1.1"),
    "gateway of IPv6": ("node", "ip addr del fd00:1::1/64 dev cni0", "fd00:1::1"),
    "masquerading": ("node", "nft delete table inet anypod", "anypod"),
    "spoof check": ("node", "nft flush set bridge anypod macspoof", "nftables"),
    "host port": ("node", "nft flush map inet anypod hostports4", "nftables"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_K2_check_tells_what_is_not_as_add_left_it(node: Node, what: str) -> None:
    conf, pod = attached(node)
    where, command, says = DAMAGES[what]
    host = conf["prevResult"]["interfaces"][1]["name"]
    if what == "prefix length":
        node.execute(pod, "ip", "addr", "del", "10.244.1.2/24", "dev", "eth0")
        command = command.replace("change", "add")
    node.execute(pod if where == "pod" else node.name, *command.replace("HOST", host).split())
    refused(node.verb("CHECK", "c1", pod, conf), 104, says.replace("HOST", host))


def test_K2_check_tells_that_nothing_is_reserved(node: Node) -> None:
    conf, pod = attached(node)
    with contextlib.closing(sqlite3.connect(node.state / "state.db")) as state:
        state.execute("DELETE FROM address WHERE container = 'c1'")
        state.execute("DELETE FROM attachment WHERE container = 'c1'")
        state.commit()
    refused(node.verb("CHECK", "c1", pod, conf), 104, "no allocation")


@pytest.mark.parametrize("other", ["a container", "an interface", "a network", "a namespace"])
def test_K2_check_is_about_this_attachment(node: Node, other: str) -> None:
    conf, pod = attached(node)
    empty = node.pod()
    answer = {
        "a container": lambda: node.verb("CHECK", "c2", pod, conf),
        "an interface": lambda: node.verb("CHECK", "c1", pod, conf, ifname="eth1"),
        "a network": lambda: node.verb("CHECK", "c1", pod, conf | {"name": "other"}),
        "a namespace": lambda: node.verb("CHECK", "c1", empty, conf),
    }[other]()
    refused(answer, 104)


def test_K2_a_namespace_that_is_gone_is_code_3(node: Node) -> None:
    conf, _ = attached(node)
    refused(node.verb("CHECK", "c1", "none", conf), 3)


def test_K2_check_changes_nothing(node: Node) -> None:
    conf, pod = attached(node)
    node.execute(node.name, "ip", "addr", "del", "10.244.1.1/24", "dev", "cni0")
    before = node.traces()
    refused(node.verb("CHECK", "c1", pod, conf), 104)
    assert node.traces() == before
    assert "10.244.1.1" not in str(node.ip("addr", "show", "dev", "cni0"))


LATER = (
    "ip addr add 192.0.2.9/24 dev eth0",
    "ip addr add fd00:9::9/64 dev eth0 nodad",
    "ip route add 203.0.113.0/24 via 10.244.1.9",
    "ip route change default via 10.244.1.1 mtu 1200 advmss 1000",
    "ip route replace default via 10.244.1.9",
    "ip route add default via 10.244.1.8 metric 50",
    "ip -6 route change default via fd00:1::9",
    "ip link set eth0 txqueuelen 500 promisc on allmulticast on",
    "ip link add tun0 type veth",
    "sysctl -qw net.ipv4.conf.eth0.arp_notify=0",
    "ip rule add from 192.0.2.9 table 100",
)


@pytest.mark.parametrize("command", LATER)
def test_K3_what_later_plugins_change_is_their_right(node: Node, command: str) -> None:
    conf, pod = attached(node)
    node.execute(pod, *command.split())
    silent(node.verb("CHECK", "c1", pod, conf))


def test_K3_what_a_later_plugin_told_in_its_result_is_what_counts(node: Node) -> None:
    """As `tuning` does: it changes MTU and hardware address, and hands on a result that says so."""
    conf, pod = attached(node)
    node.execute(pod, *"ip link set eth0 mtu 1280 address 02:00:00:00:00:77".split())
    inner = conf["prevResult"]["interfaces"][2]
    inner |= {"mac": "02:00:00:00:00:77", "mtu": 1280}
    silent(node.verb("CHECK", "c1", pod, conf | {"macspoofchk": False}))


@pytest.mark.parametrize("keys", [{}, {"enabledad": True}], ids=["without DAD", "with DAD"])
def test_K4_check_passes_right_behind_add(node: Node, keys: dict[str, object]) -> None:
    for number in range(2 if keys else 5):
        pod = node.pod()
        conf = node.conf(**keys)
        conf["prevResult"] = node.add(f"c{number}", pod, conf)
        silent(node.verb("CHECK", f"c{number}", pod, conf))


def test_K5_the_delegated_plugins_check_is_asked_and_its_error_passed_on(node: Node, tmp_path: Path) -> None:
    ipam, pod = FakeIpam(tmp_path / "cni"), node.pod()
    conf = node.conf(ipam={"type": "fake-ipam"})
    conf["prevResult"] = add_with(node, pod, conf, **ipam.variables).json
    env = node.environment("CHECK", "c1", pod) | ipam.variables
    silent(node.call(env, encoded(conf)))
    assert ipam.calls() == ["ADD c1 eth0", "CHECK c1 eth0"]
    assert ipam.stdin("CHECK")["prevResult"] == conf["prevResult"]
    ipam.fails("CHECK", code=123)
    refused(node.call(env, encoded(conf)), 123, "the fake refuses")


def test_K5_the_built_in_allocator_asks_nobody(node: Node, tmp_path: Path) -> None:
    ipam, pod = FakeIpam(tmp_path / "cni"), node.pod()
    (ipam.folder / "fake-ipam").rename(ipam.folder / "host-local")
    conf = node.conf(ipam=V4)
    conf["prevResult"] = add_with(node, pod, conf, **ipam.variables).json
    silent(node.call(node.environment("CHECK", "c1", pod) | ipam.variables, encoded(conf)))
    assert ipam.calls() == []
