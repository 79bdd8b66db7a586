"""Who gets which virtual IP: pools as a netconf writes them, and as the plugin grants from them."""

from __future__ import annotations

import fnmatch
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni.errors import INVALID_CONFIG, VIP_REFUSED, CniError
from cni.healthcheck import load as load_check
from cni.jsonio import dump, parse
from cni.netconf import compile_network
from cni.network import load, packed
from cni.pools import Anycast, Pool, matches
from cni.pools import load as load_pools
from tests.unit.netconf_rig import GOOD, changed, layer2

EDGE = {"name": "edge", "addresses": ["198.51.100.0/24", "2001:db8:a::/64"], "namespaces": ["dns", "team-*"]}
OPEN = {"name": "open", "addresses": ["203.0.113.0/24"]}
ALL: dict[str, Any] = {"pools": [EDGE, OPEN]}


def with_anycast(**keys: object) -> dict[str, Any]:
    return changed("anycast", ALL | keys)


def compiled(conf: dict[str, Any]) -> Anycast:
    network = load(parse(dump(compile_network(conf, "1.0.0").compiled())))
    assert network.anycast is not None
    return load_pools(network.anycast)


def test_a_netconf_without_the_key_has_no_pools() -> None:
    network = compile_network(GOOD, "1.0.0")
    assert (network.anycast, network.gives_vips, network.chained) == (None, False, False)


def test_pools_are_remembered_as_they_were_written() -> None:
    found = compiled(with_anycast(vips=["203.0.113.7", "203.0.113.7"], check="exec:/bin/serves a", weight=7))
    assert [(pool.name, pool.blocks, pool.namespaces) for pool in found.pools] == [
        ("edge", EDGE["addresses"], EDGE["namespaces"]),
        ("open", OPEN["addresses"], []),
    ]
    assert (found.vips, found.weight) == ([packed("203.0.113.7")], 7)
    assert load_check(parse(found.check)).argv == ("/bin/serves", "a")
    assert compiled(with_anycast()).check == ""
    assert compiled(with_anycast()).weight == 1


def test_a_network_without_ipam_is_one_of_another_plugins_pods() -> None:
    assert compile_network(layer2(anycast=ALL), "1.0.0").chained
    assert not compile_network(with_anycast(), "1.0.0").chained


@pytest.mark.parametrize(
    ("anycast", "message"),
    [
        ({}, "anycast.pools: is missing"),
        ({"pools": []}, "anycast.pools: .*minItems"),
        ({"pools": [EDGE], "vip": []}, 'anycast: "vip" is no key here; known are pools, vips, check, weight'),
        ({"pools": [OPEN | {"namespace": ["a"]}]}, r'anycast\.pools\[0\]: "namespace" is no key here'),
        ({"pools": [OPEN | {"namespaces": []}]}, r"anycast\.pools\[0\]\.namespaces: .*minItems"),
        ({"pools": [OPEN | {"namespaces": ["a b"]}]}, r"anycast\.pools\[0\]\.namespaces\[0\]: .*pattern"),
        ({"pools": [OPEN | {"name": "a b"}]}, r"anycast\.pools\[0\]\.name: .*pattern"),
        (
            {"pools": [OPEN, EDGE | {"name": "open"}]},
            r'anycast\.pools\[1\]\.name: "open" is the name of two pools',
        ),
        ({"pools": [{"name": "a"}]}, r"anycast\.pools\[0\]\.addresses: is missing"),
        (
            {"pools": [{"name": "a", "addresses": ["198.51.100.1/24"]}]},
            r"addresses\[0\]: .*host bits set",
        ),
        ({"pools": [{"name": "a", "addresses": ["198.51.100.0"]}]}, r"addresses\[0\]: .*prefix length"),
        (
            {"pools": [{"name": "a", "addresses": ["10.0.0.0/8"]}]},
            r"10\.0\.0\.0/8 overlaps ipam\.ranges\[0\]",
        ),
        (
            {"pools": [{"name": "a", "addresses": ["10.1.0.128/25"]}]},
            r"overlaps ipam\.ranges\[0\]\[0\] \(subnet",
        ),
        ({"pools": [{"name": "a", "addresses": ["fd00::/128"]}]}, r"overlaps ipam\.ranges\[1\]\[0\]"),
        (
            {"pools": [OPEN, {"name": "b", "addresses": ["203.0.113.128/25"]}]},
            r"anycast\.pools\[1\]\.addresses\[0\]: 203\.0\.113\.128/25 overlaps 203\.0\.113\.0/24 of",
        ),
        (
            {"pools": [OPEN], "vips": ["198.51.100.1"]},
            r'anycast\.vips\[0\]: "198.51.100.1" is in none of anycast',
        ),
        ({"pools": [OPEN], "vips": ["x"]}, r'anycast\.vips\[0\]: "x" is no IP address'),
        ({"pools": [OPEN], "check": "ping"}, 'anycast.check: "ping" is no URL'),
        ({"pools": [OPEN], "check": "exec:serves"}, "anycast.check: .*absolute path"),
        ({"pools": [OPEN], "weight": 0}, "anycast.weight: 0 does not keep the rule minimum 1"),
        ({"pools": [OPEN], "weight": 101}, "anycast.weight: 101 does not keep the rule maximum 100"),
    ],
)
def test_wrong_pools_are_refused_by_key_value_and_fix(anycast: dict[str, Any], message: str) -> None:
    with pytest.raises(CniError, match=message) as caught:
        compile_network(changed("anycast", anycast), "1.0.0")
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize(
    "block",
    "0.0.0.0/0 0.0.0.0/32 127.0.0.1/32 169.254.0.0/24 224.0.0.0/8 255.255.255.255/32 ::/128 ::1/128 ::/0"
    " ::ffff:192.0.2.0/120 fe80::/64 ff02::/16".split(),
)
def test_addresses_that_no_route_leads_to_are_refused(block: str) -> None:
    with pytest.raises(CniError, match="no network whose addresses are reached by routes"):
        compile_network(layer2(anycast={"pools": [{"name": "a", "addresses": [block]}]}), "1.0.0")


