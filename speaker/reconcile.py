"""The loop: whatever happens only wakes it; then it compares what should be with what is."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from speaker import log
from speaker.anycast.judge import Refusals
from speaker.audit import Audit
from speaker.daemon import Daemon, WrongDaemonError
from speaker.desired import Wanted
from speaker.follow import Follower
from speaker.gobgp.session import DaemonLostError, DaemonRefusedError
from speaker.kernel.digest import KernelDigest
from speaker.kernel.routes import Routes
from speaker.kernel.stale import Told, told_by
from speaker.report import standing
from speaker.takeback import take_back
from speaker.upkeep import Upkeep
from speaker.wake import Wake, Work
from speaker.watch import DirectoryWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from speaker.anycast.keeper import Keeper
    from speaker.bgp import LocalPath, Prefix
    from speaker.follow import Connect
    from speaker.gobgp.session import Event, Session
    from speaker.kernel.fib import Fib
    from speaker.report import Report
    from speaker.settings import Config
    from speaker.statefile import Pods

# Seconds.
STATE_POLL = 0.1  # between two looks at the state file where nothing tells of a change
RETRY = 5.0  # after a refusal, which a person has to end
PEERS_RETRY = 2.0  # after a peer was refused: its neighbour may not be on the link yet
END_OF_RIB_LOOK = 0.5  # no event tells of it
LONGEST_GATHER = 0.5  # between two passes of a flood
STUCK = 300.0  # a pass that takes longer has hung; all its calls are bounded by less


class Speaker:
    """One node's speaker. `run` returns after `stop`."""

    def __init__(
        self, config: Config, connect: Connect, fib: Fib, pods: Pods, keeper: Keeper, report: Report
    ) -> None:
        self.config = config
        self.routes = Routes(config, fib)
        self.daemon = Daemon(config)
        self.connected = False
        self.trouble = ""  # why gobgpd is not as it should be
        self.in_step = False  # the last pass over the daemon went through
        self.losses = 0
        self.passes = 0
        self._follower = Follower(config.api, connect, self._on_event, self._lost)
        self._upkeep = Upkeep(fib, self.routes)
        self._audit = Audit(lambda: self.daemon.table, self._differ, self._drop)
        self._digest = KernelDigest()
        self.anycast = keeper.anycast
        self._keeper = keeper
        self._pods = pods
        self._report = report
        self._work = Work()
        self._wanted = Wanted()
        self._next: Config | None = None
        self._wake = Wake()
        self._stop = asyncio.Event()
        self._lookers: list[asyncio.Event] = []
        self._loop = asyncio.get_running_loop()
        self._busy_since: float | None = None
        self._gather = 0.0
        self._resync_at = 0.0
        self._retry_at: float | None = None
        self._peers_at: float | None = None
        self._report_at: float | None = None

    def stop(self) -> None:
        """Ends `run`, also in the middle of a pass: the next start finishes what was begun."""
        self._stop.set()

    def use(self, config: Config) -> None:
        """Another configuration, from the next pass on."""
        self._next = config
        self._wake.set()

    async def look(self, seconds: float) -> bool:
        """Reads the peers anew, for somebody who wants to see them; False where that takes longer."""
        self._work.peers = True
        passed = asyncio.Event()
        self._lookers.append(passed)
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(passed.wait(), seconds)
        return passed.is_set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Works until `stop`. `ready` is called after the first pass. What was announced and learned stays."""
        now = self._loop.time()
        self.routes.adopt(now)
        self._resync_at = now + self.config.resync
        self._pods.poll()
        self._keeper.changed = self._wake.now
        self._keeper.start()
        passes = asyncio.ensure_future(self._passes(ready))
        tasks = [asyncio.ensure_future(self._stop.wait()), passes]
        beside = (
            self._follower.run(),
            self._follow_state(),
            self._keeper.run(),
            self._upkeep.run(self._kernel_pass),
            self._audit.run(),
        )
        tasks += [asyncio.ensure_future(one) for one in beside]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            passes.cancel()
            await asyncio.wait([passes])
            if self._stop.is_set() and self.config.withdraw_on_stop:
                await take_back(self._follower.session, self.daemon, self.anycast, self.routes)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self._report.withdraw()
            self._digest.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def lives(self) -> bool:
        """Whether passes come to an end."""
        return self._busy_since is None or self._loop.time() - self._busy_since < STUCK

    async def _passes(self, ready: Callable[[], None]) -> None:
        await self._pass()
        ready()
        while True:
            self._busy_since = None
            await self._sleep()
            self._busy_since = self._loop.time()
            await self._pass()
            # While a large table comes or goes, fewer and larger passes are less work.
            self._gather = min((self._loop.time() - self._busy_since) / 2, LONGEST_GATHER)

    # ---- what wakes the loop

    async def _sleep(self) -> None:
        stale = self.routes.stale.next_check(self._told())
        times = [self._resync_at, self._retry_at, self._peers_at, self._report_at, self._upkeep.due, stale]
        until = min(time for time in times if time is not None)
        await self._wake.wait(until, self._gather)

    def _told(self) -> Told:
        told = told_by(self.config.peers, self.daemon.peers, bool(self.config.dynamic))
        return told if self.in_step else Told.PART

    def _on_event(self, event: Event) -> None:
        log.debug("told by gobgpd", prefixes=len(event.prefixes), peers=event.peers)
        if event.subscribed:
            log.info("gobgpd connected", api=self.config.api.target)
            self.connected = True
            self.trouble = ""
            self._work.everything = True
        news = self.daemon.news(event)
        self._work.peers |= event.peers
        self._work.prefixes |= news
        self.routes.stale.news(self._loop.time())
        if news or event.peers or event.subscribed:
            self._wake.set()

    def _lost(self, reason: str) -> None:
        if self.connected:
            log.warning("gobgpd lost", reason=reason, kept="learned routes")
            self.losses += 1
            self.routes.lost(self._loop.time())
        elif not self.trouble:
            log.warning("gobgpd not reachable", api=self.config.api.target, reason=reason)
        self.trouble = reason
        self.connected = self.in_step = False
        self._retry_at = self._peers_at = None
        self.daemon.forget()
        self._wake.set()

    async def _follow_state(self) -> None:
        watch = DirectoryWatch(self.config.state_dir)
        try:
            while True:
                if self._pods.poll():
                    self._keeper.news()
                    self._wake.now()
                self._keeper.poll()
                await watch.wait(STATE_POLL)
        finally:
            watch.close()

    # ---- one pass

    async def _pass(self) -> None:
        now = self._loop.time()
        lookers, self._lookers = self._lookers, []
        if self._next is not None:
            self.config, self._next = self._next, None
            self.daemon.configure(self.config)
            self._keeper.use(self.config)
            with contextlib.suppress(OSError):  # the kernel is read again below, where that is told
                self.routes.reload(self.config)
            self._work.everything = True
            self._resync_at = now + self.config.resync
            self._reread(now)
        if now >= self._resync_at:
            self._resync(now)
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self._work.everything = True
        if self._peers_at is not None and now >= self._peers_at:
            self._peers_at = None
            self._work.peers = True
        session = self._follower.session
        if session is not None and self._retry_at is None:
            await self._daemon_pass(session)
        self._kernel_pass()
        self.passes += 1
        for looker in lookers:
            looker.set()

    def _resync(self, now: float) -> None:
        self._resync_at = now + self.config.resync
        self._work.check = True
        if self._follower.session is not None:
            self._audit.begin(self._follower.session)
        self._pods.poll(force=True)
        # What was refused is tried again, whether it was told that something has changed or not.
        refused = self.routes.refused or self.routes.unresolved or self.anycast.refusals != Refusals()
        if not self._digest.same(self.config) or refused:
            self._reread(now)

    def _reread(self, now: float) -> None:
        self._upkeep.due = now
        self._keeper.reread()

    def _differ(self, prefixes: Collection[Prefix]) -> None:
        if prefixes:
            self._work.prefixes.update(prefixes)
            self._wake.set()

    def wanted(self) -> frozenset[LocalPath]:
        """What should be announced now."""
        return self._wanted.of(self.config.announce, self._pods.addresses, self.anycast.paths)

    async def _daemon_pass(self, session: Session) -> None:
        work, self._work = self._work, Work()
        try:
            if not work.everything:
                await self.daemon.reread(session, work.prefixes)
            self.daemon.withdraws = self._pods.known
            with self._follower.deaf():
                await self.daemon.bring(session, self.wanted(), work)
        except DaemonLostError as error:
            self._drop(session, str(error))
        except (DaemonRefusedError, WrongDaemonError) as error:
            if str(error) != self.trouble:
                log.error("gobgpd not as configured", reason=error, retry_seconds=int(RETRY))
            self.trouble = str(error)
            self.in_step = False
            self._retry_at = self._loop.time() + RETRY
        else:
            if self._follower.session is session:
                self._went_through()
        finally:
            if self._follower.session is not session:  # an answer may have been heard after its end
                self.daemon.forget()

    def _drop(self, session: Session, reason: str) -> None:
        if self._follower.session is session:  # else its end has been told already
            self._lost(reason)
            self._follower.drop(session)

    def _went_through(self) -> None:
        if self.trouble:
            log.info("gobgpd as configured again")
        self.trouble = ""
        self.in_step = True
        self._peers_at = self._look_at_peers()

    def _look_at_peers(self) -> float | None:
        if self.routes.stale.waiting:
            return self._loop.time() + END_OF_RIB_LOOK
        return self._loop.time() + PEERS_RETRY if self.daemon.awaits_peers else None

    def _kernel_pass(self) -> None:
        self.routes.stale.ended(self.daemon.take_ended())
        self._upkeep.compare(self._told(), self.daemon.table, self.wanted(), self.anycast.fallbacks())
        complete = self.in_step and self.routes.complete
        told = self._report.tell(standing(self.config.peers, self.daemon.peers, complete))
        self._report_at = None if told else self._loop.time() + RETRY
