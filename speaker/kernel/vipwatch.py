"""Hears when somebody else changes what virtual IPs are routed by, or when a link takes it away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cni import nexthop, rtnl
from cni.link import Link
from cni.netlink import NetlinkSocket
from speaker.kernel.fibcodec import is_direct
from speaker.kernel.vipcodec import key_of
from speaker.kernel.vipgroups import VipsHeld

if TYPE_CHECKING:
    from collections.abc import Collection

    from speaker.bgp import Prefix

GROUPS = (
    nexthop.RTMGRP_NEXTHOP
    | rtnl.RTMGRP_LINK
    | rtnl.RTMGRP_IPV4_IFADDR
    | rtnl.RTMGRP_IPV6_IFADDR
    | rtnl.RTMGRP_IPV4_ROUTE
    | rtnl.RTMGRP_IPV6_ROUTE
)
# Datagrams read in one go; what remains makes the descriptor readable again.
EVENTS = 1000
HOST_LENGTHS = (32, 128)


class VipWatch:
    """A subscription. What the socket of port `own` causes is no news."""

    def __init__(self, own: int) -> None:
        self._own = own
        self._events = NetlinkSocket(GROUPS, timeout=0.0)
        self._news: list[tuple[int, bytes]] = []
        self._lost = False
        self.held = VipsHeld()
        self.protocol = 0
        self.table = 0
        # Next hops that could not be made, or VIPs that were refused: what lies around them matters, too.
        self.failed: Collection[int] = ()
        self.refused: Collection[Prefix] = ()

    def fileno(self) -> int:
        """Readable when `changed` should be called."""
        return self._events.fileno()

    def close(self) -> None:
        """Gives the socket back."""
        self._events.close()

    def collect(self) -> None:
        """Empties the subscription, which overflows where much is written and nobody reads."""
        for _ in range(EVENTS):
            try:
                self._news += self._events.receive(apart_from=self._own)
            except BlockingIOError:
                return
            except OSError:
                self._lost = True  # ENOBUFS
                return

    def changed(self) -> bool:
        """Whether, after what was collected, what is held may no longer be true."""
        self.collect()
        news, self._news = self._news, []
        lost, self._lost = self._lost, False
        return lost or any(self._matters(kind, payload) for kind, payload in news)

    def _matters(self, kind: int, payload: bytes) -> bool:
        if kind in {nexthop.RTM_NEWNEXTHOP, nexthop.RTM_DELNEXTHOP}:
            return self._object(nexthop.NextHopObject(payload))
        if kind in {rtnl.RTM_NEWLINK, rtnl.RTM_DELLINK}:
            return self._link(kind, Link(payload))
        if kind in {rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR}:
            return bool(self.failed)
        if kind in {rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE}:
            # The second byte is the prefix length: of a whole table that is learned, nothing more is looked at.
            return (payload[1] in HOST_LENGTHS or bool(self.failed)) and self._route(
                kind, rtnl.parse_route(payload)
            )
        return False  # a bucket that was moved, for one

    def _object(self, found: nexthop.NextHopObject) -> bool:
        number, held = found.number, self.held
        known = number in held.hops or number in held.groups or number in held.taken
        return known or found.protocol == self.protocol

    def _link(self, kind: int, link: Link) -> bool:
        """The kernel removes a link's objects without a word when it goes down, loses its carrier or goes away."""
        if self.failed:
            return True
        well = kind == rtnl.RTM_NEWLINK and link.up and link.carrier
        return not well and any(hop.link == link.index for hop in self.held.hops.values())

    def _route(self, kind: int, route: rtnl.Route) -> bool:
        key = key_of(route)
        if route.table == self.table and key in self.held.routes:
            # Another program replaced it (the kernel does not tell that ours went), or removed it.
            return kind == rtnl.RTM_NEWROUTE or route.protocol == self.protocol
        if kind == rtnl.RTM_DELROUTE and key[0] in self.refused:
            return True
        return bool(self.failed) and is_direct(route)
