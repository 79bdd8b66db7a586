"""The kernel's routes: reads them, writes ours, and hears when somebody else changes them.

Only routes with our protocol number in our table are ever changed or removed.
"""

from __future__ import annotations

import errno
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cni import rtnl
from cni.link import Address as LinkAddress
from cni.link import Link, address_dump, link_dump
from cni.netlink import NetlinkError, NetlinkSocket
from speaker.desired import Held, KernelRoute
from speaker.kernel.bulk import Messages
from speaker.kernel.fibcodec import (
    explain,
    from_kernel,
    is_connected,
    is_direct,
    prefix_of,
    rejects,
)
from speaker.kernel.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from speaker.bgp import Address, Prefix
    from speaker.desired import RouteKey
    from speaker.plan import RoutePlan
    from speaker.settings import Kernel

GROUPS = (
    rtnl.RTMGRP_LINK
    | rtnl.RTMGRP_IPV4_IFADDR
    | rtnl.RTMGRP_IPV6_IFADDR
    | rtnl.RTMGRP_IPV4_ROUTE
    | rtnl.RTMGRP_IPV6_ROUTE
)
# Datagrams read in one go; what remains makes the descriptor readable again.
EVENTS = 1000
# With more next hops to watch than this, every route of others matters.
MANY = 1000


