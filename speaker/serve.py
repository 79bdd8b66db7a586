"""Answers to local readers within bounds: so many at a time, so long for each."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Answer = Callable[[asyncio.StreamReader], Awaitable[bytes]]

# Readers at a time; who comes while all are busy is turned away.
READERS = 8
# Seconds for asking and for taking the answer.
PATIENCE = 10.0
# Bytes of a request, and of a backlog in the kernel.
LIMIT = 4096
BACKLOG = 64


class Doorman:
    """The callback of an asyncio server: `answer` gives the bytes for one connection."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._busy = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one connection and ends it."""
        if self._busy >= READERS:
            writer.transport.abort()
            return
        self._busy += 1
        done = False
        try:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    writer.write(await self._answer(reader))
                    writer.close()
                    await writer.wait_closed()
                    done = True
        finally:
            self._busy -= 1
            if not done:  # asyncio stumbles over the abortion of what has closed
                writer.transport.abort()
