"""Ranges mean what host-local means by them; what is wrong with one is said by key, value and fix."""

from __future__ import annotations

from typing import Any

import pytest

from cni.errors import INVALID_CONFIG, CniError
from cni.netconf import compile_network
from cni.network import Network, ip_text, to_bytes
from tests.unit.netconf_rig import GOOD, changed, one_range

ONE = {"subnet": "10.1.0.0/24"}


def sets(*all_sets: list[dict[str, Any]]) -> dict[str, Any]:
    return changed("ipam.ranges", list(all_sets))


def texts(network: Network) -> list[list[str]]:
    return [[str(one) for one in ranges] for ranges in network.range_sets]


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        (changed("ipam", {"type": "host-local"}), "ipam.ranges: no range to allocate from"),
        (changed("ipam", {"routes": []}), "ipam.ranges: no range to allocate from"),
        (changed("ipam", {"rangeStart": "10.1.0.5"}), "ipam.ranges: no range to allocate from"),
        (sets([{}]), r"ipam\.ranges\[0\]\[0\]\.subnet: is missing; set it"),
        (sets([]), r"ipam\.ranges\[0\]: \[\] does not keep the rule minItems 1"),
        (one_range(subnet="10.1.0.0"), r"ranges\[0\]\[0\]\.subnet: .* without its prefix length"),
        (one_range(subnet="10.1.0.0/33"), "subnet: .* is no subnet"),
        (one_range(subnet="10.1.0.5/24"), "has host bits set.*length 24 the network address is 10.1.0.0"),
        (one_range(subnet="10.1.0.0/255.255.255.0"), "without its prefix length"),
        (one_range(subnet="0.0.0.0/0"), "no subnet that pods can have"),
        (one_range(subnet="127.0.0.0/8"), "no subnet that pods can have"),
        (one_range(subnet="224.0.1.0/24"), "no subnet that pods can have"),
        (one_range(subnet="fe80::/64"), "no subnet that pods can have"),
        (one_range(subnet="10.1.0.0/31"), "too small to allocate from"),
        (one_range(subnet="fd00::/127"), "too small to allocate from"),
        (one_range(gateway="10.1.0.255"), "network or broadcast address"),
        (one_range(gateway="10.9.0.1"), "gateway: .*outside 10.1.0.0/24"),
        (one_range(gateway="fe80::1%eth0"), "an address with a zone"),
        (one_range(rangeStart="10.2.0.5"), "rangeStart: .*not in network 10.1.0.0/24"),
        (one_range(rangeEnd="10.1.1.5"), "rangeEnd: .*not in network 10.1.0.0/24"),
        (one_range(rangeStart="10.1.0.9", rangeEnd="10.1.0.8"), "rangeStart: .*behind rangeEnd 10.1.0.8"),
        (one_range(rangeStart="10.1.0.1", rangeEnd="10.1.0.1"), "the gateway and all of the range"),
        (one_range(rangeStart="fd00::1"), "of another family than subnet"),
        (one_range(rangeStart="here"), "is no IP address"),
        (sets([ONE, {"subnet": "fd00::/64"}]), r"ipam\.ranges\[0\]: IPv4 and IPv6 in one set"),
        (sets([ONE], [{"subnet": "10.1.0.0/16"}]), r"ranges\[0\]\[0\] .* overlaps ipam\.ranges\[1\]\[0\]"),
        (
            sets([ONE | {"rangeEnd": "10.1.0.9"}, ONE | {"rangeStart": "10.1.0.20", "gateway": "10.1.0.19"}]),
            r"ranges\[0\]\[1\]\.gateway: 10.1.0.19 is another gateway",
        ),
        (
            changed("ipam", {"subnet": "10.1.0.0/24", "ranges": [[{"subnet": "10.1.0.128/25"}]]}),
            r"ipam \(.*overlaps ipam\.ranges\[0\]\[0\]",
        ),
        (changed("ipam", {"subnet": "10.1.0.7/24"}), r"ipam\.subnet: .* has host bits set"),
    ],
)
def test_a_wrong_range_is_refused_by_key_value_and_fix(conf: dict[str, Any], message: str) -> None:
    with pytest.raises(CniError, match=message) as caught:
        compile_network(conf, "1.0.0")
    assert caught.value.code == INVALID_CONFIG


