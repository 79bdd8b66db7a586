"""Which peers were told paths that they must not have any more. Pure.

A policy that becomes narrower takes nothing back by itself; only the end of a session does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from speaker.bgp import Source

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from speaker.bgp import Destination, LocalPath, PeerStatus, Policies, Prefix, Rule

    # Prefix, where the path came from, and whether it carries each community that rules ask for.
    Path = tuple[Prefix, Source, bool]


def narrowed(
    before: Policies | None, after: Policies, peers: Iterable[str], table: Collection[Destination]
) -> frozenset[str]:
    """Those of the peers that were told a path of this table and would not be told it now.

    `peers` are keys of peers or names of dynamic ones. `before` None: nobody knows what they were told.
    """
    if before is None:
        return frozenset(peers)
    paths = [path for entry in table for path in _paths(entry)]
    return frozenset(
        peer for peer in peers if _hears_less(_rules_for(peer, before), _rules_for(peer, after), paths)
    )


def _paths(entry: Destination) -> Iterator[Path]:
    """What could have been told of a prefix. Its communities are not known: it may have those that a rule names."""
    if entry.ours is not None or entry.foreign:
        source = Source.LOCAL
    elif entry.learned:
        source = Source.EXTERNAL if entry.learned[0].external else Source.INTERNAL
    else:
        return
    yield entry.prefix, source, False
    yield entry.prefix, source, True


def _rules_for(peer: str, policies: Policies) -> list[Rule]:
    return [rule for rule in policies.exports if rule.peers is None or peer in rule.peers]


def _hears_less(before: list[Rule], after: list[Rule], paths: Collection[Path]) -> bool:
    if [_condition(rule) for rule in before] == [_condition(rule) for rule in after]:
        return False
    return any(_tells(before, *path) and not _tells(after, *path) for path in paths)


def _condition(rule: Rule) -> tuple[object, ...]:
    return rule.accept, rule.prefixes, rule.source, rule.carries


def _tells(rules: list[Rule], prefix: Prefix, source: Source, carries: bool) -> bool:
    for rule in rules:
        if rule.source not in {Source.ANY, source} or (rule.carries and not carries):
            continue
        if rule.prefixes is None or any(match.covers(prefix) for match in rule.prefixes):
            return rule.accept
    return False


class Audience:
    """Who may hear of our paths. Peers that the same rules are about are judged once, however many they are."""

    def __init__(self, policies: Policies, peers: Iterable[PeerStatus]) -> None:
        self._alike: dict[tuple[object, ...], tuple[list[Rule], set[int], list[PeerStatus]]] = {}
        by_name: dict[str, list[Rule]] = {}
        common = [rule for rule in policies.exports if rule.peers is None]
        named = {name for rule in policies.exports for name in rule.peers or ()}
        for status in peers:
            name = status.group or status.peer.key
            if name not in by_name:
                by_name[name] = _rules_for(name, policies) if name in named else common
            rules, versions = by_name[name], _versions(status)
            key = (*map(_condition, rules), *sorted(versions))
            self._alike.setdefault(key, (rules, versions, []))[2].append(status)

    def speaking(self, version: int) -> list[PeerStatus]:
        """Those whose sessions carry an IP version."""
        return [
            status for _, versions, alike in self._alike.values() if version in versions for status in alike
        ]

    def of(self, path: LocalPath) -> list[PeerStatus]:
        """Those that the policies let hear of a path, whether their session is there or not."""
        return [
            status
            for rules, versions, alike in self._alike.values()
            if path.prefix.version in versions and _tells_ours(rules, path)
            for status in alike
        ]


def _versions(status: PeerStatus) -> set[int]:
    """IP versions that a session carries; both where none is said."""
    return {int(one) for one in status.peer.options.families} or {4, 6}


def _tells_ours(rules: list[Rule], path: LocalPath) -> bool:
    for rule in rules:
        if rule.source not in {Source.ANY, Source.LOCAL}:
            continue
        if rule.carries and not rule.carries & path.attributes.communities:
            continue
        if rule.prefixes is None or any(match.covers(path.prefix) for match in rule.prefixes):
            return rule.accept
    return False
