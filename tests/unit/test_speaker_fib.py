"""Routes between the netlink codec and our own values, with pyroute2 as the reader of what is sent."""

from __future__ import annotations

import errno
import sys
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from cni import rtnl
from cni.netlink import HEADER, NetlinkError
from speaker.desired import UNREACHABLE_METRIC, KernelRoute, NextHop
from speaker.kernel.fibcodec import (
    NO_GATEWAY,
    explain,
    from_kernel,
    hops_to_kernel,
    is_connected,
    is_direct,
    rejects,
    to_kernel,
)
from speaker.settings import Kernel

KERNEL = Kernel(table=100_000)
LINKS = {"e0": 7, "e1": 8}
NAMES = {index: name for name, index in LINKS.items()}


def hop(text: str) -> NextHop:
    address, _, interface = text.partition("%")
    return NextHop(ip_address(address), interface)


def sent(route: KernelRoute) -> rtnl.Route:
    return to_kernel(route, hops_to_kernel(route.next_hops, LINKS.__getitem__), KERNEL)


def decoded(message: bytes) -> Any:
    found = rtmsg(message)
    found.decode()
    return found


hops = st.sets(st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1", "fe80::1%e0", "fe80::1%e1"]), max_size=5)


@given(st.sampled_from(["0.0.0.0/0", "10.9.0.0/16", "192.0.2.1/32"]), hops)
def test_what_is_sent_is_what_would_be_read(prefix: str, texts: set[str]) -> None:
    route = KernelRoute(ip_network(prefix), 1190, frozenset(map(hop, texts)))
    assert from_kernel(sent(route), NAMES.__getitem__) == route
    message = rtnl.route_replace(sent(route))
    assert rtnl.parse_route(message[HEADER.size :]) == sent(route)


def test_ipv4_over_ipv6_as_another_reader_sees_it() -> None:
    one = decoded(
        rtnl.route_add(sent(KernelRoute(ip_network("10.9.0.0/16"), 1190, frozenset({hop("fe80::1%e1")}))))
    )
    assert one.get_attr("RTA_VIA") == {"family": 10, "addr": "fe80::1"}
    assert one.get_attr("RTA_OIF") == 8
    assert one.get_attr("RTA_GATEWAY") is None
    both = frozenset({hop("fd00::1"), hop("10.0.0.2")})
    found = decoded(rtnl.route_add(sent(KernelRoute(ip_network("10.9.0.0/16"), 1190, both))))
    ways = found.get_attr("RTA_MULTIPATH")
    assert [(way.get_attr("RTA_GATEWAY"), way.get_attr("RTA_VIA")) for way in ways] == [
        ("10.0.0.2", None),
        (None, {"family": 10, "addr": "fd00::1"}),
    ]


def test_a_route_without_next_hops_is_unreachable() -> None:
    route = KernelRoute(ip_network("10.244.1.0/24"), UNREACHABLE_METRIC)
    assert decoded(rtnl.route_add(sent(route)))["type"] == rtnl.RTN_UNREACHABLE
    assert from_kernel(sent(route), NAMES.__getitem__) == route


def test_a_way_without_gateway_is_none_of_ours() -> None:
    found = rtnl.Route(rtnl.AF_INET, bytes([10, 9, 0, 0]), 16, protocol=177, metric=1190)
    assert from_kernel(found, NAMES.__getitem__).next_hops == {NO_GATEWAY}


@pytest.mark.parametrize(
    ("protocol", "kind", "ways", "direct", "connected", "rejecting"),
    [
        (2, 1, [b""], True, True, False),
        (9, 1, [b""], True, True, False),
        (3, 1, [b""], True, False, False),
        (3, 1, [b"", bytes(4)], False, False, False),
        (9, 1, [bytes(4)], False, False, False),
        (2, 1, [], False, False, False),  # told as the number of a next-hop object
        (2, 7, [], False, False, True),
        (2, 6, [], False, False, True),
        (2, 8, [], False, False, True),
        (2, 9, [], False, False, False),
    ],
)
def test_what_a_route_of_others_is(
    protocol: int, kind: int, ways: list[bytes], direct: bool, connected: bool, rejecting: bool
) -> None:
    hops = tuple(rtnl.NextHop(gateway, 7) for gateway in ways)
    route = rtnl.Route(rtnl.AF_INET, bytes(4), 0, kind, protocol, nexthops=hops)
    assert (is_direct(route), is_connected(route), rejects(route)) == (direct, connected, rejecting)


@pytest.mark.parametrize(("flags", "down"), [(0, False), (1, True), (16, True), (4, False)])
def test_a_link_without_carrier_is_told_by_the_routes_flags(flags: int, down: bool) -> None:
    header = bytearray(rtnl.route_add(rtnl.Route(rtnl.AF_INET, bytes(4), 0))[HEADER.size :])
    header[8:12] = flags.to_bytes(4, sys.byteorder)
    assert rtnl.parse_route(bytes(header)).down is down


@pytest.mark.parametrize("code", [errno.ENETUNREACH, errno.EEXIST, errno.EPERM, errno.ENODEV, errno.EINVAL])
def test_a_refusal_says_what_to_do(code: int) -> None:
    assert ": " in explain(NetlinkError(code, "no"))


def test_an_unknown_refusal_has_the_kernels_words() -> None:
    assert explain(NetlinkError(errno.EDOM, "strange")) == "strange"
