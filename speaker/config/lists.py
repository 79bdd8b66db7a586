"""Prefix lists and communities of a configuration, from text to values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from speaker.bgp import PrefixMatch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from speaker.bgp import LargeCommunity, Prefix
    from speaker.config.checks import Checks

# RFC 1997, 3765, 8326, 7999, 7611.
WELL_KNOWN = {
    "no-export": 0xFFFFFF01,
    "no-advertise": 0xFFFFFF02,
    "no-export-subconfed": 0xFFFFFF03,
    "no-peer": 0xFFFFFF04,
    "graceful-shutdown": 0xFFFF0000,
    "blackhole": 0xFFFF029A,
    "accept-own": 0xFFFF0001,
}
_MATCH = re.compile(r"(\S+)(?: +ge +(\d{1,3}))?(?: +le +(\d{1,3}))?", re.ASCII)
_HOW = "write it like 10.0.0.0/8, or 10.0.0.0/8 ge 16 le 24"


def prefix_list(checks: Checks, key: str, values: list[str]) -> tuple[PrefixMatch, ...]:
    """Entries like "10.0.0.0/8", which is all inside it, or "10.0.0.0/8 ge 16 le 24"; none overlaps another."""
    found = [_match(checks, f"{key}[{i}]", value) for i, value in enumerate(values)]
    matches = tuple(match for match in found if match is not None)
    if len(matches) == len(values):
        for later, earlier in overlaps(matches):
            what = "is there twice; keep one of them"
            if matches[later] != matches[earlier]:
                what = f"overlaps {values[earlier]} in the same list; remove one, or set ge and le apart"
            checks.add(f"{key}[{later}]", values[later], what)
    return matches


def _match(checks: Checks, key: str, value: str) -> PrefixMatch | None:
    parts = _MATCH.fullmatch(value)
    if parts is None:
        checks.add(key, value, f"is no entry of a prefix list; {_HOW}")
        return None
    prefix = checks.prefix(key, parts[1], value)
    if prefix is None:
        return None
    shortest = int(parts[2] or prefix.prefixlen)
    longest = int(parts[3] or prefix.max_prefixlen)
    if not prefix.prefixlen <= shortest <= longest <= prefix.max_prefixlen:
        span = f"{prefix.prefixlen} to {prefix.max_prefixlen}"
        checks.add(key, value, f"has no lengths that fit; ge and le are from {span}, ge the smaller")
        return None
    return PrefixMatch(prefix, shortest, longest)


def overlaps(matches: Sequence[PrefixMatch]) -> list[tuple[int, int]]:
    """Each entry that shares a prefix with one before it, with the first such; positions in the list."""

    found: dict[int, int] = {}
    around: list[int] = []  # the entries whose prefix contains the one that is looked at, the widest first
    for position in sorted(range(len(matches)), key=lambda i: _order(matches[i])):
        one = matches[position]
        while around and not _contains(matches[around[-1]].prefix, one.prefix):
            around.pop()
        for other in around:
            if one.shortest <= matches[other].longest and matches[other].shortest <= one.longest:
                later, earlier = max(position, other), min(position, other)
                found[later] = min(earlier, found.get(later, earlier))
        around.append(position)
    return sorted(found.items())


def _contains(wide: Prefix, narrow: Prefix) -> bool:
    """Whether `narrow` begins inside `wide`; it comes after it in the order of addresses and lengths."""
    return wide.version == narrow.version and narrow.network_address in wide


def covered(matches: Collection[PrefixMatch], by: Iterable[PrefixMatch]) -> list[PrefixMatch]:
    """Those all of whose prefixes one entry of `by` takes as well."""
    ranges: dict[tuple[int, int, int], list[PrefixMatch]] = {}
    for other in by:
        ranges.setdefault(_bits(other.prefix, other.prefix.prefixlen), []).append(other)
    lengths = {length for _, length, _ in ranges}
    return [
        match
        for match in sorted(matches, key=_order)
        for length in lengths
        if length <= match.prefix.prefixlen
        for other in ranges.get(_bits(match.prefix, length), ())
        if other.shortest <= match.shortest and match.longest <= other.longest
    ]


def _bits(prefix: Prefix, length: int) -> tuple[int, int, int]:
    """The first bits of a prefix as something to look up."""
    return prefix.version, length, int(prefix.network_address) >> (prefix.max_prefixlen - length)


def _order(match: PrefixMatch) -> tuple[int, int, int, int]:
    prefix = match.prefix
    return prefix.version, int(prefix.network_address), prefix.prefixlen, match.shortest


def all_inside(prefix: Prefix) -> PrefixMatch:
    """The prefix and everything in it."""
    return PrefixMatch(prefix, prefix.prefixlen, prefix.max_prefixlen)


def show_match(match: PrefixMatch) -> str:
    """An entry as the file spells it."""
    low = f" ge {match.shortest}" if match.shortest != match.prefix.prefixlen else ""
    high = f" le {match.longest}" if match.longest != match.prefix.max_prefixlen else ""
    return f"{match.prefix}{low}{high}"


def communities(
    checks: Checks, key: str, values: list[str]
) -> tuple[frozenset[int], frozenset[LargeCommunity]]:
    """Standard communities as 32-bit numbers, and large ones."""
    small: list[int] = []
    large: list[LargeCommunity] = []
    for i, value in enumerate(values):
        one = _community(value)
        if one is None:
            how = "write it like 65001:100 (each up to 65535), 4200000001:1:2, or no-export"
            checks.add(f"{key}[{i}]", value, f"is no community; {how}")
        elif one in (*small, *large):
            checks.add(f"{key}[{i}]", value, "is there twice; keep one of them")
        elif isinstance(one, int):
            small.append(one)
        else:
            large.append(one)
    return frozenset(small), frozenset(large)


def _community(text: str) -> int | LargeCommunity | None:
    if text in WELL_KNOWN:
        return WELL_KNOWN[text]
    if not re.fullmatch(r"\d{1,10}(:\d{1,10}){1,2}", text, re.ASCII):
        return None
    parts = [int(part) for part in text.split(":")]
    if len(parts) == 2:
        return parts[0] << 16 | parts[1] if max(parts) < 1 << 16 else None
    return (parts[0], parts[1], parts[2]) if max(parts) < 1 << 32 else None
