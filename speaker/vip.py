"""The path of a virtual IP on its way through the daemon; what peers see of it is a matter of speaker.policy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from speaker.bgp import Family, LocalPath
from speaker.policy import GRACEFUL_SHUTDOWN

if TYPE_CHECKING:
    from speaker.bgp import Prefix
    from speaker.settings import Announcement

# A daemon tells only its best path. What a peer tells of the same VIP, with whatever preference it was taken in, must
# not take its place: two nodes that each heard of the other would withdraw, and announce again, for ever.
PREFERENCE = (1 << 32) - 1


def vip_path(vip: Prefix, announcement: Announcement, bandwidth: int | None = None) -> LocalPath:
    """The path of a healthy VIP; the announcement is that of its pool, or of single addresses outside of all."""
    attributes = replace(announcement.attributes, local_pref=PREFERENCE, link_bandwidth=bandwidth)
    return LocalPath(vip, announcement.next_hop(Family(vip.version)), attributes)


def depreferred(path: LocalPath) -> LocalPath:
    """The same while it drains, or has too few endpoints (RFC 8326): the policy makes it the last that peers take."""
    carried = path.attributes
    worse = replace(carried, communities=carried.communities | {GRACEFUL_SHUTDOWN})
    return replace(path, attributes=worse)
