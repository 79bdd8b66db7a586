"""Policies as GoBGP 4's messages. Pure: no connection, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos.gobgp_v4 import gobgp_pb2 as api
from speaker.bgp import Source
from speaker.gobgp.policytable import GLOBAL
from speaker.gobgp.statements import community_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.bgp import Rule
    from speaker.gobgp.statements import NeighbourSet, PrefixSet, Program, Statement

_ROUTE_TYPES = {
    Source.ANY: api.Conditions.ROUTE_TYPE_UNSPECIFIED,
    Source.LOCAL: api.Conditions.ROUTE_TYPE_LOCAL,
    Source.INTERNAL: api.Conditions.ROUTE_TYPE_INTERNAL,
    Source.EXTERNAL: api.Conditions.ROUTE_TYPE_EXTERNAL,
}


def sets_to_api(program: Program) -> Iterable[api.DefinedSet]:
    """The sets that the program's statements name."""
    for neighbours in program.neighbours:
        yield _neighbours(neighbours)
    for prefixes in program.prefixes:
        yield _prefixes(prefixes)
    for entry in program.communities:
        yield api.DefinedSet(defined_type=api.DEFINED_TYPE_COMMUNITY, name=entry.name, list=entry.expressions)


def _neighbours(wanted: NeighbourSet) -> api.DefinedSet:
    return api.DefinedSet(
        defined_type=api.DEFINED_TYPE_NEIGHBOR, name=wanted.name, list=list(wanted.prefixes)
    )


def _prefixes(wanted: PrefixSet) -> api.DefinedSet:
    return api.DefinedSet(
        defined_type=api.DEFINED_TYPE_PREFIX,
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
    return api.Statement(
        name=wanted.name,
        conditions=api.Conditions(
            prefix_set=_set(wanted.prefixes),
            neighbor_set=_set(wanted.neighbours),
            community_set=_set(wanted.communities),
            route_type=_ROUTE_TYPES[wanted.rule.source],
        ),
        actions=_actions(wanted.rule),
    )


def _set(name: str) -> api.MatchSet | None:
    return api.MatchSet(type=api.MatchSet.TYPE_ANY, name=name) if name else None


def _actions(rule: Rule) -> api.Actions:
    """What is prepended is the AS that BGP put in front: the daemon's, or the one of the session's local AS."""
    return api.Actions(
        route_action=api.ROUTE_ACTION_ACCEPT if rule.accept else api.ROUTE_ACTION_REJECT,
        community=_added(map(community_text, sorted(rule.communities))),
        large_community=_added(":".join(map(str, value)) for value in sorted(rule.large_communities)),
        med=None if rule.med is None else api.MedAction(type=api.MedAction.TYPE_REPLACE, value=rule.med),
        local_pref=None if rule.local_pref is None else api.LocalPrefAction(value=rule.local_pref),
        as_prepend=api.AsPrependAction(repeat=rule.prepend, use_left_most=True) if rule.prepend else None,
    )


def _added(texts: Iterable[str]) -> api.CommunityAction | None:
    found = list(texts)
    return api.CommunityAction(type=api.CommunityAction.TYPE_ADD, communities=found) if found else None


def assignment_to_api(name: str, direction: api.PolicyDirection) -> api.PolicyAssignment:
    """One policy for all peers, in place of those before; what it does not decide is rejected."""
    return api.PolicyAssignment(
        name=GLOBAL,
        direction=direction,
        policies=[api.Policy(name=name)],
        default_action=api.ROUTE_ACTION_REJECT,
    )


def is_assigned(found: api.PolicyAssignment, name: str) -> bool:
    """Whether this policy alone decides, and rejects what it does not name."""
    names = [policy.name for policy in found.policies]
    return names == [name] and found.default_action == api.ROUTE_ACTION_REJECT