def test_defaults_are_those_of_host_local() -> None:
    network = compile_network(GOOD, "1.0.0")
    assert texts(network) == [["10.1.0.1-10.1.0.254"], ["fd00::1-fd00::ffff:ffff:ffff:ffff"]]
    assert [ip_text(to_bytes(one.gateway, one.family)) for one in network.ranges()] == ["10.1.0.1", "fd00::1"]
    assert (network.bridge, network.mtu, network.routes) == ("cni0", 0, [])


def test_the_networks_own_and_the_broadcast_address_are_given_to_nobody() -> None:
    conf = one_range(rangeStart="10.1.0.0", rangeEnd="10.1.0.255")
    assert texts(compile_network(conf, "1.0.0")) == [["10.1.0.1-10.1.0.254"]]
    conf = one_range(subnet="fd00::/120", rangeStart="fd00::", rangeEnd="fd00::ff")
    assert texts(compile_network(conf, "1.0.0")) == [["fd00::1-fd00::ff"]]


def test_ipv4_addresses_of_the_link_local_block_may_be_given_to_pods() -> None:
    assert texts(compile_network(one_range(subnet="169.254.7.0/24"), "1.0.0")) == [
        ["169.254.7.1-169.254.7.254"]
    ]


def test_a_gateway_elsewhere_is_fine_where_the_bridge_is_none() -> None:
    conf = one_range(gateway="10.9.0.1") | {"isGateway": False}
    assert compile_network(conf, "1.0.0").ranges()[0].gateway == 0x0A090001


def test_the_old_form_is_a_set_of_one_range_before_the_others() -> None:
    ipam = {"subnet": "10.9.0.0/24", "rangeStart": "10.9.0.10", "ranges": [[{"subnet": "fd00::/64"}]]}
    assert texts(compile_network(changed("ipam", ipam), "1.0.0")) == [
        ["10.9.0.10-10.9.0.254"],
        ["fd00::1-fd00::ffff:ffff:ffff:ffff"],
    ]


def test_keys_of_the_old_form_say_nothing_without_its_subnet() -> None:
    ipam = GOOD["ipam"] | {"gateway": "10.77.0.1", "rangeStart": "10.77.0.9"}
    assert texts(compile_network(changed("ipam", ipam), "1.0.0")) == texts(compile_network(GOOD, "1.0.0"))


def test_ranges_of_the_capability_come_first() -> None:
    ipam = {"subnet": "10.9.0.0/24", "ranges": [[{"subnet": "fd00::/64"}]]}
    conf = changed("ipam", ipam)
    conf["runtimeConfig"] = {"ipRanges": [[{"subnet": "10.5.0.0/24"}, {"subnet": "10.6.0.0/24"}]], "x": 1}
    found = [[one.subnet_text() for one in ranges] for ranges in compile_network(conf, "1.0.0").range_sets]
    assert found == [["10.5.0.0/24", "10.6.0.0/24"], ["10.9.0.0/24"], ["fd00::/64"]]


def test_ranges_of_the_capability_are_enough() -> None:
    conf = changed("ipam", {"type": "host-local"})
    conf["runtimeConfig"] = {"ipRanges": [[{"subnet": "10.5.0.0/24"}]]}
    assert texts(compile_network(conf, "1.0.0")) == [["10.5.0.1-10.5.0.254"]]
    conf["runtimeConfig"] = {"ipRanges": [[{"subnet": "10.5.0.9/24"}]]}
    with pytest.raises(CniError, match=r"runtimeConfig\.ipRanges\[0\]\[0\]\.subnet: .* host bits set"):
        compile_network(conf, "1.0.0")


def test_old_versions_know_one_address_of_a_family() -> None:
    conf = sets([ONE], [{"subnet": "10.2.0.0/24"}])
    assert compile_network(conf, "0.3.0").name == "pods"
    with pytest.raises(CniError, match="knows one address of a family"):
        compile_network(conf, "0.2.0")
