"""VLANs of a bridge: what the kernel shows of them where it can, and what is said where it can't."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.system.plugin_node import Node


def has_vlan_filtering() -> bool:
    """Whether bridges of this kernel keep VLANs apart (CONFIG_BRIDGE_VLAN_FILTERING)."""
    argv = ["unshare", "-n", "ip", "link", "add", "br0", "type", "bridge", "vlan_filtering", "1"]
    return subprocess.run(argv, check=False, capture_output=True, timeout=60).returncode == 0


CAN = has_vlan_filtering()
filtering = pytest.mark.skipif(not CAN, reason="this kernel's bridges have no VLAN filtering")
no_filtering = pytest.mark.skipif(CAN, reason="this kernel's bridges have VLAN filtering")
KEYS: list[tuple[str, Any, str]] = [
    ("vlan", 100, "vlan: 100"),
    ("vlanTrunk", [{"minID": 5, "maxID": 7}], "vlanTrunk: [5, 6, 7]"),
]


def wire(node: Node, **keys: object) -> dict[str, Any]:
    """A netconf without addresses."""
    return node.conf(isDefaultGateway=False, ipam={}) | keys


@no_filtering
@pytest.mark.parametrize(("key", "value", "shown"), KEYS)
@pytest.mark.parametrize("ipam", [{}, {"subnet": "10.244.1.0/24"}])
def test_a_kernel_without_vlans_is_said_to_be_one(
    node: Node, key: str, value: object, shown: str, ipam: object
) -> None:
    answer = node.verb("ADD", "c1", node.pod(), node.conf(ipam=ipam) | {key: value})
    assert (answer.status, answer.json["code"]) == (1, 103)
    assert shown in answer.json["msg"]
    assert "no VLAN filtering" in answer.json["msg"]
    # The bridge was made for this network alone.
    assert (node.links(), node.held()) == ({"lo"}, {})


@no_filtering
def test_a_bridge_that_stands_already_stays_where_the_kernel_has_no_vlans(node: Node) -> None:
    node.add("c1", node.pod())
    before = node.traces()
    answer = node.verb("ADD", "c2", node.pod(), node.conf(name="other", vlan=100))
    assert answer.json["code"] == 103
    after = node.traces()
    assert (after["links"], after["held"]) == (before["links"], before["held"])


def vlans(node: Node, name: str) -> dict[int, str]:
    """The VLANs of a port: `native` for the one of frames without a tag, `untagged`, or `tagged`."""
    found: dict[int, str] = {}
    shown = json.loads(node.execute(node.name, "bridge", "-j", "vlan", "show", "dev", name))
    for one in shown[0]["vlans"] if shown else ():
        flags = one.get("flags", [])
        kind = "native" if "PVID" in flags else "untagged" if "Egress Untagged" in flags else "tagged"
        found |= dict.fromkeys(range(one["vlan"], one.get("vlanEnd", one["vlan"]) + 1), kind)
    return found


def port_of(result: dict[str, Any]) -> str:
    name: str = result["interfaces"][1]["name"]
    return name


def filters(node: Node) -> bool:
    bridge = next(one for one in node.ip("link") if one["ifname"] == "cni0")
    return bool(bridge["linkinfo"]["info_data"]["vlan_filtering"])


@filtering
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"vlan": 100}, {1: "untagged", 100: "native"}),
        ({"vlan": 100, "preserveDefaultVlan": False}, {100: "native"}),
        ({"vlan": 1, "preserveDefaultVlan": False}, {1: "native"}),
        ({"vlanTrunk": [{"id": 101}]}, {1: "native", 101: "tagged"}),
        (
            {"vlanTrunk": [{"id": 101}, {"minID": 200, "maxID": 202}], "preserveDefaultVlan": False},
            {1: "native", 101: "tagged", 200: "tagged", 201: "tagged", 202: "tagged"},
        ),
        (
            {"vlan": 100, "vlanTrunk": [{"minID": 100, "maxID": 102}], "preserveDefaultVlan": False},
            {100: "native", 101: "tagged", 102: "tagged"},
        ),
    ],
)
def test_a_pods_port_is_in_the_vlans_of_its_netconf(
    node: Node, keys: dict[str, Any], expected: dict[int, str]
) -> None:
    pod = node.pod()
    conf = wire(node, **keys)
    result = node.add("c1", pod, conf)
    assert filters(node)
    assert vlans(node, port_of(result)) == expected
    assert node.verb("CHECK", "c1", pod, conf | {"prevResult": result}).status == 0
    node.delete("c1", pod, conf)
    assert node.links() == {"lo", "cni0"}


@filtering
def test_a_trunk_may_have_every_vlan(node: Node) -> None:
    result = node.add("c1", node.pod(), wire(node, vlanTrunk=[{"minID": 1, "maxID": 4094}]))
    assert len(vlans(node, port_of(result))) == 4094


@filtering
def test_check_sees_a_port_that_left_its_vlan(node: Node) -> None:
    pod = node.pod()
    conf = wire(node, vlan=100)
    conf["prevResult"] = node.add("c1", pod, conf)
    node.execute(node.name, "bridge", "vlan", "del", "dev", port_of(conf["prevResult"]), "vid", "100")
    answer = node.verb("CHECK", "c1", pod, conf)
    assert (answer.json["code"], "not in VLAN 100" in answer.json["msg"]) == (104, True)


@filtering
def test_pods_of_one_vlan_reach_each_other_and_no_others(node: Node) -> None:
    pods = [node.pod() for _ in range(3)]
    for number, (pod, vlan) in enumerate(zip(pods, (100, 100, 200), strict=True)):
        node.add(f"c{number}", pod, wire(node, name=f"v{vlan}", vlan=vlan, preserveDefaultVlan=False))
        node.execute(pod, "ip", "addr", "add", f"192.0.2.{number + 1}/24", "dev", "eth0")
    assert node.pings(pods[0], "192.0.2.2")
    assert not node.pings(pods[0], "192.0.2.3")


@filtering
@pytest.mark.parametrize("preserve", [True, False])
def test_the_gateway_of_a_vlan_has_an_interface_of_its_own(node: Node, preserve: bool) -> None:
    pods = node.pod(), node.pod()
    conf = node.conf(vlan=100, preserveDefaultVlan=preserve)
    result = node.add("c1", pods[0], conf)
    assert [one["name"] for one in result["interfaces"]][0::3] == ["cni0", "cni0.100"]
    assert result["interfaces"][2]["name"] == "eth0"
    assert {one["interface"] for one in result["ips"]} == {2}
    shown = {one["ifname"]: one for one in node.ip("addr")}
    gateway = shown["cni0.100"]
    assert result["interfaces"][3]["mac"] == gateway["address"]
    own = {one["local"] for one in gateway["addr_info"] if one["scope"] == "global"}
    assert own == {"10.244.1.1", "fd00:1::1"}
    assert not [one for one in shown["cni0"]["addr_info"] if one["scope"] == "global"]
    other_end = next(name for name in shown if name.startswith("anyv"))
    assert vlans(node, other_end) == ({1: "untagged"} if preserve else {}) | {100: "native"}
    assert node.pings(pods[0], "10.244.1.1")
    assert node.pings(pods[0], "fd00:1::1")
    node.add("c2", pods[1], conf)
    assert node.pings(pods[1], "10.244.1.2")
    assert len(node.links()) == len(shown) + 1
    assert node.verb("CHECK", "c1", pods[0], conf | {"prevResult": result}).status == 0


@filtering
@pytest.mark.parametrize(
    "loss", [("link", "del", "cni0.100"), ("addr", "flush", "dev", "cni0.100"), ("link", "del", "cni0")]
)
def test_a_vlans_gateway_that_was_lost_is_there_again_after_the_next_add(
    node: Node, loss: tuple[str, ...]
) -> None:
    conf = node.conf(vlan=100, preserveDefaultVlan=False)
    node.add("c1", node.pod(), conf)
    node.execute(node.name, "ip", *loss)
    pod = node.pod()
    node.add("c2", pod, conf)
    assert node.pings(pod, "10.244.1.1")
    assert node.pings(pod, "fd00:1::1")


@filtering
def test_a_bridge_without_vlans_gets_them_for_the_first_network_that_asks(node: Node) -> None:
    plain, tagged = node.pod(), node.pod()
    node.add("c1", plain, wire(node))
    assert not filters(node)
    node.add("c2", tagged, wire(node, name="tagged", vlan=100, preserveDefaultVlan=False))
    assert filters(node)
    node.execute(node.name, "ip", "link", "set", "cni0", "type", "bridge", "vlan_filtering", "0")
    node.add("c3", node.pod(), wire(node, name="tagged", vlan=100, preserveDefaultVlan=False))
    assert filters(node)


@filtering
def test_an_interface_of_the_gateways_name_that_somebody_made_is_used_as_it_is(node: Node) -> None:
    node.execute(node.name, "ip", "link", "add", "cni0", "type", "bridge", "vlan_filtering", "1")
    node.execute(node.name, "ip", "link", "set", "cni0", "up")
    node.execute(
        node.name, "ip", "link", "add", "link", "cni0", "name", "cni0.100", "type", "vlan", "id", "100"
    )
    node.execute(node.name, "bridge", "vlan", "add", "dev", "cni0", "vid", "100", "self")
    pod = node.pod()
    node.add("c1", pod, node.conf(vlan=100))
    assert not any(name.startswith("anyv") for name in node.links())
    assert node.pings(pod, "10.244.1.1")
