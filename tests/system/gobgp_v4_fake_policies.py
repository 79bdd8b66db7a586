"""How a fake gobgpd 4 answers the calls about policies: taken from GoBGP 4.8's policy.go and server.go."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from protos.gobgp_v4 import gobgp_pb2 as api
from tests.system.gobgp_v4_fake import RefusalError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.system.gobgp_v4_fake import FakeDaemon, Tables


COMMUNITY = api.DEFINED_TYPE_COMMUNITY
WORDS: dict[int, str] = {
    api.DEFINED_TYPE_PREFIX: "prefix",
    api.DEFINED_TYPE_NEIGHBOR: "neighbor",
    COMMUNITY: "community",
}


class FakePolicies:
    """The calls about policies."""

    def __init__(self, daemon: FakeDaemon) -> None:
        self._daemon = daemon

    @property
    def _tables(self) -> Tables:
        return self._daemon.tables

    def add_set(self, wanted: api.DefinedSet) -> None:
        """A name that is there already gets the new elements besides its own."""
        if len({ip_network(one.ip_prefix).version for one in wanted.prefixes}) > 1:
            raise RefusalError("multiple families")
        key = (_known(wanted), wanted.name)
        before = self._tables.sets.get(key)
        if before is None:
            self._tables.sets[key] = wanted
        else:
            before.list.extend(wanted.list)
            before.prefixes.extend(wanted.prefixes)

    def delete_set(self, wanted: api.DefinedSet, whole: bool) -> None:
        key = (_known(wanted), wanted.name)
        if key not in self._tables.sets:
            raise RefusalError(f"not found defined-set: {wanted.name}")
        if not whole:
            raise RefusalError("the fake takes no elements out of sets")
        statements = [one for policy in self._tables.policies.values() for one in policy.statements]
        if any(key == named for one in statements for named, _ in _named(one.conditions)):
            raise RefusalError(f"can't delete. defined-set {wanted.name} is in use")
        del self._tables.sets[key]

    def sets(self, kind: int) -> list[api.DefinedSet]:
        if kind == api.DEFINED_TYPE_UNSPECIFIED:
            raise invalid("unspecified defined type")
        return [found for (known, _), found in self._tables.sets.items() if known == kind]

    def add_policy(self, wanted: api.Policy) -> None:
        """A policy that is there already gets the new statements besides its own."""
        for statement in wanted.statements:
            self._check(statement.conditions)
            if statement.HasField("actions"):
                _check_actions(statement.actions)
        names = {one.name for policy in self._tables.policies.values() for one in policy.statements}
        for statement in wanted.statements:
            if statement.name in names:
                raise RefusalError(f"statement {statement.name} already defined")
        self._tables.policies.setdefault(wanted.name, api.Policy(name=wanted.name)).MergeFrom(wanted)

    def _check(self, conditions: api.Conditions) -> None:
        for key, match in _named(conditions):
            allowed = {api.MatchSet.TYPE_ANY, api.MatchSet.TYPE_INVERT}
            if match.type not in allowed | ({api.MatchSet.TYPE_ALL} if key[0] == COMMUNITY else set()):
                raise invalid(f"invalid match type {match.type}")
            if key not in self._tables.sets:
                raise RefusalError(f"not found {WORDS[key[0]]} set {match.name}")

    def delete_policy(self, name: str) -> None:
        if name not in self._tables.policies:
            raise RefusalError(f"not found policy: {name}")
        export = self._tables.assignments.get(api.POLICY_DIRECTION_EXPORT)
        # The real daemon looks at the export direction twice, and never at the other.
        if export is not None and name in {policy.name for policy in export.policies}:
            raise RefusalError(f"can't delete. policy {name} is in use")
        del self._tables.policies[name]

    def assign(self, wanted: api.PolicyAssignment) -> None:
        if wanted.direction not in {api.POLICY_DIRECTION_IMPORT, api.POLICY_DIRECTION_EXPORT}:
            raise RefusalError("invalid policy type")
        for policy in wanted.policies:
            if policy.name not in self._tables.policies:
                raise RefusalError(f"not found policy {policy.name}")
        before = self._tables.assignments.get(wanted.direction)
        if wanted.default_action == api.ROUTE_ACTION_UNSPECIFIED and before is not None:
            wanted.default_action = before.default_action
        self._tables.assignments[wanted.direction] = wanted

    def assigned(self, direction: int) -> Iterable[api.PolicyAssignment]:
        nothing = api.PolicyAssignment(name="global", default_action=api.ROUTE_ACTION_ACCEPT)
        for one in (api.POLICY_DIRECTION_EXPORT, api.POLICY_DIRECTION_IMPORT):
            if direction in {api.POLICY_DIRECTION_UNSPECIFIED, one}:
                yield self._tables.assignments.get(one, nothing)


def _named(conditions: api.Conditions) -> Iterable[tuple[tuple[int, str], api.MatchSet]]:
    """The sets that a statement needs, as they are found in the tables."""
    if conditions.HasField("prefix_set"):
        yield (api.DEFINED_TYPE_PREFIX, conditions.prefix_set.name), conditions.prefix_set
    if conditions.HasField("neighbor_set"):
        yield (api.DEFINED_TYPE_NEIGHBOR, conditions.neighbor_set.name), conditions.neighbor_set
    if conditions.HasField("community_set"):
        yield (COMMUNITY, conditions.community_set.name), conditions.community_set


def _known(wanted: api.DefinedSet) -> int:
    if not wanted.name:
        raise RefusalError("empty neighbor set name")
    if wanted.defined_type == api.DEFINED_TYPE_UNSPECIFIED:
        raise invalid("unknown defined set type: DEFINED_TYPE_UNSPECIFIED")
    return wanted.defined_type


def _check_actions(actions: api.Actions) -> None:
    named: Sequence[tuple[str, api.CommunityAction]] = (
        ("community", actions.community),
        ("large_community", actions.large_community),
    )
    for name, action in named:
        if actions.HasField(name) and not action.type:
            raise invalid("unspecified community action type")
