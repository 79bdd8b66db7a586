"""The calls and messages by which a gobgpd of version 4 holds policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos.gobgp_v4 import gobgp_pb2 as api
from speaker.gobgp.channel import call, collect
from speaker.gobgp.policytable import GLOBAL, Direction, PolicyTable
from speaker.gobgp.v4_policies import assignment_to_api, is_assigned, policy_to_api, sets_to_api

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protos.gobgp_v4.stub import GobgpStub
    from speaker.gobgp.statements import Program

_SETS = (api.DEFINED_TYPE_PREFIX, api.DEFINED_TYPE_NEIGHBOR, api.DEFINED_TYPE_COMMUNITY)
_DIRECTIONS = {Direction.IMPORT: api.POLICY_DIRECTION_IMPORT, Direction.EXPORT: api.POLICY_DIRECTION_EXPORT}


class PolicyTableV4(PolicyTable[api.DefinedSet]):
    """The policies of one daemon."""

    def __init__(self, stub: GobgpStub) -> None:
        super().__init__()
        self._stub = stub

    async def _is_assigned(self, direction: Direction, name: str) -> bool:
        request = api.ListPolicyAssignmentRequest(name=GLOBAL, direction=_DIRECTIONS[direction])
        listing = await collect(self._stub.list_policy_assignment, request)
        return any(is_assigned(answer.assignment, name) for answer in listing)

    async def _assign(self, direction: Direction, name: str) -> None:
        assignment = assignment_to_api(name, _DIRECTIONS[direction])
        request = api.SetPolicyAssignmentRequest(assignment=assignment)
        await call(self._stub.set_policy_assignment, request)

    async def _names(self) -> set[str]:
        listing = await collect(self._stub.list_policy, api.ListPolicyRequest())
        return {answer.policy.name for answer in listing}

    async def _add_policy(self, program: Program) -> None:
        await call(self._stub.add_policy, api.AddPolicyRequest(policy=policy_to_api(program)))

    async def _delete_policy(self, name: str) -> None:
        request = api.DeletePolicyRequest(policy=api.Policy(name=name), all=True)
        await call(self._stub.delete_policy, request)

    async def _sets(self) -> list[api.DefinedSet]:
        found: list[api.DefinedSet] = []
        for kind in _SETS:
            listing = await collect(self._stub.list_defined_set, api.ListDefinedSetRequest(defined_type=kind))
            found += [answer.defined_set for answer in listing]
        return found

    def _sets_of(self, program: Program) -> Iterable[api.DefinedSet]:
        return sets_to_api(program)

    def _neighbour_set(self, name: str, prefix: str) -> api.DefinedSet:
        return api.DefinedSet(defined_type=api.DEFINED_TYPE_NEIGHBOR, name=name, list=[prefix])

    async def _add_set(self, made: api.DefinedSet) -> None:
        await call(self._stub.add_defined_set, api.AddDefinedSetRequest(defined_set=made))

    async def _delete_set(self, found: api.DefinedSet) -> None:
        which = api.DefinedSet(defined_type=found.defined_type, name=found.name)
        await call(self._stub.delete_defined_set, api.DeleteDefinedSetRequest(defined_set=which, all=True))
