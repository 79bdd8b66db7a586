"""A checker on a clock that jumps, with scripted answers in the place of probes."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cni.healthcheck import parse_check
from speaker.anycast.checker import Checker
from speaker.anycast.health import Target
from speaker.anycast.probes.errors import NoVerdictError, ProbeFailedError
from tests.unit.jumping_clock import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from speaker.anycast.checker import Key

CHECK = "tcp://:53 interval=5 fast=1 timeout=2 rise=2 fall=3"


def key(number: int) -> Key:
    return (f"c{number}", "eth0", f"10.0.0.{number}")


def target(number: int = 1, check: str = CHECK, vip: str = "198.51.100.10") -> Target:
    parsed = parse_check(check, allow_exec=True)
    return Target(
        ip_address(f"10.0.{number >> 8}.{number & 255}"), parsed, ip_address(vip), f"dns/pod-{number}"
    )


class Stage:
    """A checker, what it was called for, and answers by pod; a pod without one serves."""

    def __init__(self) -> None:
        self.probes: list[tuple[float, str]] = []
        self.answers: dict[str, Callable[[], Awaitable[None]]] = {}
        self.changes = 0
        self.news = asyncio.Event()
        self.busy = self.most_busy = 0
        self.checker = Checker(self._changed, self._probe)

    def _changed(self) -> None:
        self.changes += 1
        self.news.set()

    async def _probe(self, target: Target) -> None:
        self.probes.append((self.now, target.pod))
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        try:
            if target.pod in self.answers:
                await self.answers[target.pod]()
        finally:
            self.busy -= 1

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def times(self, number: int = 1) -> list[float]:
        return [at for at, pod in self.probes if pod == f"dns/pod-{number}"]

    def follow(self, *targets: Target, adopted: bool = False) -> None:
        found = {key(int(one.pod.partition("-")[2])): one for one in targets}
        self.checker.follow(found, found.keys() if adopted else ())


def play(story: Callable[[Stage], Awaitable[None]]) -> Stage:
    async def whole() -> Stage:
        stage = Stage()
        try:
            await story(stage)
        finally:
            await stage.checker.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert stage.busy == 0
        return stage

    return run(whole())


async def refused() -> None:
    raise ProbeFailedError("connection refused")


async def hung() -> None:
    await asyncio.sleep(2)
    raise ProbeFailedError("no answer within 2 s")


async def no_descriptors() -> None:
    raise NoVerdictError("too many open files")
