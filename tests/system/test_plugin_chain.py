"""First in a conflist, with the reference plugins behind it: what they do is in the kernel, CHECK and DEL pass."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.fake_plugin import fake_plugin
from tests.system.conflist import REFERENCE, Attachment, Conflist
from tests.system.outside import NODE, PEER, Outside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.plugin_node import Node

VERSIONS = ("0.3.1", "0.4.0", "1.0.0")
WITH_CHECK = VERSIONS[1:]
IPAM: dict[str, Any] = {
    "type": "host-local",
    "ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:1::/64"}]],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
}
MAC = "02:11:22:33:44:55"
SYSCTL = "net/ipv4/conf/eth0/log_martians"
PORTMAP: dict[str, Any] = {"type": "portmap", "capabilities": {"portMappings": True}}
BANDWIDTH: dict[str, Any] = {"type": "bandwidth", "capabilities": {"bandwidth": True}}
TUNING: dict[str, Any] = {
    "type": "tuning",
    "mtu": 1400,
    "promisc": True,
    "sysctl": {SYSCTL.replace("/", "."): "1"},
    "capabilities": {"mac": True},
}
FIREWALL: dict[str, Any] = {"type": "firewall", "backend": "iptables"}
SBR: dict[str, Any] = {"type": "sbr"}
BEHIND = {str(one["type"]): one for one in (PORTMAP, BANDWIDTH, TUNING, FIREWALL, SBR)}
OFFERED = {
    "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
    # In bits; tc shows bytes.
    "bandwidth": {
        "ingressRate": 8_000_000,
        "ingressBurst": 800_000,
        "egressRate": 4_000_000,
        "egressBurst": 800_000,
    },
    "mac": MAC,
}
SERVER = """import socket
s = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    c = s.accept()[0]; c.sendall(b"here"); c.close()"""
CLIENT = """import socket, sys
print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).recv(9).decode())"""


def chain(node: Node, version: str, *behind: dict[str, Any], kind: str = "anypod") -> Conflist:
    """A list with our entry first, or with the same entry for another plugin."""
    first = {"type": kind, "bridge": "cni0", "isGateway": True, "mtu": 1450, "stateDir": str(node.state)}
    return Conflist(node, [first | {"ipam": IPAM | {"dataDir": f"{node.state}-data"}}, *behind], version)


def attachment(node: Node, container: str = "c1") -> Attachment:
    return Attachment(container, node.pod(), capabilities=OFFERED)


def passes_our_check(conflist: Conflist, one: Attachment) -> None:
    """Whatever the plugins behind changed; in the versions that have CHECK."""
    if conflist.version in WITH_CHECK:
        assert "anypod" not in conflist.check(one), conflist.check(one)


def is_gone(conflist: Conflist, one: Attachment) -> None:
    """DEL passes for the whole list, and nothing of the attachment is left."""
    assert conflist.delete(one) == {}
    assert conflist.node.links() <= {"lo", "cni0", "up0"}
    assert one.ifname not in conflist.node.links(one.pod)
    assert conflist.node.held() == {}


@contextlib.contextmanager
def serving(pod: str) -> Iterator[None]:
    """A pod that answers on TCP port 80."""
    argv = ["ip", "netns", "exec", pod, "python3", "-c", SERVER]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == "ready\n"
            yield
        finally:
            server.kill()


def reached(namespace: str, address: str, port: int) -> str:
    argv = ["ip", "netns", "exec", namespace, "python3", "-c", CLIENT, address, str(port)]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=30).stdout.strip()


def qdiscs(node: Node, device: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        node.execute(node.name, *f"tc -j qdisc show dev {device}".split())
    )
    return found


def host_end(result: dict[str, Any]) -> str:
    return str(result["interfaces"][1]["name"])


@pytest.mark.parametrize("version", VERSIONS)
def test_portmap_makes_a_port_of_the_node_lead_to_the_pod(node: Node, version: str) -> None:
    outside = Outside(node)
    conflist, one = chain(node, version, PORTMAP), attachment(node)
    conflist.add(one)
    with serving(one.pod):
        assert [reached(outside.name, address, 8080) for address in NODE.values()] == ["here", "here"]
        passes_our_check(conflist, one)
        is_gone(conflist, one)
    assert reached(outside.name, NODE["v4"], 8080) == ""


@pytest.mark.parametrize("version", VERSIONS)
def test_bandwidth_limits_both_directions(node: Node, version: str) -> None:
    conflist, one = chain(node, version, BANDWIDTH), attachment(node)
    result = conflist.add(one)
    shaped = {
        device: qdisc["options"]["rate"]
        for device in node.links()
        for qdisc in qdiscs(node, device)
        if qdisc["kind"] == "tbf"
    }
    host = host_end(result)
    assert shaped.pop(host) == 1_000_000
    assert "ingress" in {qdisc["kind"] for qdisc in qdiscs(node, host)}
    assert list(shaped.values()) == [500_000]
    passes_our_check(conflist, one)
    is_gone(conflist, one)


@pytest.mark.parametrize("version", VERSIONS)
def test_tuning_may_change_the_pods_interface(node: Node, version: str) -> None:
    conflist, one = chain(node, version, TUNING), attachment(node)
    result = conflist.add(one)
    (link,) = node.ip("link", "show", "eth0", namespace=one.pod)
    assert (link["address"], link["mtu"]) == (MAC, 1400)
    assert "PROMISC" in link["flags"]
    assert node.execute(one.pod, "cat", f"/proc/sys/{SYSCTL}").strip() == "1"
    assert result["interfaces"][2]["mac"] == MAC
    assert node.pings(one.pod, "10.244.1.1")
    passes_our_check(conflist, one)
    is_gone(conflist, one)


@pytest.mark.parametrize("version", WITH_CHECK)
def test_firewall_lets_a_pods_packets_through_a_node_that_drops_others(node: Node, version: str) -> None:
    outside = Outside(node)
    for argv in (
        "iptables -P FORWARD DROP",
        f"ip -n {outside.name} route add 10.244.1.0/24 via {NODE['v4']}",
    ):
        node.execute(node.name, *argv.split())
    plain, walled = chain(node, version), chain(node, version, FIREWALL)
    without, one = attachment(node, "without"), attachment(node)
    plain.add(without)
    walled.add(one)
    assert node.pings(one.pod, PEER["v4"])
    assert not node.pings(without.pod, PEER["v4"])
    passes_our_check(walled, one)
    assert plain.delete(without) == {}
    is_gone(walled, one)
    rules = node.execute(node.name, "iptables", "-S")
    assert "10.244.1." not in rules


@pytest.mark.parametrize("version", VERSIONS)
def test_sbr_routes_by_source_in_a_table_of_its_own(node: Node, version: str) -> None:
    conflist, one = chain(node, version, SBR), attachment(node)
    result = conflist.add(one)
    address = result["ips"][0]["address"].partition("/")[0]
    (rule,) = [rule for rule in node.ip("rule", namespace=one.pod) if rule.get("src") == address]
    routes = node.ip("route", "show", "table", rule["table"], namespace=one.pod)
    assert ("default", "10.244.1.1") in {(route["dst"], route.get("gateway")) for route in routes}
    assert "default" not in {route["dst"] for route in node.ip("route", namespace=one.pod)}
    node.execute(one.pod, *f"ping -c1 -W5 -I {address} 10.244.1.1".split())
    passes_our_check(conflist, one)
    is_gone(conflist, one)
    assert address not in {rule.get("src") for rule in node.ip("rule", namespace=one.pod)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", BEHIND)
def test_what_fails_behind_it_fails_behind_the_reference_bridge(node: Node, version: str, kind: str) -> None:
    """Of version 1.1.1 firewall refuses 0.3.1, portmap's CHECK looks for one family's rules in the other's table."""
    outcomes = []
    for name in ("bridge", "anypod"):
        conflist, one = chain(node, version, BEHIND[kind], kind=name), attachment(node, name)
        added = conflist.try_add(one).status == 0
        checked = kind in conflist.check(one) if added and version in WITH_CHECK else None
        outcomes.append((added, checked, kind in conflist.delete(one)))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("version", WITH_CHECK)
