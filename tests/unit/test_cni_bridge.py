"""Which gateways a network's bridge has, and what a file like /etc/resolv.conf says."""

from __future__ import annotations

import socket

import pytest

from cni.bridge import given_gateways, has_own_gateway, own_gateways, with_gateway
from cni.errors import CniError
from cni.network import NO_IPAM, Network, PodAddress, Range, ip_text
from cni.resolvconf import parse, read

V4 = Range(4, 0x0A010000, 24, 0x0A010001, 0x0A0100FE, 0x0A010001)


def address(text: str, gateway: str = "") -> PodAddress:
    ip, _, prefixlen = text.partition("/")
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return PodAddress(
        socket.inet_pton(family, ip), int(prefixlen), socket.inet_pton(family, gateway) if gateway else b""
    )


@pytest.mark.parametrize(
    ("given", "gateway"),
    [
        ("10.9.7.5/24", "10.9.7.1"),
        ("10.9.7.5/16", "10.9.0.1"),
        ("10.9.7.5/32", "10.9.7.5"),
        ("fd00:9::77/64", "fd00:9::1"),
    ],
)
def test_an_address_without_gateway_gets_its_subnets_first_where_the_bridge_is_one(
    given: str, gateway: str
) -> None:
    network = Network("pods", ipam="static", is_gateway=True)
    assert ip_text(with_gateway(network, address(given)).gateway) == gateway
    assert with_gateway(Network("pods", ipam="static"), address(given)).gateway == b""


def test_a_gateway_that_was_given_is_kept() -> None:
    network = Network("pods", ipam="static", is_gateway=True)
    told = with_gateway(network, address("10.9.7.5/24", "10.9.7.254"))
    assert given_gateways(network, [told]) == [(socket.inet_aton("10.9.7.254"), 24)]
    assert given_gateways(network, [address("10.9.7.5/24")]) == []
    assert given_gateways(Network("pods", ipam="static"), [told]) == []


def test_the_bridge_has_the_gateways_of_the_built_in_allocators_ranges() -> None:
    fields = {"range_sets": [[V4]], "is_gateway": True}
    assert own_gateways(Network("pods", **fields)) == [(socket.inet_aton("10.1.0.1"), 24)]
    assert own_gateways(Network("pods", **fields | {"is_gateway": False})) == []
    assert own_gateways(Network("pods", ipam="static", is_gateway=True)) == []


@pytest.mark.parametrize(
    ("fields", "own"),
    [
        ({"vlan": 100, "is_gateway": True}, True),
        ({"vlan": 100, "is_gateway": True, "ipam": "static"}, True),
        ({"vlan": 100, "is_gateway": True, "ipam": NO_IPAM}, False),
        ({"vlan": 100}, False),
        ({"vlan_trunk": [100], "is_gateway": True}, False),
    ],
)
def test_a_vlan_with_gateways_has_an_interface_for_them(fields: dict[str, object], own: bool) -> None:
    assert has_own_gateway(Network("pods", **fields)) is own


def test_a_resolv_conf_is_read_as_host_local_reads_it() -> None:
    text = """
# comment
; comment
 nameserver   192.0.2.1
nameserver fd00::53 ignored
nameserver
domain old.example
domain example
search a.example b.example
search c.example
options ndots:5
options timeout:1 rotate
unknown x
"""
    assert parse(text) == {
        "domain": "example",
        "nameservers": ["192.0.2.1", "fd00::53"],
        "search": ["a.example", "b.example", "c.example"],
        "options": ["ndots:5", "timeout:1", "rotate"],
    }
    assert parse("") == {}


@pytest.mark.parametrize("path", ["/nowhere/resolv.conf", "/", "a\0b"])
def test_a_resolv_conf_that_cannot_be_read_is_named(path: str) -> None:
    with pytest.raises(CniError, match=r"ipam\.resolvConf: .* can't be read: .*; correct the path") as caught:
        read(path)
    assert caught.value.code == 5
