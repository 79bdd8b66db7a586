"""Which routes outlive what they were learned from: those of an earlier process or a lost daemon. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from speaker.desired import KernelRoute, RouteKey
    from speaker.gobgp.session import Peer, PeerStatus

# Seconds without news from any peer after which a table counts as complete.
QUIET = 3.0


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
        for key in keys:
            self.routes.pop(key, None)

    def settle(self, complete: bool, now: float) -> bool:
        """Ends the waiting when it is time; True if it did. `complete`: connected, and all peers are up."""
        if self._since is None:
            return False
        quiet = complete and now - self._news >= QUIET
        if not quiet and now - self._since < self.limit:
            return False
        self._since = None
        self.routes.clear()
        return True

    def next_check(self, complete: bool) -> float | None:
        """When `settle` can next be True; None while nothing waits."""
        if self._since is None:
            return None
        limit = self._since + self.limit
        return min(limit, self._news + QUIET) if complete else limit


def all_established(wanted: Iterable[Peer], found: Iterable[PeerStatus]) -> bool:
    """Whether each configured peer has a session."""
    up = {status.peer.address for status in found if status.established}
    return all(peer.address in up for peer in wanted)
