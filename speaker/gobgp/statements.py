"""Policies as gobgpd takes them, in the messages of neither version: named sets, and statements that use them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from speaker.bgp import Family, PrefixMatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from speaker.bgp import Policies, Prefix, Rule

# What the names of our policies, sets and statements begin with: whoever looks with `gobgp policy` sees whose they are.
MARK = "anypod-"
# Part of every digest: raise it when the same policies are put into other statements.
FORMAT = 1
# RFC 6666, discard-only: nobody's address. A set without an element would match every neighbour.
NOBODY = "100::1/128"


@dataclass(frozen=True, slots=True)
class NeighbourSet:
    """Neighbours by address or prefix; `peers` are the names in the rules that they stand for."""

    name: str
    peers: frozenset[str]
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PrefixSet:
    """Prefixes of one family. Of those that contain a path's prefix, the daemon asks the longest one only."""

    name: str
    matches: tuple[PrefixMatch, ...]


@dataclass(frozen=True, slots=True)
class CommunitySet:
    """Standard communities, as expressions that fit the text of one each."""

    name: str
    expressions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """A rule and the sets that it names; "": no such condition."""

    name: str
    rule: Rule
    neighbours: str = ""
    prefixes: str = ""
    communities: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """One policy, whole."""

    name: str
    neighbours: tuple[NeighbourSet, ...]
    prefixes: tuple[PrefixSet, ...]
    communities: tuple[CommunitySet, ...]
    statements: tuple[Statement, ...]


def import_name(policies: Policies) -> str:
    """The name of the import policy: it says by a digest what all of the policies are."""
    return f"{MARK}import-{_digest(policies)}"


def export_name(policies: Policies) -> str:
    """The name of the export policy."""
    return f"{MARK}export-{_digest(policies)}"


def programs(policies: Policies, links: Mapping[str, str]) -> tuple[Program, Program]:
    """The import and the export policy. `links` are the addresses of neighbours that an interface names."""
    members = {name: tuple(found) for name, found in policies.members}
    members |= {name: (*members.get(name, ()), address) for name, address in links.items()}
    return (
        _Builder(import_name(policies), members).program(policies.imports),
        _Builder(export_name(policies), members).program(policies.exports),
    )


class _Builder:
    """Collects the sets of one policy; equal ones are made once."""

    def __init__(self, name: str, members: Mapping[str, tuple[str, ...]]) -> None:
        self._name = name
        self._members = members
        self._neighbours: dict[frozenset[str], NeighbourSet] = {}
        self._prefixes: dict[tuple[PrefixMatch, ...], PrefixSet] = {}
        self._communities: dict[frozenset[int], CommunitySet] = {}

    def program(self, rules: Iterable[Rule]) -> Program:
        statements = [made for number, rule in enumerate(rules) for made in self._statements(number, rule)]
        return Program(
            self._name,
            tuple(self._neighbours.values()),
            tuple(self._prefixes.values()),
            tuple(self._communities.values()),
            tuple(statements),
        )

    def _statements(self, number: int, rule: Rule) -> Iterable[Statement]:
        """None for a rule that fits nothing, one for each family of its prefixes."""
        if rule.peers is not None and not rule.peers:
            return
        whole = Statement(
            f"{self._name}-{number}",
            rule,
            neighbours=self._neighbour_set(rule.peers) if rule.peers else "",
            communities=self._community_set(rule.carries) if rule.carries else "",
        )
        if rule.prefixes is None:
            yield whole
            return
        for family in Family:
            matches = nested(match for match in rule.prefixes if match.prefix.version == family)
            if matches:
                yield replace(whole, name=f"{whole.name}-{family}", prefixes=self._prefix_set(matches))

    def _neighbour_set(self, peers: frozenset[str]) -> str:
        if peers not in self._neighbours:
            found = sorted({as_prefix(member) for peer in peers for member in self._members.get(peer, ())})
            name = f"{self._name}-peers-{len(self._neighbours)}"
            self._neighbours[peers] = NeighbourSet(name, peers, tuple(found) or (NOBODY,))
        return self._neighbours[peers].name

    def _prefix_set(self, matches: tuple[PrefixMatch, ...]) -> str:
        if matches not in self._prefixes:
            name = f"{self._name}-prefixes-{len(self._prefixes)}"
            self._prefixes[matches] = PrefixSet(name, matches)
        return self._prefixes[matches].name

    def _community_set(self, carried: frozenset[int]) -> str:
        if carried not in self._communities:
            name = f"{self._name}-communities-{len(self._communities)}"
            texts = tuple(f"^{community_text(value)}$" for value in sorted(carried))
            self._communities[carried] = CommunitySet(name, texts)
        return self._communities[carried].name


def community_text(value: int) -> str:
    """A standard community as "65001:100"."""
    return f"{value >> 16}:{value & 0xFFFF}"


def as_prefix(member: str) -> str:
    """An address as the prefix of itself, without its zone: the daemon compares addresses without."""
    if "/" in member:
        return member
    address = member.partition("%")[0]
    return f"{address}/{128 if ':' in address else 32}"


def nested(matches: Iterable[PrefixMatch]) -> tuple[PrefixMatch, ...]:
    """The same prefixes, of one family, for who asks only the longest match: inner ones say what outer ones do."""
    lengths: dict[Prefix, set[tuple[int, int]]] = {}
    for match in matches:
        lengths.setdefault(match.prefix, set()).add(
            (max(match.shortest, match.prefix.prefixlen), match.longest)
        )
    around: list[
        tuple[PrefixMatch, set[tuple[int, int]]]
    ] = []  # what contains the present one, outermost first
    made: list[PrefixMatch] = []
    for prefix in sorted(lengths, key=_position):
        while around and not around[-1][0].covers(prefix):
            around.pop()
        outer = around[-1][1] if around else set()
        inherited = {(max(low, prefix.prefixlen), high) for low, high in outer if high >= prefix.prefixlen}
        both = lengths[prefix] | inherited
        around.append((PrefixMatch(prefix, 0, prefix.max_prefixlen), both))
        made += [PrefixMatch(prefix, low, high) for low, high in sorted(both)]
    return tuple(made)


def _position(prefix: Prefix) -> tuple[int, int]:
    return int(prefix.network_address), prefix.prefixlen


def _digest(policies: Policies) -> str:
    return hashlib.sha256(repr((FORMAT, _plain(policies))).encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    """The same text for equal values, in every process: sets have no order of their own."""
    if is_dataclass(value):
        return [_plain(getattr(value, entry.name)) for entry in fields(value)]
    if isinstance(value, frozenset):
        return sorted((_plain(item) for item in value), key=repr)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else str(value)
