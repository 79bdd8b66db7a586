"""The kernel's routes: reads them, writes ours, and hears when somebody else changes them.

Only routes with our protocol number in our table are ever changed or removed.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

from cni import rtnl
from cni.netlink import NetlinkError, NetlinkSocket
from speaker.desired import KernelRoute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speaker.config import Kernel
    from speaker.desired import RouteKey
    from speaker.gobgp.session import Address, Prefix
    from speaker.plan import RoutePlan

RTPROT_KERNEL = 2
GROUPS = (
    rtnl.RTMGRP_LINK
    | rtnl.RTMGRP_IPV4_IFADDR
    | rtnl.RTMGRP_IPV6_IFADDR
    | rtnl.RTMGRP_IPV4_ROUTE
    | rtnl.RTMGRP_IPV6_ROUTE
)
# Datagrams read in one go; what remains makes the descriptor readable again.
EVENTS = 1000
_ADVICE = {
    errno.ENETUNREACH: "the next hop is on none of this node's networks; peer with a neighbour on a"
    " connected network, or have it announce itself as next hop",
    errno.EHOSTUNREACH: "the next hop is on none of this node's networks; check the link to the peer",
    errno.EEXIST: "another program's route has the same prefix and metric; set another kernel.metric",
    errno.ENODEV: "the next hop's link is gone or needs an interface, as link-local addresses do",
    errno.ENETDOWN: "the link to the next hop is down",
    errno.EPERM: "the speaker needs CAP_NET_ADMIN; run it as root",
}


@dataclass(slots=True)
class Held:
    """What the kernel holds: routes of ours, and the prefixes of this node's links."""

    ours: dict[RouteKey, KernelRoute] = field(default_factory=dict)
    connected: frozenset[Prefix] = frozenset()


class Fib:
    """One table of the network namespace in which this object is made."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._socket = NetlinkSocket()
        self._events = NetlinkSocket(GROUPS, timeout=0.0)
        self.known = Held()

    def fileno(self) -> int:
        """Readable when `changed` should be called."""
        return self._events.fileno()

    def close(self) -> None:
        """Gives the sockets back; the routes stay."""
        self._socket.close()
        self._events.close()

    def read(self) -> None:
        """Reads everything anew."""
        ours: dict[RouteKey, KernelRoute] = {}
        connected: set[Prefix] = set()
        for family in (rtnl.AF_INET, rtnl.AF_INET6):
            for _, payload in self._socket.dump(rtnl.route_dump(family)):
                route = rtnl.parse_route(payload)
                if self._is_ours(route):
                    found = from_kernel(route, ours)
                    ours[found.key] = found
                elif _is_connected(route):
                    connected.add(_prefix(route))
        self.known = Held(ours, frozenset(connected))

    def _is_ours(self, route: rtnl.Route) -> bool:
        return route.protocol == self._kernel.protocol and route.table == self._kernel.table

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
        if self._is_ours(route):
            # An echo of our own writes, unless something goes that should be there.
            return kind == rtnl.RTM_DELROUTE and (_prefix(route), route.metric) in self.known.ours
        if kind == rtnl.RTM_NEWROUTE and self._is_in_place_of_ours(route):
            return True
        return _is_connected(route)

    def _is_in_place_of_ours(self, route: rtnl.Route) -> bool:
        """Another program replaced a route of ours: the kernel does not tell that ours went."""
        known = self.known.ours
        return route.table == self._kernel.table and (_prefix(route), route.metric) in known

    def apply(self, plan: RoutePlan) -> dict[RouteKey, str]:
        """Carries the plan out as far as possible; why each refused route was refused.

        Removals come first: they make room for what replaces them.
        """
        refused: dict[RouteKey, str] = {}
        removed = self._send([rtnl.route_delete(self.to_kernel(route)) for route in plan.remove])
        for route, error in zip(plan.remove, removed, strict=True):
            if error is None or error.errno == errno.ESRCH:  # gone already
                self.known.ours.pop(route.key, None)
            else:
                refused[route.key] = explain(error)
        # "Add" refuses where any route with this prefix and metric stands: one that is not ours stays.
        messages = [rtnl.route_add(self.to_kernel(route)) for route in plan.add]
        messages += [rtnl.route_replace(self.to_kernel(route)) for route in plan.change]
        for route, error in zip([*plan.add, *plan.change], self._send(messages), strict=True):
            if error is None:
                self.known.ours[route.key] = route
            else:
                refused[route.key] = explain(error)
        return refused

    def _send(self, messages: Sequence[bytes]) -> list[NetlinkError | None]:
        return self._socket.request_each(messages) if messages else []

    def to_kernel(self, route: KernelRoute) -> rtnl.Route:
        """Our value as the codec's. The kernel finds the link from the gateway."""
        hops = tuple(rtnl.NextHop(hop.packed) for hop in sorted(route.next_hops, key=int))
        return rtnl.Route(
            family=rtnl.AF_INET if route.prefix.version == 4 else rtnl.AF_INET6,
            dst=route.prefix.network_address.packed,
            prefixlen=route.prefix.prefixlen,
            kind=rtnl.RTN_UNICAST if hops else rtnl.RTN_UNREACHABLE,
            protocol=self._kernel.protocol,
            table=self._kernel.table,
            metric=route.metric,
            nexthops=hops,
        )


def explain(error: NetlinkError) -> str:
    """The kernel's words and what to do."""
    advice = _ADVICE.get(error.errno or 0)
    return f"{error.strerror}: {advice}" if advice else str(error.strerror)


def from_kernel(route: rtnl.Route, before: dict[RouteKey, KernelRoute]) -> KernelRoute:
    """The codec's route as our value. IPv6 lists the next hops of one route as several routes."""
    hops = {ip_address(hop.gateway) if hop.gateway else _nowhere(route) for hop in route.nexthops}
    if route.kind == rtnl.RTN_UNICAST and not hops:
        hops = {_nowhere(route)}  # a way out without a gateway is none of our making: it differs from all
    prefix = _prefix(route)
    earlier = before.get((prefix, route.metric))
    if earlier is not None:
        hops |= earlier.next_hops
    return KernelRoute(prefix, route.metric, frozenset(hops))


def _nowhere(route: rtnl.Route) -> Address:
    return IPv4Address(0) if route.family == rtnl.AF_INET else IPv6Address(0)


def _is_connected(route: rtnl.Route) -> bool:
    direct = not any(hop.gateway for hop in route.nexthops)
    main = route.table == rtnl.RT_TABLE_MAIN and route.kind == rtnl.RTN_UNICAST
    return main and direct and route.protocol == RTPROT_KERNEL


def _prefix(route: rtnl.Route) -> Prefix:
    if route.family == rtnl.AF_INET:
        return IPv4Network((route.dst, route.prefixlen))
    return IPv6Network((route.dst, route.prefixlen))
