"""The state file as STATUS looks at it: without writing, locking or making anything."""

from __future__ import annotations

import posix

from cni.errors import NOT_AVAILABLE, CniError
from cni.network import to_bytes
from cni.sqlite import DatabaseError, connect
from cni.statefile import APPLICATION_ID, FILE, SCHEMA_VERSION, SUFFIXES, boot_id, is_damage, is_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cni.network import Network, Range
    from cni.reclaim import Record
    from cni.sqlite import Connection


class View:
    """What the state file says now; of a missing one, or one of an earlier boot, nothing.

    Every method may raise SQLite's errors: a checkpoint may come between two reads.
    """

    def __init__(self, state_dir: str, with_log: bool = True) -> None:
        self.path = f"{state_dir}/{FILE}"
        self.db: Connection | None = None
        for suffix in SUFFIXES:
            if not is_regular(self.path + suffix):
                raise self._failure("is no regular file")
        if _size(self.path) > 0:
            # Without a log all there is stands in the file.
            self._open("readonly_shm=1" if with_log and _size(f"{self.path}-wal") >= 0 else "immutable=1")

    def _open(self, way: str) -> None:
        place = self.path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        self.db = connect(f"file:{place}?mode=ro&{way}", timeout=0.0, isolation_level=None, uri=True)
        version = self._scalar("PRAGMA user_version")
        ours = self._scalar("PRAGMA application_id") == APPLICATION_ID
        if not ours and (version or self._scalar("SELECT count(*) FROM sqlite_master")):
            raise self._failure("is another program's database; set another stateDir")
        if version == 0:
            self.close()  # a call is just making it
            return
        if version > SCHEMA_VERSION:
            raise self._failure("was written by a newer anypod; install that one again")
        if self._scalar("SELECT value FROM meta WHERE key = 'boot'") != boot_id():
            self.close()

    def close(self) -> None:
        """Closes the file; there is nothing in it from then on."""
        if self.db is not None:
            self.db.close()
        self.db = None

    def _failure(self, why: str) -> CniError:
        return CniError(NOT_AVAILABLE, f"{self.path} {why}")

    def _scalar(self, query: str, values: tuple[object, ...] = ()) -> Any:
        if self.db is None:
            return None
        row = self.db.execute(query, values).fetchone()
        return row[0] if row else None

    def network(self, digest: bytes) -> tuple[str, int, int] | None:
        """See `Store.network`."""
        if self.db is None:
            return None
        query = "SELECT compiled, bridge_index, table_handle FROM network WHERE digest = ?"
        found: tuple[str, int, int] | None = self.db.execute(query, (digest,)).fetchone()
        return found

    def is_used(self, network: str) -> bool:
        """Whether the network has any attachment with a link of ours."""
        query = "SELECT 1 FROM attachment WHERE network = ? AND host_ifname != '' LIMIT 1"
        return bool(self._scalar(query, (network,)))

    def records(self, network: str) -> list[Record]:
        """The network's attachments, for `reclaim.count_gone`."""
        if self.db is None:
            return []
        from cni.reclaim import RECORDS

        return self.db.execute(f"{RECORDS} WHERE network = ?", (network,)).fetchall()

    def exhausted(self, network: Network) -> str:
        """The first range set in which all is held; empty for none, and for an older version's file."""
        if (self._scalar("PRAGMA user_version") or 0) < 2:
            return ""
        for range_set in network.range_sets:
            if all(self._is_full(network.name, one) for one in range_set):
                return ",".join(str(one) for one in range_set)
        return ""

    def _is_full(self, network: str, one: Range) -> bool:
        # Most often a look at the next address that was never given out is enough.
        query = "SELECT next FROM cursor WHERE network = ? AND pool = ?"
        start = self._scalar(query, (network, one.pool))
        if start is None or int.from_bytes(start, "big") <= one.last:
            return False
        first, last = to_bytes(one.first, one.family), to_bytes(one.last, one.family)
        held = self._scalar(
            "SELECT count(*) FROM address WHERE network = ? AND family = ? AND ip BETWEEN ? AND ?"
            " AND container IS NOT NULL AND ip != ?",
            (network, one.family, first, last, to_bytes(one.gateway, one.family)),
        )
        return bool(held >= one.last - one.first + 1 - (one.first <= one.gateway <= one.last))


def failure(path: str, error: Exception) -> CniError:
    """What to answer when the file can't be read, or has values that no plugin wrote."""
    if isinstance(error, DatabaseError) and not is_damage(error):
        return CniError(NOT_AVAILABLE, f"{path} can't be read: {error}; check stateDir and its permissions")
    return CniError(NOT_AVAILABLE, f"{path} is damaged: {error}; the next ADD or DEL sets it aside")


def _size(path: str) -> int:
    try:
        return posix.stat(path).st_size
    except FileNotFoundError:
        return -1
