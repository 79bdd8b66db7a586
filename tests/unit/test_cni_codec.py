"""Our netlink codec against pyroute2: the same request is the same bytes, and each reads the other's."""

from __future__ import annotations

import socket
import struct
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
            ("IFLA_NUM_TX_QUEUES", 1),
            ("IFLA_NUM_RX_QUEUES", 1),
        ]
    }
    theirs = ifinfmsg()
    theirs["attrs"] = [
        ("IFLA_IFNAME", "anyp0"),
        ("IFLA_ADDRESS", "02:00:00:00:00:01"),
        ("IFLA_MASTER", 7),
        ("IFLA_MTU", 1400),
        ("IFLA_NUM_TX_QUEUES", 1),
        ("IFLA_NUM_RX_QUEUES", 1),
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


def with_nexthop_object(message: bytes, number: int) -> bytes:
    """RTA_NH_ID behind what pyroute2 made, which does not know it."""
    return struct.pack("=I", len(message) + 8) + message[4:] + struct.pack("=HHI", 8, 30, number)


@given(st.sampled_from([4, 16]), st.integers(1, (1 << 32) - 1), st.integers(1, 1 << 31))
def test_a_route_over_a_next_hop_object_is_what_pyroute2_would_ask_for(
    size: int, nhid: int, metric: int
) -> None:
    family = socket.AF_INET if size == 4 else socket.AF_INET6
    route = Route(family, bytes([198] + [1] * (size - 1)), size * 8, protocol=178, metric=metric, nhid=nhid)
    theirs = rtmsg()
    theirs["family"], theirs["dst_len"] = family, size * 8
    theirs["table"], theirs["proto"], theirs["type"] = 254, 178, 1
    theirs["attrs"] = [("RTA_DST", text(route.dst)), ("RTA_PRIORITY", metric)]
    assert rtnl.route_add(route) == with_nexthop_object(encoded(theirs, rtnl.RTM_NEWROUTE, 0x605), nhid)
    assert rtnl.parse_route(rtnl.route_add(route)[HEADER.size :]) == route


def test_next_hops_that_the_kernel_tells_beside_an_objects_number_make_no_other_route() -> None:
    theirs = rtmsg()
    theirs["family"], theirs["dst_len"], theirs["table"], theirs["type"] = 2, 32, 254, 1
    theirs["attrs"] = [("RTA_DST", "198.51.100.1"), ("RTA_GATEWAY", "10.1.0.2"), ("RTA_OIF", 3)]
    message = with_nexthop_object(encoded(theirs, rtnl.RTM_NEWROUTE, 0), 7)
    found = rtnl.parse_route(message[HEADER.size :])
    assert found.nexthops == (NextHop(socket.inet_aton("10.1.0.2"), 3),)
    assert found == Route(2, socket.inet_aton("198.51.100.1"), 32, protocol=0, nhid=7)
    assert found != Route(2, socket.inet_aton("198.51.100.1"), 32, protocol=0, nhid=8)


@pytest.mark.parametrize("address", ["10.1.0.2", "fd01::2"])
def test_the_way_to_an_address_is_asked_for_as_pyroute2_would(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    theirs = rtmsg()
    theirs["family"], theirs["dst_len"] = family, 128 if ":" in address else 32
    theirs["table"] = theirs["proto"] = theirs["scope"] = theirs["type"] = 0
    theirs["attrs"] = [("RTA_DST", address)]
    assert rtnl.route_get(socket.inet_pton(family, address)) == encoded(theirs, rtnl.RTM_GETROUTE, 0x1)


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
