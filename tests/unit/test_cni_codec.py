"""Our netlink codec against pyroute2: the same request is the same bytes, and each reads the other's."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from cni import link, rtnl
from cni.netlink import HEADER, attributes
from cni.rtnl import NextHop, Route

V4 = st.binary(min_size=4, max_size=4)
V6 = st.binary(min_size=16, max_size=16)


def text(ip: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(ip) == 4 else socket.AF_INET6, ip)


def encoded(message: Any, kind: int, flags: int) -> bytes:
    message["header"]["type"] = kind
    message["header"]["flags"] = flags
    message.encode()
    return bytes(message.data)


def decoded(kind: Any, data: bytes) -> Any:
    found = kind(data)
    found.decode()
    return found


def test_the_veth_pair_is_what_pyroute2_would_ask_for() -> None:
    ours = link.veth_create("anyp0", b"\x02\0\0\0\0\1", 1400, 7, "eth0", b"\x02\0\0\0\0\2", 11)
    peer = {
        "attrs": [
            ("IFLA_IFNAME", "eth0"),
            ("IFLA_ADDRESS", "02:00:00:00:00:02"),
            ("IFLA_NET_NS_FD", 11),
            ("IFLA_MTU", 1400),
        ]
    }
    theirs = ifinfmsg()
    theirs["attrs"] = [
        ("IFLA_IFNAME", "anyp0"),
        ("IFLA_ADDRESS", "02:00:00:00:00:01"),
        ("IFLA_MASTER", 7),
        ("IFLA_MTU", 1400),
        (
            "IFLA_LINKINFO",
            {
                "attrs": [
                    ("IFLA_INFO_KIND", "veth"),
                    ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", peer)]}),
                ]
            },
        ),
    ]
    assert ours == encoded(theirs, rtnl.RTM_NEWLINK, 0x605)


def test_a_link_is_set_up_as_pyroute2_would() -> None:
    theirs = ifinfmsg()
    theirs["index"] = 7
    theirs["flags"] = theirs["change"] = 1
    assert link.link_up(7) == encoded(theirs, rtnl.RTM_SETLINK, 0x5)
    named = decoded(ifinfmsg, link.link_up(7, "anypod pods c1/eth0"))
    assert named.get_attr("IFLA_IFALIAS").rstrip("\0") == "anypod pods c1/eth0"


@given(V4, st.integers(1, 30), st.integers(1, 1 << 30))
def test_an_ipv4_address_is_what_pyroute2_would_ask_for(ip: bytes, prefixlen: int, index: int) -> None:
    broadcast = (int.from_bytes(ip, "big") | (1 << (32 - prefixlen)) - 1).to_bytes(4, "big")
    theirs = ifaddrmsg()
    theirs["family"], theirs["prefixlen"], theirs["index"] = socket.AF_INET, prefixlen, index
    theirs["attrs"] = [("IFA_LOCAL", text(ip)), ("IFA_ADDRESS", text(ip)), ("IFA_BROADCAST", text(broadcast))]
    assert link.address_add(index, ip, prefixlen) == encoded(theirs, rtnl.RTM_NEWADDR, 0x605)


@given(V6, st.integers(1, 128))
def test_an_ipv6_address_waits_for_no_duplicate_detection(ip: bytes, prefixlen: int) -> None:
    theirs = ifaddrmsg()
    theirs["family"], theirs["prefixlen"], theirs["index"] = socket.AF_INET6, prefixlen, 4
    theirs["attrs"] = [("IFA_LOCAL", text(ip)), ("IFA_ADDRESS", text(ip)), ("IFA_FLAGS", 0x02)]
    assert link.address_add(4, ip, prefixlen) == encoded(theirs, rtnl.RTM_NEWADDR, 0x605)


def route_of(prefixlen: int, hops: list[tuple[bytes, int, int]]) -> Route:
    dst = (0x0A000000 >> (32 - prefixlen) << (32 - prefixlen)).to_bytes(4, "big")
    nexthops = tuple(NextHop(gateway, oif, weight) for gateway, oif, weight in hops)
    return Route(socket.AF_INET, dst, prefixlen, protocol=97, metric=20, nexthops=nexthops)


@given(st.integers(1, 32), V4, st.integers(1, 1000))
def test_a_route_is_what_pyroute2_would_ask_for(prefixlen: int, gateway: bytes, oif: int) -> None:
    route = route_of(prefixlen, [(gateway, oif, 1)])
    theirs = rtmsg()
    for key, value in (("family", 2), ("dst_len", prefixlen), ("table", 254), ("proto", 97), ("type", 1)):
        theirs[key] = value
    theirs["attrs"] = [
        ("RTA_DST", text(route.dst)),
        ("RTA_PRIORITY", 20),
        ("RTA_GATEWAY", text(gateway)),
        ("RTA_OIF", oif),
    ]
    assert rtnl.route_replace(route) == encoded(theirs, rtnl.RTM_NEWROUTE, 0x505)


@given(st.lists(st.tuples(V4, st.integers(1, 1000), st.integers(1, 256)), min_size=2, max_size=8))
def test_pyroute2_reads_our_multipath_routes(hops: list[tuple[bytes, int, int]]) -> None:
    found = decoded(rtmsg, rtnl.route_replace(route_of(8, hops)))
    shown = [
        (socket.inet_aton(hop.get_attr("RTA_GATEWAY")), hop["oif"], hop["hops"] + 1)
        for hop in found.get_attr("RTA_MULTIPATH")
    ]
    assert shown == hops


@given(
    st.sampled_from([4, 16]),
    st.integers(1, 32),
    st.integers(0, 1 << 31),
    st.sampled_from([254, 1000]),
    st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 256)), max_size=4, unique=True),
)
def test_a_route_comes_back_as_it_was_written(
    size: int, prefixlen: int, metric: int, table: int, hops: list[tuple[int, int]]
) -> None:
    family = socket.AF_INET if size == 4 else socket.AF_INET6
    kind = rtnl.RTN_UNICAST if hops else rtnl.RTN_UNREACHABLE
    dst = b"\xfd" + bytes(size - 1)
    nexthops = tuple(NextHop(bytes([oif % 256]) * size, oif, weight) for oif, weight in hops)
    route = Route(family, dst, prefixlen, kind, 97, table, metric, nexthops)
    assert rtnl.parse_route(rtnl.route_replace(route)[HEADER.size :]) == route


@given(st.binary(max_size=200))
def test_attributes_of_garbage_end(data: bytes) -> None:
    assert sum(len(value) for value in attributes(data, 0).values()) <= len(data)


def test_a_link_of_pyroute2_is_read() -> None:
    theirs = ifinfmsg()
    theirs["index"], theirs["flags"] = 9, 1
    theirs["attrs"] = [
        ("IFLA_IFNAME", "cni0"),
        ("IFLA_MTU", 1450),
        ("IFLA_ADDRESS", "02:00:00:00:00:09"),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]}),
    ]
    found = link.Link(encoded(theirs, rtnl.RTM_NEWLINK, 0)[HEADER.size :])
    assert (found.index, found.name, found.mtu, found.kind, found.up) == (9, "cni0", 1450, "bridge", True)
    assert link.mac_text(found.address) == "02:00:00:00:00:09"


@pytest.mark.parametrize("size", [4, 16])
def test_the_default_route_has_no_destination_attribute(size: int) -> None:
    family = socket.AF_INET if size == 4 else socket.AF_INET6
    message = rtnl.route_add(Route(family, bytes(size), 0, nexthops=(NextHop(b"\1" * size, 2),)))
    assert rtnl.RTA_DST not in attributes(message[HEADER.size :], 12)
    assert rtnl.parse_route(message[HEADER.size :]).dst == bytes(size)
