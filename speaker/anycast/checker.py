"""When each endpoint is probed, and what is known of it: the clock, the dice and the log around probes and tallies."""

from __future__ import annotations

import asyncio
import math
import random
from typing import TYPE_CHECKING

from speaker import log
from speaker.anycast.health import Detail, Health, Tally, Target
from speaker.anycast.probe import probe
from speaker.anycast.probes.errors import NoVerdictError, ProbeFailedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    Key = tuple[str, str, str]  # container, interface, the pod's address
    Probe = Callable[[Target], Awaitable[None]]

# Probes at a time: of those that served last time, and as many of the others, whose time-outs hold no healthy one up.
AT_A_TIME = 256
COMMANDS_AT_A_TIME = 64
# Seconds between the first probes of endpoints that come together.
SPREAD = 0.004
# How far an interval is stretched or cut at random, so that probes do not fall into step.
JITTER = 0.1
# Probes start at multiples of this part of their interval: to wake up for each alone costs more than the probe.
TICK = 0.02


class Checker:
    """Probes endpoints for as long as they are followed; `changed` is called when the health of one has changed."""

    def __init__(self, changed: Callable[[], None], probe: Probe = probe) -> None:
        self._changed = changed
        self._probe = probe
        self._watches: dict[Key, _Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = {
            (command, sure): asyncio.Semaphore(COMMANDS_AT_A_TIME if command else AT_A_TIME)
            for command in (True, False)
            for sure in (True, False)
        }
        self._hindered: set[Key] = set()
        self._broken: asyncio.Queue[BaseException] = asyncio.Queue()

    def follow(self, targets: Mapping[Key, Target], adopted: Collection[Key]) -> None:
        """Probes these and no others from now on. What is known stays, unless the check is another one.

        New ones that are in `adopted` count as up until their first verdict.
        """
        for key in self._watches.keys() - targets.keys():
            self._stop(key)
        delay = 0.0
        for key, target in targets.items():
            watch = self._watches.get(key)
            if watch is not None and watch.target.check == target.check:
                watch.target = target
                continue
            serves = key in adopted
            if watch is not None:
                serves = watch.tally.health.serves
                self._stop(key)
            self._start(key, target, serves, delay)
            delay += SPREAD

    def _start(self, key: Key, target: Target, adopted: bool, delay: float) -> None:
        watch = _Watch(target, adopted, asyncio.get_running_loop().time())
        self._watches[key] = watch
        watch.task = asyncio.create_task(self._watch(key, watch, delay))
        self._tasks.add(watch.task)
        watch.task.add_done_callback(self._ended)

    def _stop(self, key: Key) -> None:
        watch = self._watches.pop(key)
        self._hindered.discard(key)
        if watch.task is not None:
            watch.task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._broken.put_nowait(error)

    def health(self, key: Key) -> Health:
        """What is known of an endpoint; UNKNOWN of one that is not followed."""
        watch = self._watches.get(key)
        return watch.tally.health if watch is not None else Health.UNKNOWN

    def detail(self, key: Key) -> Detail:
        """The same, and how it is known."""
        watch = self._watches.get(key)
        if watch is None:
            return Detail(Health.UNKNOWN, 0.0)
        return Detail(watch.tally.health, watch.since, watch.error, watch.latency)

    async def run(self) -> None:
        """Lasts until it is cancelled. Raises what ended a watch: nobody would notice an endpoint without one."""
        raise await self._broken.get()

    async def close(self) -> None:
        """Ends all probes; nothing of them is left afterwards."""
        for key in list(self._watches):
            self._stop(key)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, key: Key, watch: _Watch, delay: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(delay)
        while True:
            async with self._slots[watch.target.check.kind == "exec", watch.sure]:
                started = loop.time()
                await self._ask(key, watch)
            await asyncio.sleep(_next(started, watch.tally.interval) - loop.time())

    async def _ask(self, key: Key, watch: _Watch) -> None:
        loop = asyncio.get_running_loop()
        started, error = loop.time(), ""
        try:
            await self._probe(watch.target)
        except ProbeFailedError as failed:
            error = str(failed)
        except NoVerdictError as failed:
            self._not_asked(key, watch, str(failed))
            return
        self._asked(key)
        before = watch.tally.health
        watch.tally.record(not error)
        now = loop.time()
        watch.error, watch.latency = error, now - started
        if watch.tally.health is not before:
            watch.since = now
            _tell(watch, before)
            self._changed()

    def _not_asked(self, key: Key, watch: _Watch, reason: str) -> None:
        watch.error = f"not asked: {reason}"
        if not self._hindered:
            log.warning("health checks hindered", reason=reason, kept="what was known of endpoints")
        self._hindered.add(key)

    def _asked(self, key: Key) -> None:
        if key in self._hindered:
            self._hindered.remove(key)
            if not self._hindered:
                log.info("health checks no longer hindered")


class _Watch:
    """An endpoint that is followed."""

    def __init__(self, target: Target, adopted: bool, now: float) -> None:
        self.target = target
        self.tally = Tally(target.check, adopted)
        self.since = now
        self.error = ""
        self.latency: float | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def sure(self) -> bool:
        """Whether it is expected to answer."""
        return self.tally.settled and self.tally.health is Health.UP


def _next(started: float, interval: float) -> float:
    """When to probe again."""
    tick = interval * TICK
    due = started + interval * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
    return math.ceil(due / tick) * tick


def _tell(watch: _Watch, before: Health) -> None:
    target = watch.target
    fields = {"pod": target.pod, "address": target.address, "check": target.check}
    if watch.tally.health is Health.DOWN:
        log.info("endpoint down", **fields, reason=watch.error)
    elif before is Health.ADOPTED:  # what it counted as
        log.debug("endpoint still up", **fields)
    else:
        log.info("endpoint up", **fields)
