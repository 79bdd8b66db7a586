"""When the VIPs are looked at: at once after each event, beside the loop that talks to gobgpd and may have to wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from speaker import log
from speaker.anycast import drainfile

if TYPE_CHECKING:
    from collections.abc import Callable

    from speaker.anycast.anycast import Anycast
    from speaker.anycast.drainfile import DrainFile
    from speaker.settings import Config
    from speaker.statefile import Pods

# Seconds. After something that the kernel told, the next look has to wait: another program may undo what is done.
PAUSE = 0.2
RETRY = 5.0


class Events(Protocol):
    """The part of speaker.kernel.vips.VipTable that is used here."""

    def fileno(self) -> int:
        """Readable when `changed` should be called."""

    def changed(self) -> bool:
        """Whether somebody else changed what is ours."""

    def reread(self) -> None:
        """Lets the next look compare with what the kernel holds."""


class Keeper:
    """`changed` is called whenever other paths should be announced, or other routes may stand behind."""

    def __init__(self, anycast: Anycast, events: Events, pods: Pods, drains: DrainFile) -> None:
        self.anycast = anycast
        self.changed: Callable[[], None] = _nobody
        self._events = events
        self._pods = pods
        self._drains = drains
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._next: Config | None = None
        self._trouble = ""
        self._due: float | None = None
        self._pause_ends = 0.0

    def start(self) -> None:
        """Takes over what an earlier process left. Before anything is announced, and after the pods are known."""
        try:
            self.anycast.adopt()
        except OSError as error:
            self._fail(error)
        self._drains.poll()
        self._look()

    def poll(self) -> None:
        """Looks at the drains, by one `stat`."""
        if self._drains.poll():
            self.news()

    def reread(self) -> None:
        """Compares with what the kernel holds, whether it told of a change or not; tries again what it refused."""
        self._events.reread()
        self.news()

    def news(self) -> None:
        """Something may be another now: endpoints, their health, a drain."""
        self._news.set()

    def use(self, config: Config) -> None:
        """Another configuration."""
        self._next = config
        self._news.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        self._loop.add_reader(self._events.fileno(), self._on_kernel)
        try:
            while True:
                await self._sleep()
                self._look()
        finally:
            self._loop.remove_reader(self._events.fileno())

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout_at(self._due):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    def _on_kernel(self) -> None:
        if self._events.changed():
            now = self._loop.time()
            self._due = min(max(now, self._pause_ends), self._due or now + PAUSE)
            self._pause_ends = self._due + PAUSE
            # A task that sleeps without a time has to be told of one.
            self._loop.call_at(self._due, self._news.set)

    def _look(self) -> None:
        if not self._pods.known:
            return  # what stands, stays
        anycast = self.anycast
        before = anycast.paths, anycast.fallbacks()
        try:
            if self._next is not None:
                config, self._next = self._next, None
                anycast.reload(config)
            anycast.look(self._pods.endpoints, self._drains.drains, self._loop.time(), drainfile.now())
        except OSError as error:
            self._fail(error)
        else:
            self._due = anycast.due
            if self._trouble:
                log.info("virtual IPs written again")
            self._trouble = ""
        if (anycast.paths, anycast.fallbacks()) != before:
            self.changed()

    def _fail(self, error: OSError) -> None:
        self._due = self._loop.time() + RETRY
        if str(error) != self._trouble:
            log.error("virtual IPs not read or written", reason=error, retry_seconds=int(RETRY))
        self._trouble = str(error)


def _nobody() -> None:
    """Before there is somebody to tell."""
