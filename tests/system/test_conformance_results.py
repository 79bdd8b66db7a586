"""CNI specification, the shape of ADD's result in each version: rule O4, and what A4 to A6 say of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.system.conformance_rig import VERSIONS, encoded

if TYPE_CHECKING:
    from tests.system.plugin_node import Node

DNS = {
    "nameservers": ["192.0.2.53"],
    "domain": "example.org",
    "search": ["example.org"],
    "options": ["ndots:5"],
}
ROUTES: list[dict[str, Any]] = [
    {"dst": "203.0.113.0/24", "gw": "10.244.1.9"},
    {"dst": "198.51.100.0/24", "mtu": 1300, "advmss": 1200, "priority": 5, "table": 7, "scope": 0},
    {"dst": "fd00:99::/64", "gw": "fd00:1::9"},
]
ATTRIBUTES = {"mtu", "advmss", "priority", "table", "scope"}


def attached(node: Node, version: str) -> tuple[dict[str, Any], str]:
    ranges = [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:1::/64"}]]
    pod = node.pod()
    conf = node.conf(cniVersion=version, ipam={"ranges": ranges, "routes": ROUTES}, dns=DNS, mtu=1400)
    return node.add("c1", pod, conf), pod


@pytest.mark.parametrize("version", VERSIONS[:2])
def test_O4_results_of_0_1_and_0_2_have_ip4_and_ip6(node: Node, version: str) -> None:
    result, _ = attached(node, version)
    assert result == {
        "cniVersion": version,
        "ip4": {
            "ip": "10.244.1.2/24",
            "gateway": "10.244.1.1",
            "routes": [
                {"dst": "203.0.113.0/24", "gw": "10.244.1.9"},
                {"dst": "198.51.100.0/24"},
                {"dst": "0.0.0.0/0", "gw": "10.244.1.1"},
            ],
        },
        "ip6": {
            "ip": "fd00:1::2/64",
            "gateway": "fd00:1::1",
            "routes": [{"dst": "fd00:99::/64", "gw": "fd00:1::9"}, {"dst": "::/0", "gw": "fd00:1::1"}],
        },
        "dns": DNS,
    }


@pytest.mark.parametrize("version", VERSIONS[2:])
def test_O4_results_from_0_3_on_have_interfaces_ips_and_routes(node: Node, version: str) -> None:
    result, pod = attached(node, version)
    assert set(result) == {"cniVersion", "interfaces", "ips", "routes", "dns"}
    assert (result["cniVersion"], result["dns"]) == (version, DNS)
    bridge, host, inner = result["interfaces"]
    mtu = {"mtu"} if version == "1.1.0" else set()
    assert set(bridge) == set(host) == {"name", "mac"} | mtu
    assert set(inner) == {"name", "mac", "sandbox"} | mtu
    assert (bridge["name"], inner["name"], inner["sandbox"]) == ("cni0", "eth0", f"/run/netns/{pod}")
    if mtu:
        assert [one["mtu"] for one in result["interfaces"]] == [1400] * 3
    family = {"version"} if version < "1.0.0" else set()
    assert all(set(one) == {"address", "gateway", "interface"} | family for one in result["ips"])
    assert [one["address"] for one in result["ips"]] == ["10.244.1.2/24", "fd00:1::2/64"]
    if family:
        assert [one["version"] for one in result["ips"]] == ["4", "6"]


@pytest.mark.parametrize("version", VERSIONS[2:])
def test_O4_attributes_of_routes_are_told_from_1_1_on(node: Node, version: str) -> None:
    result, pod = attached(node, version)
    shown = {one["dst"]: one for one in result["routes"]}
    assert set(shown) == {"203.0.113.0/24", "198.51.100.0/24", "fd00:99::/64", "0.0.0.0/0", "::/0"}
    attributes = ATTRIBUTES & set(shown["198.51.100.0/24"])
    assert attributes == (ATTRIBUTES if version == "1.1.0" else set())
    if version == "1.1.0":
        assert {key: shown["198.51.100.0/24"][key] for key in ATTRIBUTES} == {
            key: ROUTES[1][key] for key in ATTRIBUTES
        }
    assert set(shown["203.0.113.0/24"]) == {"dst", "gw"}
    # What is told in no version is made in all of them.
    made = node.ip("-4", "route", "show", "table", "7", namespace=pod)
    assert [(one["dst"], one["metric"]) for one in made] == [("198.51.100.0/24", 5)]
    assert made[0]["metrics"][0] == {"mtu": 1300, "advmss": 1200}


@pytest.mark.parametrize("version", VERSIONS)
def test_O4_what_is_empty_is_left_out(node: Node, version: str) -> None:
    conf = node.conf(cniVersion=version, isDefaultGateway=False, ipam={"subnet": "10.244.1.0/24"})
    result = node.add("c1", node.pod(), conf)
    assert "routes" not in result.get("ip4", result)
    assert "ip6" not in result
    assert result.get("dns", {}) == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_O4_a_layer_2_attachment_has_no_address_in_any_shape(node: Node, version: str) -> None:
    conf = node.conf(cniVersion=version, isDefaultGateway=False)
    del conf["ipam"]
    result = node.add("c1", node.pod(), conf)
    assert result.get("ips", []) == []
    assert not {"ip4", "ip6", "routes"} & set(result)
    assert len(result.get("interfaces", ["three"] * 3)) == 3


@pytest.mark.parametrize("version", VERSIONS[2:])
def test_A4_interfaces_of_the_node_are_listed_without_a_sandbox(node: Node, version: str) -> None:
    result, _ = attached(node, version)
    on_the_node = {one["ifname"]: one["address"] for one in node.ip("link")}
    for one in result["interfaces"][:2]:
        assert not one.get("sandbox")
        assert on_the_node[one["name"]] == one["mac"]


def test_A4_the_sandbox_is_the_path_as_the_runtime_gave_it(node: Node) -> None:
    pod = node.pod()
    odd = f"/run/../run/netns/./{pod}"
    env = node.environment("ADD", "c1", pod) | {"CNI_NETNS": odd}
    answer = node.call(env, encoded(node.conf()))
    assert answer.json["interfaces"][2]["sandbox"] == odd


@pytest.mark.parametrize("version", VERSIONS[2:])
def test_A5_every_address_points_at_the_pods_interface(node: Node, version: str) -> None:
    result, pod = attached(node, version)
    shown = {one["ifname"]: one for one in node.ip("addr", namespace=pod)}
    for one in result["ips"]:
        interface = result["interfaces"][one["interface"]]
        assert interface["sandbox"] == f"/run/netns/{pod}"
        present = {f"{a['local']}/{a['prefixlen']}" for a in shown[interface["name"]]["addr_info"]}
        assert one["address"] in present


@pytest.mark.parametrize(
    ("keys", "default"),
    [
        ({}, False),
        ({"isGateway": True}, False),
        ({"isDefaultGateway": True}, True),
        ({"ipMasq": True}, False),
    ],
)
def test_A6_a_default_route_is_made_when_it_is_asked_for(
    node: Node, keys: dict[str, Any], default: bool
) -> None:
    pod = node.pod()
    result = node.add("c1", pod, node.conf(isDefaultGateway=False) | keys)
    for family in ("-4", "-6"):
        assert any(one["dst"] == "default" for one in node.ip(family, "route", namespace=pod)) is default
    told = [one for one in result.get("routes", ()) if one["dst"] in ("0.0.0.0/0", "::/0")]
    assert len(told) == (2 if default else 0)
    assert [one["gateway"] for one in result["ips"]] == ["10.244.1.1", "fd00:1::1"]
