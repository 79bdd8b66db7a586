"""What both versions of GoBGP's API say in the same words: texts to our values and back. Pure."""

from __future__ import annotations

import math
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from speaker.bgp import Attributes, LearnedPath, nearest_bandwidth
from speaker.prefixes import parsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from speaker.bgp import Address, LargeCommunity, Prefix

# RFC 7911 path identifier of every path that the speaker adds. Other programs that add
# local paths to the same daemon use 0, or numbers of their own: theirs are never touched.
IDENTIFIER = 0x616E7970
# How a path that was added through the API names the peer that it came from.
LOCAL_SOURCES = frozenset({"", "<nil>", "invalid IP"})
DEFAULT_LOCAL_PREF = 100
IGP = 0
# RFC 6793, 9: stands where an AS of more than two octets has no room.
AS_TRANS = 23456
# RFC 4271, 4.3 and RFC 5065, 3: the types of AS path segments; the same numbers everywhere.
AS_SET = 1
AS_SEQUENCE = 2


@lru_cache(maxsize=1 << 18)  # more than fit would not be found again at all in the next listing
def prefix_of(text: str) -> Prefix | None:
    """The prefix, None for one that is none: other programs can add "<nil>/24", and no daemon checks."""
    try:
        return parsed(text)
    except ValueError:
        return None


def address_of(text: str) -> Address | None:
    """The address, an IPv4 one where it is mapped into IPv6; None for "", "<nil>" and "invalid IP"."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def specified(text: str) -> Address | None:
    """The address, None also for 0.0.0.0 and ::, which a daemon puts where nothing was said."""
    address = address_of(text)
    return None if address is None or address.is_unspecified else address


def next_hop_of(hops: Iterable[str], neighbour: str, links: Mapping[str, str]) -> tuple[Address | None, str]:
    """The next hop of a path, and the interface that a link-local one is on.

    RFC 2545, 3: a global address, a link-local one, or both. From a `neighbour` that is itself found by its
    link-local address only the latter is near. `links` are interfaces by neighbour; a zone says it, too.
    """
    found = [address for address in map(address_of, hops) if address is not None]
    local = [address for address in found if address.version == 6 and address.is_link_local]
    usable = [address for address in found if not address.is_unspecified]
    near = neighbour.startswith("fe80:") and local
    chosen = next(iter(local if near else usable or found), None)
    if chosen is None or chosen not in local:
        return chosen, ""
    return chosen, links.get(neighbour) or neighbour.partition("%")[2]


def two_octets(asn: int) -> int:
    """The AS as a community of two octets can name it."""
    return asn if asn < 1 << 16 else AS_TRANS


def as_path_length(segments: Iterable[tuple[int, int]]) -> int:
    """RFC 4271, 9.1.2.2 and RFC 5065, 5.3 over (type, number of ASes): a set is one, confederations are none."""
    return sum(
        count if kind == AS_SEQUENCE else 1 for kind, count in segments if kind in {AS_SET, AS_SEQUENCE}
    )


class PathValues:
    """The attributes of a path that decide, or that we set; None: absent."""

    __slots__ = (
        "_carried",
        "as_path_length",
        "communities",
        "large_communities",
        "link_bandwidth",
        "local_pref",
        "med",
        "next_hops",
        "origin",
    )

    def __init__(self) -> None:
        self.next_hops: tuple[str, ...] = ()
        self.local_pref: int | None = None
        self.as_path_length = 0
        self.origin = IGP
        self.med: int | None = None
        self.communities: frozenset[int] = frozenset()
        self.large_communities: frozenset[LargeCommunity] = frozenset()
        self.link_bandwidth: float | None = None
        self._carried: Attributes | None = None

    def carried(self) -> Attributes:
        """What a path of ours was given; asked for when all is read."""
        if self._carried is None:
            bandwidth = self.link_bandwidth
            self._carried = Attributes(
                self.communities,
                self.large_communities,
                self.local_pref,
                self.med,
                None if bandwidth is None or math.isnan(bandwidth) else nearest_bandwidth(bandwidth),
            )
        return self._carried


# A table has far fewer ways than prefixes: each is made once.
@lru_cache(maxsize=1 << 12)
def learned_path(
    values: PathValues, hops: tuple[str, ...], peer: str, link: str, external: bool, stale: bool
) -> LearnedPath | None:
    """A path as a candidate for the kernel; `link` is the interface of a peer that is link-local.

    RFC 4271: without an attribute its usual value counts. None: without a next hop.
    """
    next_hop, interface = next_hop_of(hops, peer, {peer: link})
    if next_hop is None:
        return None
    return LearnedPath(
        next_hop=next_hop,
        peer=peer,
        local_pref=DEFAULT_LOCAL_PREF if values.local_pref is None else values.local_pref,
        as_path_length=values.as_path_length,
        origin=values.origin,
        med=values.med or 0,
        external=external,
        interface=interface,
        stale=stale,
    )
