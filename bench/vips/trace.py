"""What happens on the way of a virtual IP to a rack, each with its monotonic time: one line of JSON for each.

Each of these runs in a process of its own, so that none of them delays another.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import socket
import sys
import time
from ipaddress import ip_address

from cni import rtnl
from cni.netlink import NetlinkSocket
from speaker.gobgp.connect import connect
from speaker.settings import Api
from speaker.watch import MASK

SECONDS = 600.0  # until what looks on ends by itself
HOST = (32, 128)
ETH_P_ALL = 3
UPDATE = 2
MARKER = b"\xff" * 16
HEADER = 19  # marker, length, type (RFC 4271, 4.1)


def say(what: str, of: str = "", at: float | None = None) -> None:
    """One line."""
    line = {"what": what, "of": of, "at": time.monotonic() if at is None else at}
    os.write(1, json.dumps(line).encode() + b"\n")


def kernel() -> None:
    """Routes to single addresses, come and gone, as this namespace's kernel tells them."""
    events = NetlinkSocket(rtnl.RTMGRP_IPV4_ROUTE | rtnl.RTMGRP_IPV6_ROUTE, timeout=SECONDS)
    say("ready")
    kinds = {rtnl.RTM_NEWROUTE: "route", rtnl.RTM_DELROUTE: "no route"}
    while True:
        messages = events.receive()
        at = time.monotonic()
        for kind, payload in messages:
            route = rtnl.parse_route(payload) if kind in kinds else None
            if route is not None and route.prefixlen in HOST:
                say(kinds[kind], str(ip_address(route.dst)), at)


def updates(device: str) -> None:
    """BGP UPDATEs that come in from a node's link; what they say is not looked at."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(ETH_P_ALL)) as sock:
        sock.bind((device, 0))
        say("ready")
        while True:
            packet, (_, _, kind, *_) = sock.recvfrom(65536)
            at = time.monotonic()
            if kind == socket.PACKET_OUTGOING:
                continue
            found = packet.find(MARKER)
            if found > 0 and len(packet) >= found + HEADER and packet[found + HEADER - 1] == UPDATE:
                say("update", at=at)


async def daemon(api: str) -> None:
    """Best paths of a gobgpd, as it tells them."""
    session = await connect(Api(api))
    async for event in session.watch():
        if event.subscribed:
            say("ready")
        for prefix in event.prefixes:
            say("path", str(prefix.network_address))


def state(path: str) -> None:
    """Changes of a state file."""
    libc = ctypes.CDLL(None)
    number = libc.inotify_init1(0)
    libc.inotify_add_watch(number, os.fsencode(path), MASK)
    say("ready")
    while True:
        os.read(number, 65536)
        say("state")


def main() -> None:
    """The kind, and what it looks at."""
    match sys.argv[1:]:
        case ["kernel"]:
            kernel()
        case ["updates", device]:
            updates(device)
        case ["daemon", api]:
            asyncio.run(daemon(api))
        case ["state", directory]:
            state(directory)


if __name__ == "__main__":
    main()
