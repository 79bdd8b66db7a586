"""How policies come into force in any version of gobgpd, and how those of before go. No messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from speaker.gobgp.session import DaemonRefusedError
from speaker.gobgp.statements import MARK, as_prefix, export_name, import_name, programs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from speaker.bgp import Policies
    from speaker.gobgp.statements import Program

# The table that all ordinary peers share. Policies of single peers work only for clients of a route server.
GLOBAL = "global"


class Direction(Enum):
    """Which paths a policy judges."""

    IMPORT = "import"
    EXPORT = "export"


class DefinedSet(Protocol):
    """What a version's message for a set of prefixes, neighbours or communities has."""

    name: str


SetT = TypeVar("SetT", bound=DefinedSet)


class PolicyTable(ABC, Generic[SetT]):
    """Never changes a set or a policy that exists: new ones get new names, are assigned, and the old ones go."""

    def __init__(self) -> None:
        self._in_force: Policies | None = None

    async def holds(self, wanted: Policies) -> bool:
        """Whether exactly these are in force."""
        names = ((Direction.IMPORT, import_name(wanted)), (Direction.EXPORT, export_name(wanted)))
        held = all([await self._is_assigned(direction, name) for direction, name in names])
        self._in_force = wanted if held else None
        return held

    async def put(self, wanted: Policies, links: Mapping[str, str]) -> None:
        """Defines and assigns them. `links` are the addresses of those peers that an interface names."""
        made = await self._names()
        for direction, program in zip(Direction, programs(wanted, links), strict=True):
            if program.name not in made:
                await self._define(program)
            await self._assign(direction, program.name)
        self._in_force = wanted

    async def _define(self, program: Program) -> None:
        """Sets first: a policy is added whole or not at all. Sets of an attempt that was cut off are in no use."""
        left = {found.name for found in await self._sets()}
        for made in self._sets_of(program):
            if made.name in left:
                await self._delete_set(made)
            await self._add_set(made)
        await self._add_policy(program)

    async def clean(self, wanted: Policies) -> None:
        """Removes policies and sets of ours that are no longer in force; what somebody else uses stays."""
        kept = (import_name(wanted), export_name(wanted))
        for name in sorted(await self._names()):
            if name.startswith(MARK) and name not in kept:
                with suppress(DaemonRefusedError):
                    await self._delete_policy(name)
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
                    await self._add_set(self._neighbour_set(entry.name, as_prefix(address)))

    # ---- one call or message each, of the version

    @abstractmethod
    async def _is_assigned(self, direction: Direction, name: str) -> bool:
        """Whether this policy and no other is in force, and what it does not accept is rejected."""

    @abstractmethod
    async def _assign(self, direction: Direction, name: str) -> None: ...

    @abstractmethod
    async def _names(self) -> set[str]:
        """Of all policies that there are."""

    @abstractmethod
    async def _add_policy(self, program: Program) -> None: ...

    @abstractmethod
    async def _delete_policy(self, name: str) -> None: ...

    @abstractmethod
    async def _sets(self) -> list[SetT]: ...

    @abstractmethod
    def _sets_of(self, program: Program) -> Iterable[SetT]: ...

    @abstractmethod
    def _neighbour_set(self, name: str, prefix: str) -> SetT: ...

    @abstractmethod
    async def _add_set(self, made: SetT) -> None:
        """Defines it; one that exists gets these members besides."""

    @abstractmethod
    async def _delete_set(self, found: SetT) -> None: ...