class Fib:
    """One table of the network namespace in which this object is made."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._left: list[Kernel] = []
        self._socket = NetlinkSocket()
        self._events = Subscription(GROUPS)
        self._events.ignore(self._socket.port)
        self._links: list[Link] = []
        self._messages = Messages(kernel, self._index_of)
        self._refused: set[RouteKey] = set()
        self.known = Held()
        # Protocol number of the virtual IPs' routes, which say nothing about where a next hop is; 0: there are none.
        self.vips = 0
        # Next hops that other programs' routes have a say in: a change around them matters.
        self.watched: Collection[Address] = ()

    def fileno(self) -> int:
        """Readable when `changed` should be called."""
        return self._events.fileno()

    @property
    def port(self) -> int:
        """What the kernel calls the socket that writes."""
        return self._socket.port

    def close(self) -> None:
        """Gives the sockets back; the routes stay."""
        self._socket.close()
        self._events.close()

    # ---- reading

    def read(self) -> None:
        """Reads everything anew."""
        self._links = [Link(payload) for _, payload in self._socket.dump(link_dump())]
        self._messages = Messages(self._kernel, self._index_of)
        self._refused = set()
        held = Held()
        connected: set[Prefix] = set()
        direct: set[Prefix] = set()
        down: set[Prefix | str] = {link.name for link in self._links if not link.carrier}
        for route in (route for table in self._tables() for route in self._routes(table)):
            if self._is_mine(route, held) or self._is_vip(route):
                continue
            if is_direct(route):
                (down if route.down else direct).add(prefix_of(route))
                if is_connected(route):
                    connected.add(prefix_of(route))
            elif route.nexthops or rejects(route):
                self._note_other(route, held.others)
        held.connected, held.direct, held.down = frozenset(connected), frozenset(direct), frozenset(down)
        held.own = self._own()
        self.known = held

    def _own(self) -> frozenset[Address]:
        """Addresses of this node; a link-local one may be a neighbour's on another link."""
        found = (LinkAddress(payload).ip for _, payload in self._socket.dump(address_dump()))
        addresses = (ip_address(packed) for packed in found if packed)
        return frozenset(address for address in addresses if not address.is_link_local)

    def _tables(self) -> set[int]:
        """Where a next hop is looked up: with a VRF, links are in its own table."""
        return {rtnl.RT_TABLE_MAIN, self._kernel.table}

    def _routes(self, table: int) -> Iterator[rtnl.Route]:
        for family in (rtnl.AF_INET, rtnl.AF_INET6):
            try:
                found = self._socket.dump(rtnl.route_dump(family, table))
            except NetlinkError as error:
                if error.errno != errno.ENOENT:  # no such table yet
                    raise
                continue
            for _, payload in found:
                route = rtnl.parse_route(payload)
                if route.table == table:
                    yield route

    def _is_ours(self, route: rtnl.Route) -> bool:
        return route.protocol == self._kernel.protocol and route.table == self._kernel.table

    def _is_vip(self, route: rtnl.Route) -> bool:
        return bool(self.vips) and route.protocol == self.vips and route.table == self._kernel.table

    def _is_mine(self, route: rtnl.Route, held: Held) -> bool:
        """Notes a route that is ours, or was."""
        if self._is_ours(route):
            self._note(route, held.ours)
            return True
        former = any((route.protocol, route.table) == _place(left) for left in self._left)
        if former and route.table == self._kernel.table:
            held.former.add((prefix_of(route), route.metric))
        return former

    def _note(self, route: rtnl.Route, into: dict[RouteKey, KernelRoute]) -> None:
        """IPv6 may list the next hops of one route as several routes."""
        found = from_kernel(route, self._name_of)
        before = into.setdefault(found.key, found)
        if before is not found:
            into[found.key] = KernelRoute(found.prefix, found.metric, found.next_hops | before.next_hops)

    def _note_other(self, route: rtnl.Route, into: dict[Prefix, KernelRoute]) -> None:
        """Of several routes for a prefix the kernel uses the one with the lowest metric."""
        found = from_kernel(route, self._name_of)
        before = into.get(found.prefix)
        if before is None or found.metric < before.metric:
            into[found.prefix] = found

    def _name_of(self, index: int) -> str:
        return next((link.name for link in self._links if link.index == index), "")

    def _index_of(self, name: str) -> int:
        """A number that no link has where there is none of this name: the kernel says so."""
        return next((link.index for link in self._links if link.name == name), 0x7FFFFFFF)

    # ---- events

    def changed(self) -> bool:
        """Empties the subscription; True if what was read may no longer be true."""
        dirty = False
        for _ in range(EVENTS):
            try:
                messages = self._events.receive()
            except BlockingIOError:
                break
            except OSError:
                return True  # ENOBUFS: messages were lost
            dirty = dirty or any(self._matters(kind, payload) for kind, payload in messages)
        return dirty

    def _matters(self, kind: int, payload: bytes) -> bool:
        if kind not in {rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE}:
            return True  # IPv4 routes vanish with their link or address without a word
        route = rtnl.parse_route(payload)
        prefix = prefix_of(route)
        if self._is_ours(route):
            # Our own writes are not told: this is somebody else's.
            return kind == rtnl.RTM_DELROUTE and (prefix, route.metric) in self.known.ours
        if self._is_in_our_place(kind, route, prefix):
            return True
        return (
            not self._is_vip(route)
            and route.table in self._tables()
            and (
                is_connected(route)
                or (is_direct(route) and kind == rtnl.RTM_DELROUTE)
                or len(self.watched) > MANY
                or any(hop in prefix for hop in self.watched)
            )
        )

    def _is_in_our_place(self, kind: int, route: rtnl.Route, prefix: Prefix) -> bool:
        """Another program replaced a route of ours (the kernel does not tell that ours went), or made room."""
        keys = self.known.ours if kind == rtnl.RTM_NEWROUTE else self._refused
        return route.table == self._kernel.table and (prefix, route.metric) in keys

    # ---- writing

    def move(self, kernel: Kernel) -> None:
        """From now on our routes are those of this table and protocol; the former ones stay until `leave`."""
        before, self._kernel = self._kernel, kernel
        self._messages = Messages(kernel, self._index_of)
        self._left = [left for left in (*self._left, before) if _place(left) != _place(kernel)]

    def leave(self) -> int:
        """Removes the routes of each table and protocol that were ours before; how many."""
        count = 0
        while self._left:
            left = self._left.pop()
            routes = [route for route in self._routes(left.table) if route.protocol == left.protocol]
            count += len(routes)
            self._send([rtnl.route_delete(route) for route in routes])
        self.known.former.clear()
        return count

    def apply(self, plan: RoutePlan) -> dict[RouteKey, str]:
        """Carries the plan out as far as possible; why each refused route was refused.

        Removals come first: they make room for what replaces them.
        """
        refused = self._remove(plan.remove)
        # "Add" refuses where any route with this prefix and metric stands: one that is not ours stays.
        former, encode = self.known.former, self._messages.encode
        again = [route for route in plan.add if route.key in former] if former else []
        add = [route for route in plan.add if route.key not in former] if former else plan.add
        messages = encode(rtnl.route_add, add) + encode(rtnl.route_replace, [*again, *plan.change])
        ours = self.known.ours
        for route, error in zip([*add, *again, *plan.change], self._send(messages), strict=True):
            if error is None:
                ours[route.key] = route
            else:
                refused[route.key] = explain(error)
        refused |= self._remove(plan.retire)
        self._refused |= refused.keys()
        return refused

    def _remove(self, routes: Sequence[KernelRoute]) -> dict[RouteKey, str]:
        refused: dict[RouteKey, str] = {}
        removed = self._send(self._messages.encode(rtnl.route_delete, routes))
        for route, error in zip(routes, removed, strict=True):
            if error is None or error.errno == errno.ESRCH:  # gone already
                self.known.ours.pop(route.key, None)
            else:
                refused[route.key] = explain(error)
        return refused

    def _send(self, messages: Sequence[bytes]) -> list[NetlinkError | None]:
        return self._socket.request_each(messages) if messages else []


def _place(kernel: Kernel) -> tuple[int, int]:
    return kernel.protocol, kernel.table
