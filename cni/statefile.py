"""The state file itself: opened, made, emptied after a reboot, brought to this version's form.

SQLite in WAL mode: readers never wait, and a process killed at any instruction leaves
either all of its transaction or nothing of it. The file ends with the boot, as the
pods do: one that an earlier boot left is emptied.
"""

from __future__ import annotations

import posix
import time

from cni.errors import INTERNAL, IO_FAILURE, TRY_AGAIN_LATER, CniError, DamagedError
from cni.filelock import FileLock
from cni.sqlite import Connection, Cursor, DatabaseError, OperationalError, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FILE = "state.db"
SUFFIXES = ("", "-wal", "-shm")
LOCK = "lock"
APPLICATION_ID = 0x616E7970
SCHEMA_VERSION = 3
BUSY_SECONDS = 20.0
# SQLite sleeps in C, where no signal is heard: it waits a little, and we go round.
WAIT_SECONDS = 0.2
BOOT_ID = "/proc/sys/kernel/random/boot_id"
# SQLite's codes for what is not the fault of the file's content: PERM, BUSY, LOCKED, NOMEM, READONLY,
# INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL, NOLFS, AUTH.
_NOT_THE_CONTENT = (3, 5, 6, 7, 8, 9, 10, 13, 14, 15, 22, 23)
SQLITE_IOERR_SHORT_READ = 522
TABLES = ("network", "attachment", "address", "cursor", "tombstone", "element", "vip")

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE network (
    digest BLOB PRIMARY KEY, name TEXT NOT NULL, compiled TEXT NOT NULL,
    bridge_index INTEGER NOT NULL, table_handle INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE attachment (
    container TEXT NOT NULL, ifname TEXT NOT NULL, network TEXT NOT NULL, netns TEXT NOT NULL,
    host_ifname TEXT NOT NULL, created INTEGER NOT NULL,
    netns_inode INTEGER NOT NULL DEFAULT 0, ipam TEXT NOT NULL DEFAULT '',
    pod TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '', PRIMARY KEY (container, ifname)
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
ELEMENTS = """
CREATE TABLE element (
    set_name TEXT NOT NULL, key BLOB NOT NULL, data BLOB NOT NULL,
    container TEXT NOT NULL, ifname TEXT NOT NULL, PRIMARY KEY (set_name, key)
) WITHOUT ROWID;
CREATE INDEX element_holder ON element (container, ifname);
"""
# A virtual IP that an attachment serves: `via` is the pod's own address that it is reached by, `nexthop` the kernel's
# number for that, `health` the compiled health check, empty for none. Written last: the pod's inside stands by then.
VIPS = """
CREATE TABLE vip (
    container TEXT NOT NULL, ifname TEXT NOT NULL, ip BLOB NOT NULL, via BLOB NOT NULL,
    nexthop INTEGER NOT NULL, weight INTEGER NOT NULL, health TEXT NOT NULL, pool TEXT NOT NULL,
    PRIMARY KEY (container, ifname, ip)
) WITHOUT ROWID;
CREATE INDEX vip_ip ON vip (ip);
CREATE INDEX vip_nexthop ON vip (nexthop);
"""
# What an upgrade does to the file of running pods.
_FROM_1 = """
ALTER TABLE attachment ADD COLUMN netns_inode INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attachment ADD COLUMN ipam TEXT NOT NULL DEFAULT '';
ALTER TABLE attachment ADD COLUMN pod TEXT NOT NULL DEFAULT '';
ALTER TABLE attachment ADD COLUMN detail TEXT NOT NULL DEFAULT '';
"""


def now() -> int:
    """Nanoseconds since the boot: a clock that no administrator sets back."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """What tells this boot of the node from the others."""
    # Without a file object, which asks the kernel four things more.
    file = posix.open(BOOT_ID, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.read(file, 64).strip().decode()
    finally:
        posix.close(file)


class StateFile:
    """An open state file, made where there is none. CniError 5 or 11 where that fails."""

    def __init__(self, state_dir: str) -> None:
        self.state_dir = state_dir
        self.path = f"{state_dir}/{FILE}"
        self.lock_path = f"{state_dir}/{LOCK}"
        try:
            for suffix in SUFFIXES:
                # Opened, a FIFO or a link would hang us, or lead out of the directory.
                if not is_regular(self.path + suffix):
                    raise DamagedError(IO_FAILURE, f"{self.path}{suffix} is no regular file; move it away")
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
            if not self._is_ours() or self._boot() != boot_id():
                with FileLock(self.lock_path, BUSY_SECONDS):
                    self._prepare()
            self.execute("PRAGMA synchronous=OFF")
            self._inode = posix.stat(self.path).st_ino
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
        if not is_damage(error):
            return CniError(
                IO_FAILURE, f"{self.path}: {text}; check stateDir, its permissions and the space left"
            )
        return DamagedError(IO_FAILURE, f"{self.path} is damaged: {text}")

    def execute(self, query: str, values: Sequence[object] = ()) -> Cursor:
        """Runs one statement; CniError 5 or 11 where SQLite refuses."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return self.db.execute(query, values)
            except DatabaseError as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    failure = self.failure(error)
                    if isinstance(failure, DamagedError):
                        self._let_go()
                    raise failure from None

    def _let_go(self) -> None:
        """Ends the transaction: who mends the file waits for its lock, even in this process."""
        try:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
        except DatabaseError:
            self.close()

    def _scalar(self, query: str, values: Sequence[object] = ()) -> Any:
        row = self.execute(query, values).fetchone()
        return row[0] if row else None

    def _boot(self) -> str | None:
        found: str | None = self._scalar("SELECT value FROM meta WHERE key = 'boot'")
        return found

    def _is_ours(self) -> bool:
        version = self._scalar("PRAGMA user_version")
        return bool(version == SCHEMA_VERSION and self._scalar("PRAGMA application_id") == APPLICATION_ID)

    def _prepare(self) -> None:
        """Makes the tables in a new file, brings an older one to this form, empties that of an earlier boot."""
        version = self._scalar("PRAGMA user_version")
        foreign = self._scalar("PRAGMA application_id") != APPLICATION_ID
        if foreign and (version or self._scalar("SELECT count(*) FROM sqlite_master")):
            raise CniError(IO_FAILURE, f"{self.path} is another program's database; set another stateDir")
        if version > SCHEMA_VERSION:
            raise CniError(
                INTERNAL,
                f"{self.path} has version {version} and this anypod knows {SCHEMA_VERSION}; "
                "it was downgraded: install the newer one again, or move the file away when no pod runs",
            )
        if version == 0:
            self._let_speaker_read()
            self.execute("PRAGMA journal_mode=WAL")
            self._script(f"{SCHEMA} {ELEMENTS} {VIPS} PRAGMA application_id={APPLICATION_ID};")
        elif version == 1:
            self._script(f"{_FROM_1} {ELEMENTS} {VIPS}")
        elif version == 2:
            self._script(VIPS)
        boot = self._boot()
        if boot != boot_id():
            self.begin()
            for table in TABLES:
                self.execute(f"DELETE FROM {table}")  # noqa: S608 - the names stand above
            if boot is None:
                # A new file. Pods may run all the same: somebody removed the old one, or it was damaged.
                from cni.rebuild import restore

                restore(self)
            self.execute("INSERT OR REPLACE INTO meta VALUES ('boot', ?)", (boot_id(),))
            self.commit()

    def _let_speaker_read(self) -> None:
        """Of a directory that is a group's, the group reads the file: the speaker may run as a user of its own."""
        group = posix.stat(self.state_dir).st_gid
        if group and group != posix.stat(self.path).st_gid:
            posix.chown(self.path, -1, group)
        posix.chmod(self.path, 0o640 if group else 0o600)

    def _script(self, statements: str) -> None:
        self.db.executescript(f"BEGIN IMMEDIATE; {statements} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")

    def begin(self) -> None:
        """Takes the write lock; CniError 11 when others hold it for too long."""
        self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Makes the transaction's writes stand, all at once."""
        self.execute("COMMIT")

    def check_in_place(self) -> None:
        """DamagedError where the file was set aside or removed since it was opened: who reads it next does not
        see what was written here."""
        try:
            found = posix.stat(self.path).st_ino
        except OSError:
            found = 0
        if found != self._inode:
            raise DamagedError(TRY_AGAIN_LATER, f"{self.path} was taken away during this call; try again")

    def rollback(self) -> None:
        """Forgets what an open transaction wrote; without one, nothing happens."""
        if self.db.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        """Ends the connection, and with it whatever transaction is still open."""
        self.db.close()


def is_damage(error: DatabaseError) -> bool:
    """Whether the content is to blame, and not the disk, the permissions, or another call's lock."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code == SQLITE_IOERR_SHORT_READ or code & 0xFF not in _NOT_THE_CONTENT


def is_regular(path: str) -> bool:
    """Whether a regular file is there, or nothing."""
    try:
        return posix.lstat(path).st_mode & 0o170000 == 0o100000
    except FileNotFoundError:
        return True


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
