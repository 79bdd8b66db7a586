"""Which peers were told paths that they must not have any more. Pure.

A policy that becomes narrower takes nothing back by itself; only the end of a session does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from speaker.bgp import Source

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from speaker.bgp import Destination, LocalPath, Policies, Prefix, Rule

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


def tells(policies: Policies, peer: str, path: LocalPath) -> bool:
    """Whether the policies let a peer, by its key or its group's name, hear of a path of ours."""
    for rule in _rules_for(peer, policies):
        if rule.source not in {Source.ANY, Source.LOCAL}:
            continue
        if rule.carries and not rule.carries & path.attributes.communities:
            continue
        if rule.prefixes is None or any(match.covers(path.prefix) for match in rule.prefixes):
            return rule.accept
    return False
