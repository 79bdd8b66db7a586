"""The policies that are in force in a gobgpd of version 4, and how others come into force."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from protos.gobgp_v4 import gobgp_pb2 as api
from speaker.gobgp.channel import call, collect
from speaker.gobgp.session import DaemonRefusedError
from speaker.gobgp.statements import MARK, as_prefix, export_name, import_name, programs
from speaker.gobgp.v4_policies import GLOBAL, assignment_to_api, is_assigned, policy_to_api, sets_to_api

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protos.gobgp_v4.stub import GobgpStub
    from speaker.bgp import Policies
    from speaker.gobgp.statements import Program

_SETS = (api.DEFINED_TYPE_PREFIX, api.DEFINED_TYPE_NEIGHBOR, api.DEFINED_TYPE_COMMUNITY)
_IMPORT, _EXPORT = api.POLICY_DIRECTION_IMPORT, api.POLICY_DIRECTION_EXPORT


class PolicyTable:
    """Never changes a set or a policy that exists: new ones get new names, are assigned, and the old ones go."""

    def __init__(self, stub: GobgpStub) -> None:
        self._stub = stub
        self._in_force: Policies | None = None

    async def holds(self, wanted: Policies) -> bool:
        """Whether exactly these are in force."""
        names = ((_IMPORT, import_name(wanted)), (_EXPORT, export_name(wanted)))
        held = all([await self._is_assigned(direction, name) for direction, name in names])
        self._in_force = wanted if held else None
        return held

    async def _is_assigned(self, direction: api.PolicyDirection, name: str) -> bool:
        request = api.ListPolicyAssignmentRequest(name=GLOBAL, direction=direction)
        listing = await collect(self._stub.list_policy_assignment, request)
        return any(is_assigned(answer.assignment, name) for answer in listing)

    async def put(self, wanted: Policies, links: Mapping[str, str]) -> None:
        """Defines and assigns them. `links` are the addresses of those peers that an interface names."""
        made = await self._names()
        for direction, program in zip((_IMPORT, _EXPORT), programs(wanted, links), strict=True):
            if program.name not in made:
                await self._define(program)
            request = api.SetPolicyAssignmentRequest(assignment=assignment_to_api(program.name, direction))
            await call(self._stub.set_policy_assignment, request)
        self._in_force = wanted

    async def _names(self) -> set[str]:
        listing = await collect(self._stub.list_policy, api.ListPolicyRequest())
        return {answer.policy.name for answer in listing}

    async def _define(self, program: Program) -> None:
        """Sets first: a policy is added whole or not at all. Sets of an attempt that was cut off are in no use."""
        left = {found.name for found in await self._sets()}
        for made in sets_to_api(program):
            if made.name in left:
                await self._delete_set(made)
            await call(self._stub.add_defined_set, api.AddDefinedSetRequest(defined_set=made))
        await call(self._stub.add_policy, api.AddPolicyRequest(policy=policy_to_api(program)))

    async def _sets(self) -> list[api.DefinedSet]:
        found: list[api.DefinedSet] = []
        for kind in _SETS:
            listing = await collect(self._stub.list_defined_set, api.ListDefinedSetRequest(defined_type=kind))
            found += [answer.defined_set for answer in listing]
        return found

    async def _delete_set(self, found: api.DefinedSet) -> None:
        which = api.DefinedSet(defined_type=found.defined_type, name=found.name)
        await call(self._stub.delete_defined_set, api.DeleteDefinedSetRequest(defined_set=which, all=True))

    async def clean(self, wanted: Policies) -> None:
        """Removes policies and sets of ours that are no longer in force; what somebody else uses stays."""
        kept = (import_name(wanted), export_name(wanted))
        for name in sorted(await self._names()):
            if name.startswith(MARK) and name not in kept:
                request = api.DeletePolicyRequest(policy=api.Policy(name=name), all=True)
                with suppress(DaemonRefusedError):
                    await call(self._stub.delete_policy, request)
        for found in await self._sets():
            if found.name.startswith(MARK) and not found.name.startswith(kept):
                with suppress(DaemonRefusedError):
                    await self._delete_set(found)

    async def join(self, interface: str, address: str) -> None:
        """Lets the rules for an interface peer fit the address that it was found at."""
        if self._in_force is None:
            return
        for program in programs(self._in_force, {}):
            for entry in program.neighbours:
                if interface in entry.peers:
                    more = api.DefinedSet(
                        defined_type=api.DEFINED_TYPE_NEIGHBOR, name=entry.name, list=[as_prefix(address)]
                    )
                    await call(self._stub.add_defined_set, api.AddDefinedSetRequest(defined_set=more))
