"""The file in which `anypod drain` leaves its word for the speaker: `<state.dir>/drain.json`.

Root writes it, also while no speaker runs; the speaker only reads it. It ends with the boot, as all in /run does. (The
boot's id would tell for other places, too, but in a container a hardened unit reads another one than root does.)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from speaker import log
from speaker.anycast.drain import dump, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from speaker.anycast.drain import Drain

FILE = "drain.json"
LOCK = "drain.lock"
# Bytes; more is none of ours.
MAX_SIZE = 1 << 20


def now() -> float:
    """Seconds of the clock that drains are kept on."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read(state_dir: str) -> tuple[Drain, ...]:
    """All drains; OSError or ValueError where they can't be read."""
    try:
        # Without waiting: a FIFO would hang whoever opens it.
        fd = os.open(Path(state_dir) / FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ()
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("it is no regular file")
        text = os.read(fd, MAX_SIZE)
    finally:
        os.close(fd)
    return parse(text.decode(), now())


def change(state_dir: str, edit: Callable[[tuple[Drain, ...]], Iterable[Drain]]) -> tuple[Drain, ...]:
    """Replaces the drains by what `edit` makes of them, one call at a time; what stands then. OSError, ValueError."""
    directory = Path(state_dir)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        drains = tuple(edit(read(state_dir)))
        _write(directory, dump(drains))
    finally:
        os.close(lock)
    return drains


def _write(directory: Path, text: str) -> None:
    """By renaming: a reader sees the one or the other. The directory's group reads it, as with the state file."""
    new = directory / f".{FILE}.new"
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        group = directory.stat().st_gid
        if group != os.fstat(fd).st_gid:
            os.fchown(fd, -1, group)
        os.fchmod(fd, 0o640)
        with os.fdopen(os.dup(fd), "wb") as file:  # all of it, or OSError: the disk may be full
            file.write(text.encode())
    finally:
        os.close(fd)
    new.rename(directory / FILE)


class DrainFile:
    """The drains as they could be read last; a file that can't be read changes nothing."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir
        self._path = Path(state_dir) / FILE
        self._stamp: tuple[int, ...] | None = None
        self._trouble = ""
        self.drains: tuple[Drain, ...] = ()

    def poll(self) -> bool:
        """Looks at the file, by one `stat` while it has not changed; True if the drains did."""
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        before = self.drains
        try:
            self.drains = read(self._state_dir)
        except (OSError, ValueError) as error:
            if str(error) != self._trouble:
                log.error("drains not read", path=self._path, reason=error, fix="remove it, then drain again")
            self._trouble = str(error)
            return False
        self._trouble = ""
        self._tell(before)
        return self.drains != before

    def _look(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _tell(self, before: tuple[Drain, ...]) -> None:
        known = {(one.scope, one.of) for one in before}
        there = {(one.scope, one.of) for one in self.drains}
        log.info_each("drain", (_fields(one) for one in self.drains if (one.scope, one.of) not in known))
        log.info_each("drain ended", (_fields(one) for one in before if (one.scope, one.of) not in there))


def _fields(drain: Drain) -> dict[str, object]:
    return {drain.scope.value: drain.name or "this one"}
