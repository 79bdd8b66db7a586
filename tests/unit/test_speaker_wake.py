"""What ends the loop's sleep, and how soon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from speaker import wake
from speaker.wake import Wake

if TYPE_CHECKING:
    import pytest


def waited(*calls: str, gather: float, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(wake, "GATHER", gather)

    async def run() -> float:
        loop, made = asyncio.get_running_loop(), Wake()
        for at, call in enumerate(calls, start=1):
            loop.call_later(0.01 * at, getattr(made, call))
        began = loop.time()
        await made.wait(began + 60)
        return loop.time() - began

    return asyncio.run(run())


def test_what_is_told_is_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waited("set", "set", gather=0.2, monkeypatch=monkeypatch) >= 0.2


def test_what_is_to_be_told_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waited("now", gather=30, monkeypatch=monkeypatch) < 30
    assert waited("set", "now", gather=30, monkeypatch=monkeypatch) < 30


def test_a_time_ends_the_sleep_and_the_next_one_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake, "GATHER", 30)

    async def run() -> None:
        made, loop = Wake(), asyncio.get_running_loop()
        made.now()
        await made.wait(loop.time() + 60)
        began = loop.time()
        await made.wait(began + 0.05)
        assert loop.time() - began >= 0.04

    asyncio.run(run())
