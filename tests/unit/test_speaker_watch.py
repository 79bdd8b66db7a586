"""Waking up when a directory changes."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from speaker import watch as module
from speaker.watch import DirectoryWatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import pytest

LONG = 20.0


def watched(directory: Path, body: Callable[[DirectoryWatch], Awaitable[None]]) -> None:
    async def run() -> None:
        watch = DirectoryWatch(str(directory))
        try:
            await body(watch)
        finally:
            watch.close()

    asyncio.run(run())


async def woken(watch: DirectoryWatch, change: Callable[[], object]) -> bool:
    """Whether a change ends a wait long before its time."""
    waiting = asyncio.ensure_future(watch.wait(LONG))
    await asyncio.sleep(0.02)
    began = time.monotonic()
    change()
    await waiting
    return time.monotonic() - began < LONG / 4


def test_a_write_a_rename_and_a_removal_wake(tmp_path: Path) -> None:
    file = tmp_path / "state.db-wal"
    file.write_text("a")

    async def body(watch: DirectoryWatch) -> None:
        await watch.wait(0)  # that it is watched now is news by itself
        assert await woken(watch, lambda: file.write_text("b"))
        assert await woken(watch, lambda: file.rename(tmp_path / "other"))
        assert await woken(watch, (tmp_path / "other").unlink)

    watched(tmp_path, body)


def test_without_a_change_the_time_is_the_end(tmp_path: Path) -> None:
    async def body(watch: DirectoryWatch) -> None:
        await watch.wait(0)
        await watch.wait(0)
        began = time.monotonic()
        await watch.wait(0.1)
        assert time.monotonic() - began >= 0.09

    watched(tmp_path, body)


def test_a_directory_that_comes_later_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "later"
    monkeypatch.setattr(module, "AGAIN", 0.0)

    async def body(watch: DirectoryWatch) -> None:
        await watch.wait(0)
        directory.mkdir()
        await watch.wait(LONG)  # from here on it is watched, and that is news
        assert await woken(watch, (directory / "file").touch)

    watched(directory, body)


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))

    async def body(watch: DirectoryWatch) -> None:
        await watch.wait(0)

    watched(tmp_path, body)
    assert len(os.listdir("/proc/self/fd")) == before
