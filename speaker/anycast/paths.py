"""The path of a VIP as the daemon is given it. Pure, but for what `Damper` remembers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from speaker.anycast.judge import Standing
from speaker.bgp import Family, LocalPath
from speaker.policy import GRACEFUL_SHUTDOWN

if TYPE_CHECKING:
    from collections.abc import Collection

    from speaker.anycast.judge import Verdict
    from speaker.bgp import Address, Attributes
    from speaker.settings import Announcement

# A daemon tells only its best path, and asks for the local preference first. What a peer tells of the same VIP, in
# whatever preference it was taken, must not be that one: of two nodes that hear of each other, as both do while both
# drain, each would withdraw and announce again for ever. What iBGP peers are told is for speaker.policy to say.
PREFERENCE = (1 << 32) - 1
# Bytes per second that stand for an endpoint, or a weight of 1: only proportions count.
BANDWIDTH_UNIT = 1_000_000


def path_of(verdict: Verdict, announcement: Announcement, load: int) -> LocalPath | None:
    """What is announced, as `announcement` says; `load` 0: no link bandwidth. None for a VIP that is withdrawn."""
    if verdict.standing is Standing.WITHDRAWN:
        return None
    deferred = verdict.standing is Standing.DEPREFERRED
    prefix = verdict.route.prefix
    next_hop = announcement.next_hop(Family(prefix.version))
    return LocalPath(prefix, next_hop, _carried(announcement.attributes, deferred, load))


# One object for all that are alike: they are compared thousands of times.
@lru_cache(maxsize=1 << 10)
def _carried(configured: Attributes, deferred: bool, load: int) -> Attributes:
    attributes = replace(configured, local_pref=PREFERENCE)
    if deferred:
        # The policy makes it the last that peers take.
        return replace(attributes, communities=attributes.communities | {GRACEFUL_SHUTDOWN})
    return replace(attributes, link_bandwidth=load * BANDWIDTH_UNIT) if load else attributes


@dataclass(slots=True)
class _Told:
    """What peers were told last; what they should be told, and since when."""

    load: int
    wanted: int
    since: float


class Damper:
    """Lets a changed load through once it has been the same for a while: a rack may move flows for each change."""

    def __init__(self) -> None:
        self._told: dict[Address, _Told] = {}

    def load(self, vip: Address, wanted: int, damping: float, now: float) -> int:
        """What to tell of a VIP now. The first number, and one from or to nothing, goes through at once."""
        if not wanted:
            self._told.pop(vip, None)
            return 0
        told = self._told.get(vip)
        if told is None:
            self._told[vip] = _Told(wanted, wanted, now)
            return wanted
        if wanted != told.wanted:
            told.wanted, told.since = wanted, now
        if told.wanted != told.load and now >= told.since + damping:
            told.load = told.wanted
        return told.load

    def held_back(self) -> list[Address]:
        """VIPs of which peers are not told yet what they should be."""
        return [vip for vip, told in self._told.items() if told.wanted != told.load]

    def until(self, vip: Address, damping: float) -> float:
        """When to ask again for one that is held back."""
        return self._told[vip].since + damping

    def keep(self, vips: Collection[Address]) -> None:
        """Forgets all others."""
        self._told = {vip: told for vip, told in self._told.items() if vip in vips}
