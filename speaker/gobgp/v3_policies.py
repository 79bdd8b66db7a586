"""Policies in GoBGP 3's messages. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos.gobgp_v3 import gobgp_pb2 as api
from speaker.bgp import Source
from speaker.gobgp.policytable import GLOBAL
from speaker.gobgp.statements import community_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from speaker.bgp import Rule
    from speaker.gobgp.statements import NeighbourSet, PrefixSet, Program, Statement

_ROUTE_TYPES = {
    Source.ANY: api.Conditions.ROUTE_TYPE_NONE,
    Source.LOCAL: api.Conditions.ROUTE_TYPE_LOCAL,
    Source.INTERNAL: api.Conditions.ROUTE_TYPE_INTERNAL,
    Source.EXTERNAL: api.Conditions.ROUTE_TYPE_EXTERNAL,
}


def sets_to_api(program: Program) -> Iterator[api.DefinedSet]:
    """The sets that the policy's statements name."""
    yield from map(neighbours_to_api, program.neighbours)
    yield from map(prefixes_to_api, program.prefixes)
    for entry in program.communities:
        yield api.DefinedSet(defined_type=api.COMMUNITY, name=entry.name, list=entry.expressions)


def neighbours_to_api(wanted: NeighbourSet) -> api.DefinedSet:
    """A set of neighbours."""
    return api.DefinedSet(defined_type=api.NEIGHBOR, name=wanted.name, list=wanted.prefixes)


def prefixes_to_api(wanted: PrefixSet) -> api.DefinedSet:
    """A set of prefixes with the lengths that each stands for."""
    return api.DefinedSet(
        defined_type=api.PREFIX,
        name=wanted.name,
        prefixes=[
            api.Prefix(
                ip_prefix=str(match.prefix), mask_length_min=match.shortest, mask_length_max=match.longest
            )
            for match in wanted.matches
        ],
    )


def policy_to_api(program: Program) -> api.Policy:
    """The policy with its statements in order."""
    return api.Policy(name=program.name, statements=map(_statement, program.statements))


def _statement(wanted: Statement) -> api.Statement:
    rule = wanted.rule
    return api.Statement(
        name=wanted.name,
        conditions=api.Conditions(
            prefix_set=_set(wanted.prefixes),
            neighbor_set=_set(wanted.neighbours),
            community_set=_set(wanted.communities),
            route_type=_ROUTE_TYPES[rule.source],
        ),
        actions=_actions(rule),
    )


def _set(name: str) -> api.MatchSet | None:
    return api.MatchSet(type=api.MatchSet.ANY, name=name) if name else None


def _actions(rule: Rule) -> api.Actions:
    """What is prepended is the AS that BGP put in front: the daemon's, or the one of the session's local AS."""
    return api.Actions(
        route_action=api.ACCEPT if rule.accept else api.REJECT,
        community=_community(map(community_text, sorted(rule.communities))),
        large_community=_community(":".join(map(str, value)) for value in sorted(rule.large_communities)),
        med=None if rule.med is None else api.MedAction(type=api.MedAction.REPLACE, value=rule.med),
        local_pref=None if rule.local_pref is None else api.LocalPrefAction(value=rule.local_pref),
        as_prepend=api.AsPrependAction(repeat=rule.prepend, use_left_most=True) if rule.prepend else None,
    )


def _community(texts: Iterable[str]) -> api.CommunityAction | None:
    found = list(texts)
    return api.CommunityAction(type=api.CommunityAction.ADD, communities=found) if found else None


def assignment_to_api(name: str, direction: api.PolicyDirection) -> api.PolicyAssignment:
    """One policy for all peers, in place of those before; what it does not decide is rejected."""
    policies = [api.Policy(name=name)]
    return api.PolicyAssignment(
        name=GLOBAL, direction=direction, policies=policies, default_action=api.REJECT
    )


def is_assigned(found: api.PolicyAssignment, name: str) -> bool:
    """Whether this policy alone decides, and rejects what it does not name."""
    return [policy.name for policy in found.policies] == [name] and found.default_action == api.REJECT
