"""When the kernel's routes are read and compared: with each pass of the loop, and when somebody else changed them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from speaker import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from speaker.bgp import LocalPath, Prefix
    from speaker.kernel.fib import Fib
    from speaker.kernel.routes import Routes
    from speaker.kernel.stale import Told
    from speaker.table import Table

# Seconds. Two readings are at least so far apart, and five times as far as one takes.
PAUSE = 0.2
RETRY = 5.0


class Upkeep:
    """`due` is when the kernel is read next, on the loop's clock; None: when it tells of a change."""

    def __init__(self, fib: Fib, routes: Routes) -> None:
        self._fib = fib
        self._routes = routes
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._pause_ends = 0.0
        self._of: tuple[object, ...] = ()  # what the routes were last made from
        self._looked = -1  # so many changes of the table have been looked at
        self.due: float | None = None

    async def run(self, compare: Callable[[], None]) -> None:
        """Follows the kernel until it is cancelled.

        Beside the loop's passes: what somebody took out is back at once, also while a pass waits for gobgpd.
        """
        self._loop.add_reader(self._fib.fileno(), self._on_kernel)
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await asyncio.sleep(self._pause_ends - self._loop.time())
                if self.due is not None:
                    compare()
        finally:
            self._loop.remove_reader(self._fib.fileno())

    def _on_kernel(self) -> None:
        if self._fib.changed():
            self.due = self._loop.time()
            self._news.set()

    def compare(
        self,
        told: Told,
        table: Table,
        wanted: frozenset[LocalPath],
        fallbacks: frozenset[Prefix] = frozenset(),
    ) -> None:
        """Reads the kernel if that is due, and writes what differs."""
        now = self._loop.time()
        stale = len(self._routes.stale.routes)
        settled = self._routes.stale.settle(told, now)
        if settled and stale:
            log.info("stale routes given up", count=stale)
        of = told, table.changes, wanted, fallbacks, len(self._routes.stale.routes)
        if of == self._of and self.due is None and not settled and not self._routes.stale.routes:
            return  # all is as it was when the last difference was written
        self._of = of
        try:
            if self.due is not None and self.due <= now:
                self.due = None
                self._routes.reread()
                read = self._loop.time()
                self._pause_ends = read + max(PAUSE, 5 * (read - now))
            looked, self._looked = self._looked, table.changes
            self._routes.sync(table, {path.prefix for path in wanted}, fallbacks, table.since(looked))
        except OSError as error:
            log.error("kernel routes not read or written", reason=error, retry_seconds=int(RETRY))
            self.due = now + RETRY
