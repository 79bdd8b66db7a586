"""What gobgpd answered before it was lost, and is heard behind that, counts for nothing."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, cast

import pytest

from speaker.desired import Held
from speaker.gobgp.session import DaemonLostError, Event
from speaker.reconcile import Speaker
from speaker.report import Report
from speaker.statefile import Pods
from tests.unit.anycast_rig import IdleKeeper
from tests.unit.memory_daemon import CONFIG, PEER, MemoryDaemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection
    from pathlib import Path

    from speaker.anycast.keeper import Keeper
    from speaker.bgp import Destination, PeerStatus, Prefix
    from speaker.kernel.fib import Fib
    from speaker.settings import Api

NEWS = ip_network("10.9.0.0/16")


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(30_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it does not come")


class MemoryKeeper(IdleKeeper):
    """A fake that has nothing to look at."""

    def start(self) -> None: ...
    def poll(self) -> None: ...
    def news(self) -> None: ...

    async def run(self) -> None:
        await asyncio.Event().wait()


class MemoryFib:
    """A fake of a kernel that holds nothing and takes everything."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.known = Held()

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> None: ...

    def apply(self, _: object) -> dict[object, str]:
        return {}

    def leave(self) -> int:
        return 0


class Dying(MemoryDaemon):
    """A fake of a daemon that tells of `event` and answers one more question, which is heard after its end."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.running, self.neighbours, self.established = CONFIG.bgp, {PEER.key: PEER}, {PEER.key}
        self.speaker: Speaker | None = None
        self._event = event
        self._last = False
        self._asked = asyncio.Event()
        self.heard = asyncio.Event()

    async def watch(self) -> AsyncIterator[Event]:
        yield Event(subscribed=True)
        await until(lambda: self.speaker is not None and self.speaker.in_step)
        self.learn(str(NEWS))
        self._last = True
        yield self._event
        await self._asked.wait()
        raise DaemonLostError("killed")

    async def table(self, prefixes: Collection[Prefix] | None = None) -> list[Destination]:
        found = await super().table(prefixes)
        await self._late()
        return found

    async def peers(self) -> list[PeerStatus]:
        found = await super().peers()
        await self._late()
        return found

    async def _late(self) -> None:
        if self._last:
            self._asked.set()
            await until(lambda: self.speaker is not None and self.speaker.losses > 0)
            self.heard.set()


@pytest.mark.parametrize("event", [Event(frozenset({NEWS})), Event(peers=True)], ids=["prefix", "peers"])
def test_an_answer_behind_the_loss_is_forgotten(tmp_path: Path, event: Event) -> None:
    async def run(descriptor: int) -> None:
        daemon = Dying(event)

        async def connect(_: Api) -> Dying:
            if daemon.heard.is_set():
                raise DaemonLostError("nobody there")
            return daemon

        fib, keeper = cast("Fib", MemoryFib(descriptor)), cast("Keeper", MemoryKeeper(CONFIG))
        config, report = replace(CONFIG, state_dir=str(tmp_path)), Report(str(tmp_path))
        speaker = daemon.speaker = Speaker(config, connect, fib, Pods(None), keeper, report)
        running = asyncio.ensure_future(speaker.run(lambda: None))
        await daemon.heard.wait()
        passes = speaker.passes
        await until(lambda: speaker.passes > passes)
        assert not speaker.connected
        assert (list(speaker.daemon.table), list(speaker.daemon.peers)) == ([], [])
        speaker.stop()
        await running

    reading, writing = os.pipe()
    try:
        asyncio.run(asyncio.wait_for(run(reading), 30))
    finally:
        os.close(reading)
        os.close(writing)
