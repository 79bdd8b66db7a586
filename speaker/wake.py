"""What ends the loop's sleep, at once what gobgpd is to be told, later what it tells; and what is due then."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speaker.bgp import Prefix

# Seconds. What gobgpd tells of one cause comes in a bunch.
GATHER = 0.02


class Wake:
    """Set from callbacks, waited for by one task."""

    def __init__(self) -> None:
        self._some = asyncio.Event()
        self._urgent = asyncio.Event()

    def set(self) -> None:
        """There is something to look at."""
        self._some.set()

    def now(self) -> None:
        """There is something that peers should hear, or hear no longer."""
        self._urgent.set()
        self._some.set()

    async def wait(self, until: float, longer: float = 0.0) -> None:
        """Until something was set, or until this time on the loop's clock; what comes meanwhile is taken along."""
        try:
            async with asyncio.timeout_at(until):
                await self._some.wait()
            async with asyncio.timeout(max(GATHER, longer)):
                await self._urgent.wait()
        except TimeoutError:
            pass
        self._some.clear()
        self._urgent.clear()


@dataclass(slots=True)
class Work:
    """What to look at in the next pass."""

    everything: bool = False
    check: bool = False  # all but what gobgpd's table holds
    peers: bool = False
    prefixes: set[Prefix] = field(default_factory=set)