def test_a_gateway_outside_of_its_subnet_is_no_virtual_ip_either() -> None:
    conf = changed("ipam.ranges", [[{"subnet": "10.1.0.0/24", "gateway": "203.0.113.1"}]])
    with pytest.raises(
        CniError, match=r"gateway 203\.0\.113\.1\), whose addresses are for pods and the bridge"
    ):
        compile_network(conf | {"isGateway": False, "anycast": ALL}, "1.0.0")


def refusal(pools: Anycast, ip: str, namespace: str) -> str:
    with pytest.raises(CniError) as caught:
        pools.grant("anypod.dev/anycast", packed(ip), namespace)
    assert caught.value.code == VIP_REFUSED
    return caught.value.message


def test_a_pool_gives_its_addresses_to_the_namespaces_that_it_is_for() -> None:
    pools = compiled(with_anycast())
    for namespace in ("dns", "team-a", "team-"):
        assert pools.grant("k", packed("198.51.100.9"), namespace).name == "edge"
        assert pools.grant("k", packed("2001:db8:a::9"), namespace).name == "edge"
    for namespace in ("", "dns", "other"):
        assert pools.grant("k", packed("203.0.113.255"), namespace).name == "open"


def test_a_refusal_names_the_pools_there_are_or_the_one_that_would_be_needed() -> None:
    pools = compiled(with_anycast())
    said = refusal(pools, "192.0.2.1", "dns")
    assert said.startswith("anypod.dev/anycast: 192.0.2.1 is in none of the network's pools: ")
    assert "edge (198.51.100.0/24, 2001:db8:a::/64), open (203.0.113.0/24)" in said
    said = refusal(pools, "198.51.100.1", "shop")
    assert "is of pool edge, which is for pods of namespace dns or team-*, and this pod is of shop" in said
    assert said.endswith(
        "ask for an address of open (203.0.113.0/24), or add the namespace to the pool's namespaces"
    )
    assert "this pod is of none" in refusal(pools, "198.51.100.1", "")


def test_a_refusal_is_short_whatever_the_number_of_pools() -> None:
    pools = Anycast([Pool(f"p{number}", [f"198.51.{number}.0/24"] * 30) for number in range(200)])
    assert len(refusal(pools, "192.0.2.1", "a")) < 2500
    assert "192 more" in refusal(pools, "192.0.2.1", "a")


def test_no_pattern_is_for_a_pod_without_a_namespace() -> None:
    assert not Pool("a", [], ["*"]).admits("")
    assert Pool("a", [], ["*"]).admits("x")


@given(st.text("ab*?", max_size=8), st.text("abc", max_size=12))
def test_patterns_fit_as_a_shell_s_do(pattern: str, text: str) -> None:
    assert matches(pattern, text) == fnmatch.fnmatchcase(text, pattern)


def test_a_pattern_with_many_stars_takes_no_time() -> None:
    assert not matches("*a" * 100 + "b", "a" * 253)


@given(st.ip_addresses(), st.integers(0, 128))
def test_a_pool_holds_what_its_networks_have(ip: Any, prefixlen: int) -> None:
    block = ip_network((ip, min(prefixlen, ip.max_prefixlen)), strict=False)
    pool = Pool("a", [str(block)])
    assert pool.holds(ip.packed)
    for other in (int(block.network_address) - 1, int(block.broadcast_address) + 1):
        if 0 <= other < 1 << ip.max_prefixlen:
            assert not pool.holds(ip_address(other.to_bytes(len(ip.packed), "big")).packed)
    assert not pool.holds(bytes(16 if ip.version == 4 else 4))
