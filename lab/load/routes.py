"""Every change of a namespace's routes, with the time at which the kernel told it."""

from __future__ import annotations

import os
import socket
import struct
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING

from lab.load.common import Poll, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

NETLINK_ROUTE = 0
GROUPS = 1 << 6 | 1 << 10  # RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE (linux/rtnetlink.h)
NEW, GONE = 24, 25  # RTM_NEWROUTE, RTM_DELROUTE
DST, GATEWAY, PRIORITY, MULTIPATH, VIA = 1, 5, 6, 9, 18  # RTA_…
HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
HOP = struct.Struct("=HBBi")  # struct rtnexthop
ATTRIBUTE = struct.Struct("=HH")
UNICAST = 1
BUFFER = 1 << 20


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        yield kind, data[ATTRIBUTE.size : length]
        data = data[max(length + 3 & ~3, ATTRIBUTE.size) :]


def _gateways(attributes: dict[int, bytes]) -> Iterator[tuple[str, int]]:
    """Gateway and weight of each next hop."""
    if GATEWAY in attributes:
        yield str(ip_address(attributes[GATEWAY])), 1
    elif VIA in attributes:
        yield str(ip_address(attributes[VIA][2:])), 1
    data = attributes.get(MULTIPATH, b"")
    while len(data) >= HOP.size:
        length, _, weight, _ = HOP.unpack_from(data)
        for gateway, _ in _gateways(dict(_attributes(data[HOP.size : length]))):
            yield gateway, weight + 1
        data = data[max(length, HOP.size) :]


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= HEADER.size:
        length, kind, _, _, _ = HEADER.unpack_from(data)
        yield kind, data[HEADER.size : length]
        data = data[max(length + 3 & ~3, HEADER.size) :]


def _tell(kind: int, body: bytes, at: float) -> None:
    family, length, _, _, _, protocol, _, route_type, _ = ROUTE.unpack_from(body)
    attributes = dict(_attributes(body[ROUTE.size :]))
    address = attributes.get(DST, bytes(4 if family == socket.AF_INET else 16))
    say(
        {
            "event": "new" if kind == NEW else "gone",
            "at": at,
            "prefix": f"{ip_address(address)}/{length}",
            "metric": int.from_bytes(attributes.get(PRIORITY, b""), "little"),
            "protocol": protocol,
            "unicast": route_type == UNICAST,
            "gateways": dict(_gateways(attributes)),
        }
    )


def routes(_: argparse.Namespace) -> None:
    """Tells of each change until stdin ends."""
    poll = Poll()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.bind((0, GROUPS))
        poll.watch(sock.fileno())
        say({"event": "watching"})
        while not poll.stopped:
            for number in poll.wait(time.monotonic() + 60.0):
                at = time.monotonic()
                for kind, body in _messages(os.read(number, BUFFER)):
                    if kind in {NEW, GONE}:
                        _tell(kind, body, at)
    say({"event": "end"})
