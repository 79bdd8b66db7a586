"""The speaker's side of the state file: reads it, never writes, never makes it."""

from __future__ import annotations

import os
from urllib.parse import quote

from cni.allocation import Allocation, fetch
from cni.sqlite import DatabaseError, connect
from cni.statefile import APPLICATION_ID, FILE, SCHEMA_VERSION, WAIT_SECONDS


class StateError(Exception):
    """The state file can't be read; the message names it and the fix."""


class StateReader:
    """Looks at `<state_dir>/state.db`, which may come, go and be replaced at any time."""

    def __init__(self, state_dir: str) -> None:
        self.path = os.path.join(state_dir, FILE)

    def stamp(self) -> object:
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

    def allocations(self) -> list[Allocation]:
        """All attachments; none where there is no file (yet). StateError for an unreadable or foreign one."""
        if self._stat("") is None:
            return []
        try:
            db = connect(
                f"file:{quote(self.path)}?mode=ro", timeout=WAIT_SECONDS, isolation_level=None, uri=True
            )
            try:
                if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                    return []  # a plugin is just making it
                if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                    raise StateError(
                        f"{self.path} is another program's database; set state.dir to the plugin's stateDir"
                    )
                # What is read here has been the same since version 1.
                if db.execute("PRAGMA user_version").fetchone()[0] > SCHEMA_VERSION:
                    raise StateError(
                        f"{self.path} was written by another version of anypod; install one version of both"
                    )
                return fetch(db)
            finally:
                db.close()
        except (DatabaseError, TypeError, ValueError, OverflowError) as error:
            # The latter three: a database in order, with values in it that no plugin wrote.
            raise StateError(f"{self.path} can't be read: {error}; if it is damaged, move it away") from None
