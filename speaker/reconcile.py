"""The loop: whatever happens only wakes it; then it compares what should be with what is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from speaker import log
from speaker.daemon import Daemon, WrongDaemonError
from speaker.desired import local_paths
from speaker.gobgp.session import DaemonLostError, DaemonRefusedError
from speaker.report import Standing
from speaker.routes import Routes
from speaker.stale import all_established

if TYPE_CHECKING:
    from collections.abc import Callable

    from speaker.config import Config
    from speaker.fib import Fib
    from speaker.gobgp.session import Event, Prefix, Session
    from speaker.report import Report
    from speaker.statefile import PodAddresses

# Seconds.
GATHER = 0.02  # events of one cause come in a bunch
STATE_POLL = 0.1
RECONNECT = 0.25
RETRY = 5.0  # after a refusal, which a person has to end
KERNEL_PAUSE = 1.0  # at least between two readings of the kernel's tables


@dataclass(slots=True)
class Work:
    """What to look at in the next pass."""

    everything: bool = False
    peers: bool = False
    prefixes: set[Prefix] = field(default_factory=set)


class Speaker:
    """One node's speaker. `run` returns after `stop`, and leaves paths and routes as they are."""

    def __init__(
        self, config: Config, session: Session, fib: Fib, pods: PodAddresses, report: Report
    ) -> None:
        self._config = config
        self._session = session
        self._fib = fib
        self._pods = pods
        self._report = report
        self._daemon = Daemon(config, session)
        self._routes = Routes(config, fib)
        self._work = Work()
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._connected = False
        self._in_step = False  # the last pass over the daemon went through
        self._trouble = ""
        self._subscription: asyncio.Timeout | None = None
        self._loop = asyncio.get_running_loop()
        self._resync_at = 0.0
        self._retry_at: float | None = None
        self._kernel_at: float | None = None
        self._kernel_read = 0.0

    def stop(self) -> None:
        """Ends `run`, also in the middle of a pass: the next start finishes what was begun."""
        self._stop.set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Works until `stop`. `ready` is called after the first pass."""
        now = self._loop.time()
        self._routes.adopt(now)
        self._kernel_read = now
        self._resync_at = now + self._config.resync
        self._pods.poll()
        self._loop.add_reader(self._fib.fileno(), self._on_kernel)
        work = (self._stop.wait(), self._passes(ready), self._follow_daemon(), self._follow_state())
        tasks = [asyncio.ensure_future(one) for one in work]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._loop.remove_reader(self._fib.fileno())
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await self._session.close()
            self._report.withdraw()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _passes(self, ready: Callable[[], None]) -> None:
        await self._pass()
        ready()
        while True:
            await self._sleep()
            await self._pass()

    # ---- what wakes the loop

    async def _sleep(self) -> None:
        complete = self._in_step and all_established(self._config.peers, self._daemon.peers)
        times = [self._resync_at, self._retry_at, self._kernel_at, self._routes.stale.next_check(complete)]
        until = min(time for time in times if time is not None)
        try:
            async with asyncio.timeout_at(until):
                await self._wake.wait()
            await asyncio.sleep(GATHER)
        except TimeoutError:
            pass
        self._wake.clear()

    async def _follow_daemon(self) -> None:
        """Subscribes, again and again: the end of a subscription is how a restart is noticed."""
        while True:
            try:
                async with asyncio.timeout(None) as self._subscription:
                    async for event in self._session.watch():
                        self._on_event(event)
            except (DaemonLostError, DaemonRefusedError) as error:
                self._lost(str(error))
            except TimeoutError:
                pass  # _lost has been called by who set the time
            await asyncio.sleep(RECONNECT)

    def _on_event(self, event: Event) -> None:
        log.debug("told by gobgpd", prefixes=len(event.prefixes), peers=event.peers)
        if event.subscribed:
            log.info("gobgpd connected", api=self._config.api)
            self._connected = True
            self._trouble = ""
            self._work.everything = True
        self._work.peers |= event.peers
        self._work.prefixes |= event.prefixes
        self._routes.stale.news(self._loop.time())
        self._wake.set()

    def _lost(self, reason: str) -> None:
        if self._connected:
            log.warning("gobgpd lost", reason=reason, kept="learned routes")
            self._routes.lost(self._loop.time())
        elif not self._trouble:
            log.warning("gobgpd not reachable", api=self._config.api, reason=reason)
        self._trouble = reason
        self._connected = self._in_step = False
        self._retry_at = None
        self._daemon.forget()
        self._wake.set()

    async def _follow_state(self) -> None:
        while True:
            if self._pods.poll():
                self._wake.set()
            await asyncio.sleep(STATE_POLL)

    def _on_kernel(self) -> None:
        if self._fib.changed() and self._kernel_at is None:
            self._kernel_at = max(self._loop.time(), self._kernel_read + KERNEL_PAUSE)
            self._wake.set()

    # ---- one pass

    async def _pass(self) -> None:
        now = self._loop.time()
        if now >= self._resync_at:
            self._resync_at = now + self._config.resync
            self._work.everything = True
            self._kernel_at = now
            self._pods.poll(force=True)
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self._work.everything = True
        if self._connected and self._retry_at is None:
            await self._daemon_pass()
        self._kernel_pass()
        self._report.tell(self._standing())

    def _standing(self) -> Standing:
        wanted = {peer.address for peer in self._config.peers}
        up = {status.peer.address for status in self._daemon.peers if status.established}
        return Standing(len(wanted), len(wanted & up), self._in_step and self._routes.complete)

    async def _daemon_pass(self) -> None:
        work, self._work = self._work, Work()
        wanted = local_paths(self._config.announce, self._pods.current)
        self._daemon.withdraws = self._pods.known
        try:
            if work.everything:
                await self._daemon.restore(wanted)
            else:
                await self._daemon.reread(work.prefixes)
                await self._daemon.close_paths(wanted)
                if work.peers:
                    await self._daemon.read_peers()
        except DaemonLostError as error:
            self._lost(str(error))
            if self._subscription is not None:
                self._subscription.reschedule(self._loop.time())
        except (DaemonRefusedError, WrongDaemonError) as error:
            if str(error) != self._trouble:
                log.error("gobgpd not as configured", reason=error, retry_seconds=int(RETRY))
            self._trouble = str(error)
            self._in_step = False
            self._retry_at = self._loop.time() + RETRY
        else:
            if self._trouble:
                log.info("gobgpd as configured again")
            self._trouble = ""
            self._in_step = True

    def _kernel_pass(self) -> None:
        now = self._loop.time()
        complete = self._in_step and all_established(self._config.peers, self._daemon.peers)
        stale = len(self._routes.stale.routes)
        if self._routes.stale.settle(complete, now) and stale:
            log.info("stale routes given up", count=stale)
        try:
            if self._kernel_at is not None and now >= self._kernel_at:
                self._kernel_at = None
                self._kernel_read = now
                self._routes.reread()
            announced = {path.prefix for path in local_paths(self._config.announce, self._pods.current)}
            self._routes.sync(self._daemon.table, announced)
        except OSError as error:
            log.error("kernel routes not read or written", reason=error, retry_seconds=int(RETRY))
            self._kernel_at = now + RETRY
