"""What the keys of the reference plugin `bridge` do to the bridge itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.system.plugin_node import Node

GATEWAYS = {"10.244.1.1/24", "fd00:1::1/64"}


def bridge(node: Node, name: str = "cni0") -> Any:
    return next(one for one in node.ip("addr") if one["ifname"] == name)


def addresses(node: Node) -> set[str]:
    own = bridge(node)["addr_info"]
    return {f"{one['local']}/{one['prefixlen']}" for one in own if one["scope"] == "global"}


def with_bridge(node: Node, *given: str) -> None:
    """A bridge that somebody made, with addresses."""
    node.execute(node.name, "ip", "link", "add", "cni0", "type", "bridge")
    node.execute(node.name, "ip", "link", "set", "cni0", "up")
    for address in given:
        node.execute(node.name, "ip", "addr", "add", address, "dev", "cni0")


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        ("10.244.1.77/24", "10.244.1.1/24"),
        ("10.244.1.1/16", "10.244.1.1/24"),
        ("10.0.0.1/8", "10.244.1.1/24"),
        ("fd00:1::77/64", "fd00:1::1/64"),
        ("fd00:1::1/48", "fd00:1::1/64"),
    ],
)
def test_an_address_in_the_gateways_way_is_named_and_left_alone(node: Node, other: str, wanted: str) -> None:
    with_bridge(node, other)
    answer = node.verb("ADD", "c1", node.pod())
    assert answer.json["code"] == 102
    assert f"cni0 already has an IP address different from {wanted}: {other}" in answer.json["msg"]
    assert "forceAddress" in answer.json["msg"]
    assert other in addresses(node)
    assert node.held() == {}


@pytest.mark.parametrize(
    "others", [["10.244.1.77/24"], ["10.0.0.1/8"], ["fd00:1::77/64"], ["10.244.1.77/24", "fd00:1::77/48"]]
)
def test_force_address_removes_what_is_in_the_way(node: Node, others: list[str]) -> None:
    with_bridge(node, *others)
    pod = node.pod()
    node.add("c1", pod, node.conf(forceAddress=True))
    assert addresses(node) == GATEWAYS
    assert node.pings(pod, "10.244.1.1")
    assert node.pings(pod, "fd00:1::1")


def test_force_address_takes_away_the_gateway_of_the_subnet_before(node: Node) -> None:
    node.add(
        "c1",
        node.pod(),
        node.conf(ipam={"ranges": [[{"subnet": "10.9.9.0/24"}], [{"subnet": "fd00:1::/64"}]]}),
    )
    assert addresses(node) == {"10.9.9.1/24", "fd00:1::1/64"}
    node.add("c2", node.pod(), node.conf(forceAddress=True))
    assert addresses(node) == GATEWAYS


@pytest.mark.parametrize("force", [False, True])
def test_addresses_of_other_ipv6_subnets_stay(node: Node, force: bool) -> None:
    with_bridge(node, "fd00:2::1/64")
    node.add("c1", node.pod(), node.conf(forceAddress=force))
    assert addresses(node) == GATEWAYS | {"fd00:2::1/64"}


def test_an_ipv4_address_of_another_subnet_stays_unless_force_address_is_set(node: Node) -> None:
    with_bridge(node, "192.0.2.1/24")
    node.add("c1", node.pod())
    assert addresses(node) == GATEWAYS | {"192.0.2.1/24"}


def test_the_bridges_own_link_local_address_is_in_nobodys_way(node: Node) -> None:
    with_bridge(node, "fe80::77/64")
    node.add("c1", node.pod(), node.conf(forceAddress=True))
    own = [one for one in bridge(node)["addr_info"] if one["local"] == "fe80::77"]
    assert len(own) == 1


def test_a_bridge_is_the_gateway_of_several_ranges(node: Node) -> None:
    ranges = [[{"subnet": "10.244.1.0/24"}], [{"subnet": "10.244.2.0/24", "gateway": "10.244.2.254"}]]
    pod = node.pod()
    node.add("c1", pod, node.conf(ipam={"ranges": ranges}))
    assert addresses(node) == {"10.244.1.1/24", "10.244.2.254/24"}
    assert node.pings(pod, "10.244.2.254")


@pytest.mark.parametrize("promisc", [False, True])
def test_the_bridge_takes_every_frame_where_the_netconf_says_so(node: Node, promisc: bool) -> None:
    node.add("c1", node.pod(), node.conf(promiscMode=promisc))
    assert ("PROMISC" in bridge(node)["flags"]) is promisc


def test_a_bridge_that_lost_promiscuous_mode_has_it_again_after_the_next_add(node: Node) -> None:
    conf = node.conf(promiscMode=True)
    pod = node.pod()
    result = node.add("c1", pod, conf)
    node.execute(node.name, "ip", "link", "set", "cni0", "promisc", "off")
    answer = node.verb("CHECK", "c1", pod, conf | {"prevResult": result})
    assert (answer.json["code"], "promiscMode" in answer.json["msg"]) == (104, True)
    node.add("c2", node.pod(), conf)
    assert "PROMISC" in bridge(node)["flags"]


def test_promiscuous_mode_is_not_taken_from_a_bridge_that_has_it(node: Node) -> None:
    with_bridge(node)
    node.execute(node.name, "ip", "link", "set", "cni0", "promisc", "on")
    node.add("c1", node.pod())
    assert "PROMISC" in bridge(node)["flags"]


def test_an_interface_that_is_no_bridge_is_not_used(node: Node) -> None:
    node.execute(node.name, "ip", "link", "add", "cni0", "type", "veth", "peer", "name", "other")
    answer = node.verb("ADD", "c1", node.pod())
    assert answer.json["code"] == 7
    assert "'cni0' exists and is no bridge" in answer.json["msg"]


def test_the_mtu_is_that_of_the_netconf(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod, node.conf(mtu=1400))
    assert bridge(node)["mtu"] == 1400
    assert {one["mtu"] for one in node.ip("link", namespace=pod) if one["ifname"] == "eth0"} == {1400}


def test_the_bridge_keeps_its_hardware_address_while_pods_come_and_go(node: Node) -> None:
    seen = set()
    for number in range(3):
        pod = node.pod()
        seen.add(node.add(f"c{number}", pod)["interfaces"][0]["mac"])
        seen.add(bridge(node)["address"])
        if number:
            node.delete(f"c{number}", pod)
            seen.add(bridge(node)["address"])
    assert len(seen) == 1
