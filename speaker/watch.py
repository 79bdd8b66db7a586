"""Wakes up when files of a directory change, by inotify(7), or after a while where that says nothing."""

from __future__ import annotations

import asyncio
import ctypes
import os

IN_MODIFY = 0x2
IN_MOVED = 0xC0
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_ONLYDIR = 0x01000000
MASK = IN_MODIFY | IN_MOVED | IN_CREATE | IN_DELETE | IN_ONLYDIR
# Seconds between two tries to watch a directory that is not there.
AGAIN = 1.0
_BUFFER = 1 << 16


class DirectoryWatch:
    """Follows one directory, which may come, go and be replaced; `wait` never takes longer than it is given."""

    def __init__(self, directory: str) -> None:
        self._directory = os.fsencode(directory)
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watched: tuple[int, int] | None = None
        self._look_at = 0.0
        if self._fd >= 0:
            self._loop.add_reader(self._fd, self._read)

    async def wait(self, seconds: float) -> None:
        """Until something changes there, or this time is over."""
        self._watch()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    def close(self) -> None:
        """Gives the descriptor back."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
        self._fd = -1

    def _watch(self) -> None:
        """Sees to it that what has the directory's name now is watched."""
        now = self._loop.time()
        if self._fd < 0 or now < self._look_at:
            return
        self._look_at = now + AGAIN
        try:
            found = os.stat(self._directory)
        except OSError:
            return
        if (found.st_dev, found.st_ino) == self._watched:
            return
        if self._libc.inotify_add_watch(self._fd, self._directory, MASK) >= 0:
            self._watched = found.st_dev, found.st_ino
            self._news.set()  # what came before the watch was not told

    def _read(self) -> None:
        try:
            os.read(self._fd, _BUFFER)
        except OSError:
            return
        self._news.set()
