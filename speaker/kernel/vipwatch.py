"""Hears when somebody else changes what virtual IPs are routed by, or when a link takes it away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cni import nexthop, rtnl
from cni.link import Link
from speaker.kernel.fibcodec import is_direct
from speaker.kernel.subscription import HOST_LENGTHS, Subscription
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


class VipWatch:
    """A subscription. What the socket of port `own` causes is no news, nor what that of `learned` does (0: none).

    But for routes to single addresses: one may have stood in a VIP's place.
    """

    def __init__(self, own: int, learned: int) -> None:
        self._events = Subscription(GROUPS)
        if learned:
            self._events.ignore_two(own, learned)
        else:
            self._events.ignore(own)
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

    def changed(self) -> bool:
        """Empties the subscription; whether what is held may no longer be true."""
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
