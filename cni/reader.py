"""The speaker's side of the state file: reads it, never writes, never makes it.

It needs no right to write, neither to the files nor to the directory. While the plugin is at work there is a
write-ahead log, which SQLite then reads with a read-only -shm. Otherwise the last plugin took the log along:
SQLite is told that nothing changes (`immutable`), and the file's stamp says whether that was true.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from cni.allocation import Allocation, fetch, fetch_vips
from cni.sqlite import DatabaseError, connect
from cni.statefile import APPLICATION_ID, FILE, SCHEMA_VERSION, SUFFIXES, WAIT_SECONDS, is_regular

if TYPE_CHECKING:
    from collections.abc import Callable

    from cni.sqlite import Connection

T = TypeVar("T")

# Looks at a file that changes while it is looked at, and seconds between two.
LOOKS = 20
PAUSE = 0.005
# The form of the state file that first had virtual IPs.
VIPS_SINCE = 3
Stamp = tuple[tuple[int, int, int] | None, ...]


# SQLite's codes for what a plugin that opens or closes the file brings about: BUSY, READONLY, CANTOPEN, PROTOCOL.
_OF_THE_MOMENT = (5, 8, 14, 15)


class StateError(Exception):
    """The state file can't be read; the message names it and the fix."""


class UnfinishedError(StateError):
    """A plugin is just making the file: that it has no pods yet says nothing."""


class StateReader:
    """Looks at `<state_dir>/state.db`, which may come, go and be replaced at any time."""

    def __init__(self, state_dir: str) -> None:
        self.path = os.path.join(state_dir, FILE)

    def stamp(self) -> Stamp:
        """Changes whenever the content may have changed; two `stat` calls."""
        return tuple(self._stat(suffix) for suffix in ("", "-wal"))

    def _stat(self, suffix: str) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.path + suffix)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"{self.path}{suffix} can't be looked at: {error.strerror}") from None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def digest(self) -> int:
        """Of the content, for where a stamp is not trusted; a tenth of the cost of reading it. Good in one process."""
        found = 0
        for suffix in ("", "-wal"):
            try:
                with open(self.path + suffix, "rb") as file:
                    found = hash((found, file.read()))
            except OSError:
                found = hash((found, suffix))
        return found

    def allocations(self) -> list[Allocation]:
        """All attachments; none where there is no file (yet). StateError for an unreadable or foreign one."""
        return self.held() or []

    def held(self) -> list[Allocation] | None:
        """The same, and None where there is no file."""
        return self.look(_attachments)

    def look(self, read: Callable[[Connection, int], T]) -> T | None:
        """What `read` makes of the file, which it is given with the version of its form; None where there is none."""
        changed = failure = StateError(f"{self.path} changed at each look; try again")
        for look in range(LOOKS):
            if look:
                time.sleep(PAUSE)
            before = self.stamp()
            file, wal = before
            if file is None:
                return None
            try:
                found = self._read("" if wal else "&immutable=1", read)
            except UnfinishedError as error:
                failure = error
            except (DatabaseError, TypeError, ValueError, OverflowError) as error:
                # The latter three: a database in order, with values in it that no plugin wrote.
                failure = StateError(f"{self.path} can't be read: {error}; if it is damaged, move it away")
                if not _passes(error) and self.stamp() == before:
                    break
            else:
                if wal or self.stamp() == before:
                    return found
                failure = changed
        raise failure

    def _read(self, how: str, read: Callable[[Connection, int], T]) -> T:
        for suffix in SUFFIXES:
            # Opened, a FIFO would hang us.
            if not is_regular(self.path + suffix):
                raise StateError(f"{self.path}{suffix} is no regular file; move it away")
        db = connect(
            f"file:{quote(self.path)}?mode=ro{how}", timeout=WAIT_SECONDS, isolation_level=None, uri=True
        )
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                raise self._unfinished()
            if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise StateError(
                    f"{self.path} is another program's database; set state.dir to the plugin's stateDir"
                )
            # What is read here has been the same since version 1.
            if version > SCHEMA_VERSION:
                raise StateError(
                    f"{self.path} was written by another version of anypod; install one version of both"
                )
            # Written together with the pods that were there before the file was lost.
            if not db.execute("SELECT 1 FROM meta WHERE key = 'boot'").fetchone():
                raise self._unfinished()
            return read(db, version)
        finally:
            db.close()

    def _unfinished(self) -> UnfinishedError:
        return UnfinishedError(
            f"{self.path} is just being made by a plugin; if it stays so, the next ADD finishes it"
        )


def _attachments(db: Connection, version: int) -> list[Allocation]:
    found = fetch(db)
    if version >= VIPS_SINCE:
        fetch_vips(db, found)
    return found


def _passes(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THE_MOMENT
