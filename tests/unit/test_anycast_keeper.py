"""When the VIPs are looked at."""

from __future__ import annotations

import asyncio
import io
import os
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from speaker import log
from speaker.anycast import drainfile, keeper
from speaker.anycast.anycast import Anycast
from speaker.anycast.drain import Drain, Scope
from speaker.anycast.drainfile import DrainFile
from speaker.anycast.health import Health
from speaker.policy import GRACEFUL_SHUTDOWN
from speaker.settings import Anycast as Settings
from speaker.statefile import Pods
from tests.unit.anycast_rig import VIP, MemoryChecks, MemoryKernel, endpoint
from tests.unit.memory_daemon import CONFIG

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import pytest


class Events:
    """A fake of the kernel's notifications: a byte in a pipe for each."""

    def __init__(self) -> None:
        self.read_anew = 0
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._read

    def changed(self) -> bool:
        return bool(os.read(self._read, 100))

    def reread(self) -> None:
        self.read_anew += 1

    def tell(self) -> None:
        os.write(self._write, b"x")

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class Scene:
    """A keeper that runs between fakes."""

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory)
        self.kernel, self.checks, self.events = MemoryKernel(), MemoryChecks(), Events()
        self.config = replace(CONFIG, anycast=Settings(drain=1000))
        self.pods = Pods(None)
        self.pods.endpoints = (endpoint(1),)
        self.keeper = keeper.Keeper(
            Anycast(self.config, self.kernel, self.checks), self.events, self.pods, DrainFile(self.directory)
        )
        self.changes = 0
        self.keeper.changed = self._count

    def _count(self) -> None:
        self.changes += 1

    def up(self) -> None:
        self.checks.states = {one.key: Health.UP for one in self.pods.endpoints}
        self.keeper.news()

    def announced(self) -> set[str]:
        return {str(path.prefix.network_address) for path in self.keeper.anycast.paths}


def play(directory: Path, body: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        scene = Scene(directory)
        scene.keeper.start()
        task = asyncio.ensure_future(scene.keeper.run())
        try:
            await body(scene)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            scene.events.close()

    asyncio.run(run())


async def until(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not become true")


def test_news_are_looked_at_and_told(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        assert scene.announced() == set()
        before = scene.changes
        scene.up()
        await until(lambda: scene.announced() == {VIP})
        assert scene.changes == before + 1
        scene.keeper.news()
        await asyncio.sleep(0.05)
        assert scene.changes == before + 1

    play(tmp_path, body)


def test_a_drain_is_seen_and_its_end_too(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.up()
        await until(lambda: scene.announced() == {VIP})
        ends = drainfile.now() - 1000 + 0.3  # 0.3 s are left of its first phase
        drainfile.change(scene.directory, lambda _: [Drain(Scope.NODE, "", "", ends)])
        scene.keeper.poll()
        await until(
            lambda: any(
                GRACEFUL_SHUTDOWN in path.attributes.communities for path in scene.keeper.anycast.paths
            )
        )
        await until(lambda: scene.announced() == set())

    play(tmp_path, body)


def test_what_somebody_else_changed_in_the_kernel_is_mended(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.up()
        await until(lambda: scene.kernel.members() == {1: 1})
        scene.kernel.routes = {}
        scene.events.tell()
        await until(lambda: scene.kernel.members() == {1: 1})

    play(tmp_path, body)


def test_a_fight_with_another_program_is_no_busy_loop(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.up()
        await until(lambda: bool(scene.kernel.members()))
        before = scene.kernel.writes
        for _ in range(20):
            scene.kernel.routes = {}
            scene.events.tell()
            await asyncio.sleep(0.02)
        assert 1 <= scene.kernel.writes - before <= 5

    play(tmp_path, body)


def test_from_time_to_time_all_is_compared(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.up()
        await until(lambda: scene.kernel.members() == {1: 1})
        scene.kernel.routes = {}
        scene.keeper.reread()
        await until(lambda: scene.kernel.members() == {1: 1})
        assert scene.events.read_anew == 1

    play(tmp_path, body)


def test_before_the_pods_are_known_nothing_is_touched(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.pods.known = False
        scene.pods.endpoints = ()
        scene.up()
        await asyncio.sleep(0.05)
        assert scene.kernel.hops == {1: ip_address("10.1.0.1")}

    play(tmp_path, body)


def test_a_kernel_that_fails_is_told_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "RETRY", 0.05)
    stream = io.StringIO()
    log.set_up("info", stream)

    async def body(scene: Scene) -> None:
        scene.kernel.error = OSError("no buffer space")
        scene.up()
        await asyncio.sleep(0.3)
        scene.kernel.error = None
        await until(lambda: scene.kernel.members() == {1: 1})

    play(tmp_path, body)
    assert stream.getvalue().count("virtual IPs not read or written") == 1
    assert stream.getvalue().count("virtual IPs written again") == 1
