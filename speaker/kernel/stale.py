"""Which routes outlive what they were learned from: those of an earlier process or a lost daemon. Pure."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from speaker.bgp import Peer, PeerStatus
    from speaker.desired import KernelRoute, RouteKey

# Seconds without news from any peer after which a table counts as complete.
QUIET = 3.0
# The same after the last End-of-RIB: what came before it may still be on its way from the daemon.
MOMENT = 0.5
# The same behind an End-of-RIB that came first of all. FRR sends it before it has told anything: what it tells a new
# session waits for its coalesce time, a second and 50 ms for each of its peers, at most ten.
LATE = 12.0


class Told(Enum):
    """How much the peers have told since their sessions stand."""

    PART = "part"  # a session is missing, or an End-of-RIB of one that sends it
    QUIET = "quiet"  # all, as far as can be known of peers that send no End-of-RIB: once nothing more comes
    ALL = "all"  # everything, by the peers' own word
    NOTHING = "nothing"  # that, too, but by one that has told no path


class StaleRoutes:
    """Keeps them wanted until the table is complete again, at most `limit` seconds. The caller has the clock.

    A route that was learned anew is no longer stale: its withdrawal counts at once.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.routes: dict[RouteKey, KernelRoute] = {}
        self._since: float | None = None
        self._news = 0.0

    @property
    def waiting(self) -> bool:
        """Whether stale routes are kept now."""
        return self._since is not None

    def lost(self, routes: Mapping[RouteKey, KernelRoute], now: float) -> None:
        """What was learned so far is not known to be true any more."""
        self.routes.update(routes)
        if self._since is None:
            self._since = now
        self._news = now

    def news(self, now: float) -> None:
        """A peer's state or the table changed."""
        self._news = now

    def learned(self, keys: Iterable[RouteKey]) -> None:
        """These are wanted now, by what the daemon says today."""
        if self.routes:
            for key in keys:
                self.routes.pop(key, None)

    def ended(self, addresses: Collection[str]) -> None:
        """Sessions with these stood since and ended ("fe80::1%eth0" on a link): nothing leads there any more."""
        for key, route in list(self.routes.items()) if addresses else ():
            others = frozenset(hop for hop in route.next_hops if str(hop) not in addresses)
            if not others:
                del self.routes[key]
            elif others != route.next_hops:
                self.routes[key] = replace(route, next_hops=others)

    def settle(self, told: Told, now: float) -> bool:
        """Ends the waiting when it is time; True if it did."""
        due = self.next_check(told)
        if due is None or now < due:
            return False
        self._since = None
        self.routes.clear()
        return True

    def next_check(self, told: Told) -> float | None:
        """When `settle` can next be True; None while nothing waits."""
        if self._since is None:
            return None
        limit = self._since + self.limit
        if told is Told.PART:
            return limit
        return min(limit, self._news + self._pause(told))

    def _pause(self, told: Told) -> float:
        if told is Told.NOTHING and self.routes:
            return LATE
        return MOMENT if told is Told.ALL else QUIET


def all_established(wanted: Iterable[Peer], found: Iterable[PeerStatus]) -> bool:
    """Whether each configured peer has a session."""
    up = {status.peer.key for status in found if status.established}
    return all(peer.key in up for peer in wanted)


def told_by(wanted: Iterable[Peer], found: Iterable[PeerStatus], any_may_come: bool) -> Told:
    """How much has been told by the configured peers and the dynamic ones that have a session.

    `any_may_come`: there are dynamic neighbours, and nobody knows which are still to come.
    """
    sessions = [status for status in found if status.established]
    if any_may_come or not all_established(wanted, sessions):
        return Told.PART
    if any(status.graceful and not _ended(status) for status in sessions):
        return Told.PART
    if any(status.graceful and not status.received for status in sessions):
        return Told.NOTHING
    return Told.ALL if sessions and all(status.graceful for status in sessions) else Told.QUIET


def _ended(status: PeerStatus) -> bool:
    return status.peer.options.families <= status.end_of_rib
