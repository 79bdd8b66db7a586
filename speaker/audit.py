"""The daemon's whole table compared with what its events told of it, while the loop goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from speaker.gobgp.session import DaemonLostError, DaemonRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from speaker.bgp import Destination, Prefix
    from speaker.gobgp.session import Session

# Entries that are compared in one go.
PIECE = 1000
# Of a long table's listing, no more than this part of the time.
SHARE = 0.03


class Audit:
    """`differ` gets prefixes to look at again; `lost` hears that a session is worth nothing any more."""

    def __init__(
        self,
        table: Callable[[], Mapping[Prefix, Destination]],
        differ: Callable[[Collection[Prefix]], None],
        lost: Callable[[Session, str], None],
    ) -> None:
        self._table = table
        self._differ = differ
        self._lost = lost
        self._due = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._not_before = 0.0
        self._session: Session | None = None

    def begin(self, session: Session) -> None:
        """Reads this daemon's table, unless that was done so long and so shortly ago that it is for the next time."""
        if self._loop.time() < self._not_before:
            return
        self._session = session
        self._due.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            session, self._session = self._session, None
            if session is None:
                continue
            began = self._loop.time()
            try:
                found = await session.table()
            except DaemonLostError as error:
                self._lost(session, str(error))
            except DaemonRefusedError:
                pass  # a pass hears that, too, and tells
            else:
                await self._compare(found)
            now = self._loop.time()
            self._not_before = now + (now - began) / SHARE

    async def _compare(self, found: Sequence[Destination]) -> None:
        """What changed meanwhile is looked at once too often."""
        listed: set[Prefix] = set()
        for start in range(0, len(found), PIECE):
            table, piece = self._table(), found[start : start + PIECE]
            listed.update(entry.prefix for entry in piece)
            self._differ([entry.prefix for entry in piece if table.get(entry.prefix) != entry])
            await asyncio.sleep(0)
        self._differ([prefix for prefix in self._table() if prefix not in listed])