def test_all_of_them_in_one_list(node: Node, version: str) -> None:
    outside = Outside(node)
    conflist, one = chain(node, version, *BEHIND.values()), attachment(node)
    conflist.add(one)
    with serving(one.pod):
        assert reached(outside.name, NODE["v4"], 8080) == "here"
    passes_our_check(conflist, one)
    is_gone(conflist, one)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_later_plugin_that_fails_and_del_in_reverse_leave_nothing(node: Node, version: str) -> None:
    fails = {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.is_none": "1"}}
    conflist, one = chain(node, version, BANDWIDTH, fails), attachment(node)
    answer = conflist.try_add(one)
    assert answer.status == 1
    assert "is_none" in answer.stdout
    assert node.held().keys() == {"c1"}
    is_gone(conflist, one)
    is_gone(conflist, one)


@pytest.mark.parametrize("version", VERSIONS)
def test_behind_a_plugin_that_made_another_interface_both_are_in_the_result(node: Node, version: str) -> None:
    ourself = chain(node, version).plugins
    conflist = Conflist(node, [{"type": "loopback"}, *ourself, TUNING], version)
    one = attachment(node)
    result = conflist.add(one)
    names = [(interface["name"], interface.get("sandbox", "")) for interface in result["interfaces"]]
    netns = f"/run/netns/{one.pod}"
    assert names == [("lo", netns), ("cni0", ""), (names[2][0], ""), ("eth0", netns)]
    pairs = {ip["address"]: names[ip["interface"]][0] for ip in result["ips"]}
    assert pairs.items() >= {"127.0.0.1/8": "lo", "10.244.1.2/24": "eth0", "fd00:1::2/64": "eth0"}.items()
    assert node.pings(one.pod, "10.244.1.1")
    passes_our_check(conflist, one)
    is_gone(conflist, one)


def test_what_an_earlier_plugin_told_is_kept(node: Node, tmp_path: Path) -> None:
    """By a fake one, which tells all that a result can tell."""
    netns = "$CNI_NETNS"
    told = {
        "cniVersion": "1.0.0",
        "interfaces": [
            {"name": "up9", "mac": "02:00:00:00:00:09"},
            {"name": "net9", "mac": "02:00:00:00:00:10", "sandbox": netns},
        ],
        "ips": [
            {"address": "10.9.0.5/24", "gateway": "10.9.0.1", "interface": 1},
            {"address": "10.9.0.6/24"},
        ],
        "routes": [{"dst": "10.8.0.0/16", "gw": "10.9.0.1"}],
        "dns": {"nameservers": ["10.9.0.53"], "search": ["a.example"]},
    }
    shown = json.dumps(told).replace('"', '\\"')
    fake_plugin(tmp_path, "earlier", f'[ $CNI_COMMAND != ADD ] || echo "{shown}"')
    ourself = chain(node, "1.0.0").plugins
    conflist = Conflist(node, [{"type": "earlier"}, *ourself], directories=(tmp_path, REFERENCE))
    one = attachment(node)
    result = conflist.add(one)
    expected = json.loads(json.dumps(told).replace(netns, f"/run/netns/{one.pod}"))
    assert result["interfaces"][:2] == expected["interfaces"]
    assert [interface["name"] for interface in result["interfaces"][2:]][::2] == ["cni0", "eth0"]
    assert result["ips"][:2] == expected["ips"]
    assert {ip["interface"] for ip in result["ips"][2:]} == {4}
    assert result["routes"][0] == expected["routes"][0]
    assert result["dns"] == expected["dns"]
    is_gone(conflist, one)


def test_behind_a_plugin_that_made_the_same_interface_it_is_refused(node: Node) -> None:
    """Two plugins can't both make eth0: code 2, and the first one's stays until its DEL."""
    bridge = chain(node, "1.0.0", kind="bridge").plugins
    conflist = Conflist(node, [*bridge, *chain(node, "1.0.0").plugins])
    one = attachment(node)
    answer = conflist.try_add(one)
    assert answer.json["code"] == 2
    assert "put anypod first" in answer.json["msg"]
    assert node.held() == {}
    is_gone(conflist, one)
