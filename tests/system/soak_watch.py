"""Every change of the speakers' routes, as the kernel tells it: what, when, and by whose hand."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cni import rtnl
from cni.netlink import BUFFER, HEADER, NETLINK_ROUTE, SO_RCVBUFFORCE
from speaker.kernel.fibcodec import prefix_of
from tests.system.scrape import inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from speaker.bgp import Prefix

PROTOCOL = 177
NLM_F_REPLACE = 0x100
ROOM = 64 << 20
LOOK = 0.2
KERNEL = 0  # the port of what nobody asked for


@dataclass(frozen=True, slots=True)
class Change:
    """A route of ours came, went, or got other next hops; `port` is that of the netlink socket that asked for it."""

    at: float
    port: int
    verb: str  # "added", "changed" or "removed"
    prefix: Prefix
    metric: int
    hops: frozenset[str]

    def __str__(self) -> str:
        return f"{self.prefix} {self.verb}, via {sorted(self.hops) or 'unreachable'}"


class Watch:
    """Listens in the namespaces given, from when it is made until it is closed."""

    def __init__(self, namespaces: Mapping[int, str]) -> None:
        self.changes: dict[int, list[Change]] = {number: [] for number in namespaces}
        self._lost: list[OSError] = []
        self._end = threading.Event()
        self._sockets = {number: _listener(namespace) for number, namespace in namespaces.items()}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for number, one in self._sockets.items():
                selector.register(one, selectors.EVENT_READ, number)
            while not self._end.is_set():
                for key, _ in selector.select(LOOK):
                    try:
                        data = self._sockets[key.data].recv(BUFFER)
                    except OSError as error:  # ENOBUFS: messages were lost
                        self._lost.append(error)
                        return
                    self.changes[key.data] += _changes(data)

    def close(self) -> None:
        """Hears what is there already, then ends."""
        if not self._end.is_set():
            time.sleep(2 * LOOK)
            self._end.set()
            self._thread.join()
            for one in self._sockets.values():
                one.close()
        assert not self._lost, self._lost


def _listener(namespace: str) -> socket.socket:
    with inside(namespace):
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)
    made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
    made.bind((0, rtnl.RTMGRP_IPV4_ROUTE | rtnl.RTMGRP_IPV6_ROUTE))
    return made


def _changes(data: bytes) -> Iterator[Change]:
    at, offset = time.time(), 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, _, port = HEADER.unpack_from(data, offset)
        payload = data[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3
        if kind in {rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE}:
            route = rtnl.parse_route(payload)
            if route.protocol == PROTOCOL:
                new = "changed" if flags & NLM_F_REPLACE else "added"
                hops = frozenset(str(ip_address(hop.gateway)) for hop in route.nexthops)
                verb = new if kind == rtnl.RTM_NEWROUTE else "removed"
                yield Change(at, port, verb, prefix_of(route), route.metric, hops)
