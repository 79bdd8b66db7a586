"""Questions about prefixes that the configuration and the learned routes are both asked."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TYPE_CHECKING

from speaker.bgp import PrefixMatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from speaker.bgp import Address, Prefix


class Hashed4(IPv4Network):
    """An IPv4 prefix that knows its hash and its text: to make them costs more than all else that is done with it."""

    _text = ""  # the error for what is none names it

    def __init__(self, address: str | tuple[bytes | int, int], text: str = "") -> None:
        super().__init__(address)
        self._hash = super().__hash__()
        self._text = text

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        if not self._text:
            self._text = super().__str__()
        return self._text


class Hashed6(IPv6Network):
    """The same for IPv6."""

    _text = ""

    def __init__(self, address: str | tuple[bytes, int]) -> None:
        super().__init__(address)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        if not self._text:
            self._text = super().__str__()
        return self._text


class HashedAddress4(IPv4Address):
    """An address that knows its hash; the usual one makes a text of it each time."""

    __slots__ = ("_hash",)

    def __init__(self, address: bytes) -> None:
        super().__init__(address)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


class HashedAddress6(IPv6Address):
    """The same for IPv6."""

    __slots__ = ("_hash",)

    def __init__(self, address: bytes) -> None:
        super().__init__(address)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def hashed_address(text: str) -> Address:
    """The address of a text; ValueError for one that is none, or that has a zone."""
    version = 6 if ":" in text else 4
    try:
        packed = inet_pton(AF_INET6 if version == 6 else AF_INET, text)
    except (OSError, ValueError):
        raise ValueError(f"{text!r} is no address") from None
    return HashedAddress6(packed) if version == 6 else HashedAddress4(packed)


# Thousands of virtual IPs are looked at again and again.
@lru_cache(maxsize=1 << 16)
def host(address: Address) -> Prefix:
    """The address as a prefix."""
    return Hashed4((address.packed, 32)) if address.version == 4 else Hashed6((address.packed, 128))


def parsed(text: str) -> Prefix:
    """The prefix of a text as daemons write it; ValueError for one that is none."""
    if ":" in text:
        return Hashed6(text)
    address, _, length = text.partition("/")
    try:
        packed = inet_pton(AF_INET, address)
    except (OSError, ValueError):
        return Hashed4(text)
    if length.isdecimal() and f"{inet_ntop(AF_INET, packed)}/{int(length)}" == text:  # written as we would
        return Hashed4((int.from_bytes(packed, "big"), int(length)), text)
    return Hashed4(text)


def inside(prefix: Prefix, nets: Iterable[Prefix]) -> bool:
    """Whether the prefix is one of the nets, or a part of one."""
    size, first, version = prefix.prefixlen, int(prefix.network_address), prefix.version
    return any(
        net.version == version
        and net.prefixlen <= size
        and first >> (net.max_prefixlen - net.prefixlen)
        == int(net.network_address) >> (net.max_prefixlen - net.prefixlen)
        for net in nets
    )


def is_host(prefix: Prefix) -> bool:
    """Whether it is a single address."""
    return prefix.prefixlen == prefix.max_prefixlen


def hosts_in(prefix: Prefix) -> PrefixMatch:
    """Matches the single addresses inside."""
    return PrefixMatch(prefix, prefix.max_prefixlen, prefix.max_prefixlen)


def exactly(prefix: Prefix) -> PrefixMatch:
    """Matches this prefix and nothing inside it."""
    return PrefixMatch(prefix, prefix.prefixlen, prefix.prefixlen)


def everything_in(prefix: Prefix) -> PrefixMatch:
    """Matches this prefix and all inside it."""
    return PrefixMatch(prefix, prefix.prefixlen, prefix.max_prefixlen)


class PrefixSet:
    """Matches as one set. A question costs as many look-ups as the set has lengths, however many its members."""

    def __init__(self, matches: Iterable[PrefixMatch]) -> None:
        self._ranges: dict[int, dict[int, dict[int, list[tuple[int, int]]]]] = {4: {}, 6: {}}
        for match in matches:
            net = match.prefix
            members = self._ranges[net.version].setdefault(net.prefixlen, {})
            shortest = max(match.shortest, net.prefixlen)
            members.setdefault(_bits(net, net.prefixlen), []).append((shortest, match.longest))

    def __contains__(self, prefix: Prefix) -> bool:
        size, bits, number = prefix.prefixlen, prefix.max_prefixlen, int(prefix.network_address)
        for length, members in self._ranges[prefix.version].items():
            if length <= size:
                for shortest, longest in members.get(number >> (bits - length), ()):
                    if shortest <= size <= longest:
                        return True
        return False


class Nets:
    """Prefixes to be asked for those around an address; again, what counts is how many lengths there are."""

    def __init__(self, nets: Iterable[Prefix] = ()) -> None:
        self._lengths: dict[tuple[int, int], dict[int, Prefix]] = {}
        self._order: list[tuple[int, int]] = []
        for net in nets:
            self.add(net)

    def add(self, net: Prefix) -> None:
        """Puts one in."""
        key = net.version, net.prefixlen
        if key not in self._lengths:
            self._lengths[key] = {}
            self._order = sorted(self._lengths, reverse=True)
        self._lengths[key][_bits(net, net.prefixlen)] = net

    def discard(self, net: Prefix) -> None:
        """Takes one out, if it is there."""
        self._lengths.get((net.version, net.prefixlen), {}).pop(_bits(net, net.prefixlen), None)

    def around(self, address: Address) -> Iterator[Prefix]:
        """Those that the address lies in, the longest first."""
        number, bits = int(address), address.max_prefixlen
        for version, length in self._order:
            if version == address.version:
                net = self._lengths[version, length].get(number >> (bits - length))
                if net is not None:
                    yield net


def _bits(prefix: Prefix, length: int) -> int:
    return int(prefix.network_address) >> (prefix.max_prefixlen - length)


# What has no place in a routing table: nobody's, multicast, loopback, link-local, IPv4 as IPv6.
NEVER_ROUTED = (
    *(
        everything_in(IPv4Network(text))
        for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32")
    ),
    *(
        everything_in(IPv6Network(text))
        for text in ("::/128", "::1/128", "::ffff:0:0/96", "fe80::/10", "ff00::/8")
    ),
)
_NEVER_ROUTED = PrefixSet(NEVER_ROUTED)


def never_routed(prefix: Prefix) -> bool:
    """Whether it has no place in a routing table."""
    return prefix in _NEVER_ROUTED


def common(some: Iterable[PrefixMatch], others: Iterable[PrefixMatch]) -> frozenset[PrefixMatch]:
    """What lies in both sets."""
    theirs = list(others)
    pairs = (_both(one, other) for one in some for other in theirs)
    return frozenset(match for match in pairs if match is not None)


def _both(one: PrefixMatch, other: PrefixMatch) -> PrefixMatch | None:
    narrow, wide = (one, other) if one.prefix.prefixlen >= other.prefix.prefixlen else (other, one)
    shortest = max(narrow.shortest, wide.shortest, narrow.prefix.prefixlen)
    longest = min(narrow.longest, wide.longest)
    if shortest > longest or not inside(narrow.prefix, (wide.prefix,)):
        return None
    return PrefixMatch(narrow.prefix, shortest, longest)
