"""The state file: which attachment holds which addresses. The plugin writes it, the speaker reads it.

SQLite in WAL mode: readers never wait, and a process killed at any instruction leaves
either all of its transaction or nothing of it. The file ends with the boot, as the
pods do: one that an earlier boot left is emptied.
"""

from __future__ import annotations

import posix
import time

from cni.allocation import fetch
from cni.errors import ALREADY_ATTACHED, INTERNAL, IO_FAILURE, TRY_AGAIN_LATER, UNKNOWN_CONTAINER, CniError
from cni.filelock import FileLock
from cni.sqlite import Connection, Cursor, DatabaseError, OperationalError, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cni.allocation import Allocation
    from cni.network import Range

FILE = "state.db"
LOCK = "lock"
APPLICATION_ID = 0x616E7970
SCHEMA_VERSION = 1
BUSY_SECONDS = 20.0
# SQLite sleeps in C, where no signal is heard: it waits a little, and we go round.
WAIT_SECONDS = 0.2
TOMBSTONE_SECONDS = 600
BOOT_ID = "/proc/sys/kernel/random/boot_id"

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE network (
    digest BLOB PRIMARY KEY, name TEXT NOT NULL, compiled TEXT NOT NULL,
    bridge_index INTEGER NOT NULL, table_handle INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE attachment (
    container TEXT NOT NULL, ifname TEXT NOT NULL, network TEXT NOT NULL, netns TEXT NOT NULL,
    host_ifname TEXT NOT NULL, created INTEGER NOT NULL, PRIMARY KEY (container, ifname)
) WITHOUT ROWID;
CREATE TABLE address (
    network TEXT NOT NULL, family INTEGER NOT NULL, ip BLOB NOT NULL, prefixlen INTEGER NOT NULL,
    pool TEXT NOT NULL, container TEXT, ifname TEXT, released INTEGER,
    PRIMARY KEY (network, family, ip), CHECK ((container IS NULL) = (released IS NOT NULL))
) WITHOUT ROWID;
CREATE INDEX address_holder ON address (container, ifname) WHERE container IS NOT NULL;
CREATE INDEX address_released ON address (network, pool, released) WHERE released IS NOT NULL;
CREATE TABLE cursor (network TEXT, pool TEXT, next BLOB NOT NULL, PRIMARY KEY (network, pool)) WITHOUT ROWID;
CREATE TABLE tombstone (
    container TEXT NOT NULL, ifname TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (container, ifname)
) WITHOUT ROWID;
CREATE INDEX tombstone_at ON tombstone (at);
"""


def now() -> int:
    """Nanoseconds since the boot: a clock that no administrator sets back."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _boot_id() -> str:
    with open(BOOT_ID, encoding="ascii") as file:
        return file.read().strip()


class Store:
    """The plugin's side of the state file, made where there is none. CniError 5 or 11 where that fails."""

    def __init__(self, state_dir: str) -> None:
        self.path = f"{state_dir}/{FILE}"
        self.lock_path = f"{state_dir}/{LOCK}"
        # Whether `attach` got through: from then on there may be something to take back.
        self.recorded = False
        try:
            if not _exists(self.path):
                _make_directory(state_dir)
            self._open()
        except OSError as error:
            raise CniError(
                IO_FAILURE,
                f"stateDir {state_dir} can't be used: {error.strerror}; see to it, or set another stateDir",
            ) from None

    def _open(self) -> None:
        try:
            self.db: Connection = connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)
        except DatabaseError as error:
            raise self.failure(error) from None
        try:
            if self._scalar("PRAGMA user_version") != SCHEMA_VERSION or self._boot() != _boot_id():
                with FileLock(self.lock_path, BUSY_SECONDS):
                    self._prepare()
            self.execute("PRAGMA synchronous=OFF")
        except DatabaseError as error:
            self.close()
            raise self.failure(error) from None
        except BaseException:
            self.close()
            raise

    def failure(self, error: DatabaseError) -> CniError:
        """What to answer when SQLite refuses."""
        text = str(error)
        if _is_busy(error):
            return CniError(
                TRY_AGAIN_LATER, f"{self.path} was locked for {BUSY_SECONDS:.0f} s; try again later"
            )
        if isinstance(error, OperationalError):
            return CniError(
                IO_FAILURE, f"{self.path}: {text}; check stateDir, its permissions and the space left"
            )
        return CniError(
            IO_FAILURE, f"{self.path} is no state file of anypod: {text}; move it away and try again"
        )

    def execute(self, query: str, values: Sequence[object] = ()) -> Cursor:
        """Runs one statement; CniError 5 or 11 where SQLite refuses."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return self.db.execute(query, values)
            except DatabaseError as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise self.failure(error) from None

    def _scalar(self, query: str, values: Sequence[object] = ()) -> Any:
        row = self.execute(query, values).fetchone()
        return row[0] if row else None

    def _boot(self) -> str | None:
        found: str | None = self._scalar("SELECT value FROM meta WHERE key = 'boot'")
        return found

    def _prepare(self) -> None:
        """Makes the tables in a new file, empties those of an earlier boot. The lock is held."""
        version = self._scalar("PRAGMA user_version")
        if version not in (0, SCHEMA_VERSION):
            raise CniError(
                INTERNAL,
                f"{self.path} has version {version} and this anypod knows {SCHEMA_VERSION}; "
                "it was downgraded: install the newer one again, or move the file away when no pod runs",
            )
        foreign = self._scalar("PRAGMA application_id") != APPLICATION_ID
        if foreign and (version or self._scalar("SELECT count(*) FROM sqlite_master")):
            raise CniError(IO_FAILURE, f"{self.path} is another program's database; set another stateDir")
        if version == 0:
            posix.chmod(self.path, 0o600)
            self.execute("PRAGMA journal_mode=WAL")
            script = f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION};"
            self.db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {script} COMMIT;")
        if self._boot() != _boot_id():
            self.execute("BEGIN IMMEDIATE")
            for table in ("network", "attachment", "address", "cursor", "tombstone"):
                self.execute(f"DELETE FROM {table}")  # noqa: S608 - the names stand in the line above
            self.execute("INSERT OR REPLACE INTO meta VALUES ('boot', ?)", (_boot_id(),))
            self.execute("COMMIT")

    def close(self) -> None:
        """Ends the connection, and with it whatever transaction is still open."""
        self.db.close()

    def network(self, digest: bytes) -> tuple[str, int, int] | None:
        """What is remembered of a valid netconf: compiled form, index of the bridge, handle of the table."""
        found: tuple[str, int, int] | None = self.execute(
            "SELECT compiled, bridge_index, table_handle FROM network WHERE digest = ?", (digest,)
        ).fetchone()
        return found

    def remember_network(
        self, digest: bytes, name: str, compiled: str, bridge_index: int, table_handle: int
    ) -> None:
        """Spares the next call the schema and the node's set-up, while bridge and table are the same."""
        row = (digest, name, compiled, bridge_index, table_handle)
        self.execute("INSERT OR REPLACE INTO network VALUES (?, ?, ?, ?, ?)", row)

    def begin(self) -> None:
        """Takes the write lock; CniError 11 when others hold it for too long."""
        self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Makes the transaction's writes stand, all at once."""
        self.execute("COMMIT")

    def attach(self, allocation: Allocation, started: int) -> None:
        """Records a new attachment. CniError 3 where a DEL came since `started`, 101 where it stands already."""
        owner = (allocation.container, allocation.ifname)
        found = self.execute(
            "SELECT network FROM attachment WHERE container = ? AND ifname = ?", owner
        ).fetchone()
        if found:
            raise CniError(
                ALREADY_ATTACHED,
                f"container {owner[0]} has {owner[1]} in network {found[0]!r} already; run DEL first",
            )
        deleted = self._scalar("SELECT at FROM tombstone WHERE container = ? AND ifname = ?", owner)
        if deleted is not None and deleted > started:
            raise CniError(
                UNKNOWN_CONTAINER, f"container {owner[0]} was deleted (DEL {owner[1]}) during this ADD"
            )
        self.execute(
            "INSERT INTO attachment VALUES (?, ?, ?, ?, ?, ?)",
            (*owner, allocation.network, allocation.netns, allocation.host_ifname, started),
        )
        self.recorded = True

    def hold(self, network: str, one: Range, ip: bytes, owner: tuple[str, str]) -> None:
        """Gives an address to an attachment."""
        self.execute(
            "INSERT OR REPLACE INTO address VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
            (network, one.family, ip, one.prefixlen, one.pool, *owner),
        )

    def stands(self, container: str, ifname: str, started: int) -> bool:
        """Whether the record of the ADD that began at `started` is there: no DEL took it away since."""
        query = "SELECT 1 FROM attachment WHERE container = ? AND ifname = ? AND created = ?"
        return bool(self._scalar(query, (container, ifname, started)))

    def withdraw(self, container: str, ifname: str, started: int) -> None:
        """Takes back what the ADD that began at `started` recorded, committed or not, and no other's."""
        if self.db.in_transaction:
            self.execute("ROLLBACK")
        self.begin()
        if self.stands(container, ifname, started):
            self._release(container, ifname)
        self.commit()

    def release(self, container: str, ifname: str) -> None:
        """DEL: forgets the attachment, queues its addresses, and leaves word for an ADD still on its way."""
        self.begin()
        self._release(container, ifname)
        self.execute("INSERT OR REPLACE INTO tombstone VALUES (?, ?, ?)", (container, ifname, now()))
        self.execute("DELETE FROM tombstone WHERE at < ?", (now() - TOMBSTONE_SECONDS * 10**9,))
        self.commit()

    def _release(self, container: str, ifname: str) -> None:
        owner = (container, ifname)
        self.execute("DELETE FROM attachment WHERE container = ? AND ifname = ?", owner)
        self.execute(
            "UPDATE address SET container = NULL, ifname = NULL, released = ?"
            " WHERE container = ? AND ifname = ?",
            (now(), *owner),
        )

    def allocation(self, container: str, ifname: str) -> Allocation | None:
        """The attachment with its addresses."""
        found = fetch(self.db, "WHERE a.container = ? AND a.ifname = ?", (container, ifname))
        return found[0] if found else None


def _is_busy(error: DatabaseError) -> bool:
    text = str(error)
    return isinstance(error, OperationalError) and ("locked" in text or "busy" in text)


def _exists(path: str) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def _make_directory(path: str) -> None:
    parent = path.rpartition("/")[0]
    if parent and not _exists(parent):
        _make_directory(parent)
    try:
        posix.mkdir(path, 0o700)
    except FileExistsError:
        return  # by another call, just now
