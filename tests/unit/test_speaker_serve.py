"""Large answers to local readers: whole, and without a word to the log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from speaker.serve import READERS, Doorman

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

LARGE = b"x" * (8 << 20)  # more than any socket takes in one go


async def reply(_: asyncio.StreamReader) -> bytes:
    return LARGE


def complaints_of(path: Path, use: Callable[[], Awaitable[None]]) -> list[Any]:
    """What asyncio complained of while `use` had a server of large answers at `path`."""
    complaints: list[Any] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with await asyncio.start_unix_server(Doorman(reply), path):
            await use()
            await asyncio.sleep(0.1)

    asyncio.run(run())
    return complaints


def test_a_large_answer_arrives_whole(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def read() -> None:
        for _ in range(READERS + 1):
            reader, writer = await asyncio.open_unix_connection(path)
            assert await reader.read() == LARGE
            writer.close()
            await writer.wait_closed()

    assert complaints_of(path, read) == []


def test_who_goes_in_the_middle_is_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def leave() -> None:
        for _ in range(READERS + 1):
            reader, writer = await asyncio.open_unix_connection(path)
            await reader.read(10)
            writer.transport.abort()
            await asyncio.sleep(0.01)

    assert complaints_of(path, leave) == []
