"""Is a state file one? What SQLite and the schema say of it, and whether each value is what it must be."""

from __future__ import annotations

import posix
from typing import TYPE_CHECKING, Any

from cni.elements import FAMILIES
from cni.errors import IO_FAILURE, CniError
from cni.healthcheck import load as load_check
from cni.jsonio import parse
from cni.network import load, packed
from cni.pools import load as load_pools
from cni.spec import is_identifier, is_ifname
from cni.sqlite import Connection, DatabaseError, connect
from cni.statefile import (
    APPLICATION_ID,
    ELEMENTS,
    SCHEMA,
    SCHEMA_VERSION,
    SUFFIXES,
    VIPS,
    is_damage,
    is_regular,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUSY_SECONDS = 5.0
HEADER = 100
MAGIC = b"SQLite format 3\0"
# A table's columns and the types of their values.
Columns = dict[str, dict[str, tuple[str, ...]]]
# What earlier versions did not have: columns of a table, or None for all of it.
_SINCE: dict[int, dict[str, set[str] | None]] = {
    2: {"attachment": {"netns_inode", "ipam", "pod", "detail"}, "element": None},
    3: {"vip": None},
}
# The values of a row that the types alone do not tell.
_RULES = {
    "address": "length(ip) != CASE family WHEN 4 THEN 4 WHEN 6 THEN 16 ELSE -1 END"
    " OR prefixlen NOT BETWEEN 0 AND 8 * length(ip)",
    "cursor": "length(next) NOT IN (4, 16)",
    "vip": "length(ip) NOT IN (4, 16) OR length(via) NOT IN (4, 16) OR nexthop NOT BETWEEN 1 AND 4294967295"
    " OR weight NOT BETWEEN 1 AND 100",
}


def examine(path: str) -> str:
    """What is wrong with the state file, empty for nothing. CniError 5 where it is another program's.

    Where the disk or the permissions don't let us look, CniError 5, too: no reason to part with the file.
    """
    for suffix in SUFFIXES:
        if not is_regular(path + suffix):
            return f"{path}{suffix} is no regular file"
    if _mark(path) not in (0, APPLICATION_ID):
        # Counts also where that program's file is damaged.
        raise _foreign(path)
    try:
        db = connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            return next(_flaws(db, path), "")
        finally:
            db.close()
    except ValueError as error:
        return str(error)  # of names that are no UTF-8, not even as part of SQLite's own message
    except DatabaseError as error:
        if is_damage(error):
            return str(error)
        raise CniError(
            IO_FAILURE, f"{path}: {error}; check stateDir, its permissions and the space left"
        ) from None


def _mark(path: str) -> int:
    """The application id in the file's header, 0 where it has none."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        header = posix.read(fd, HEADER)
    finally:
        posix.close(fd)
    return int.from_bytes(header[68:72], "big") if header.startswith(MAGIC) else 0


def _foreign(path: str) -> CniError:
    return CniError(IO_FAILURE, f"{path} is another program's database; set another stateDir")


def _flaws(db: Connection, path: str) -> Iterator[str]:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    found = _columns(db)
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        if found:
            raise _foreign(path)
        return  # empty: the next call makes it
    if not 0 < version <= SCHEMA_VERSION:
        if version == 0:
            yield "it has our mark and no version"
        return
    told = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if told != "ok":
        yield str(told)
    for table, columns in _expected(version).items():
        if found.get(table, {}).keys() != columns.keys():
            yield f"table {table} is not as it was made"
        yield from _wrong_types(db, table, columns)
        # Text that is no UTF-8 is found when it is read.
        for _ in db.execute(f"SELECT * FROM {table}"):  # noqa: S608 - our own names
            continue
    yield from _wrong_texts(db, version)


def _columns(db: Connection) -> Columns:
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name: _types(db, name) for (name,) in tables}


def _types(db: Connection, table: str) -> dict[str, tuple[str, ...]]:
    found = db.execute('SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (table,)).fetchall()
    return {
        name: (kind.lower(),) if required or key else (kind.lower(), "null")
        for name, kind, required, key in found
    }


def _expected(version: int) -> Columns:
    """The tables as this program makes them, without what that version did not have."""
    db = connect(":memory:", isolation_level=None)
    try:
        db.executescript(SCHEMA + ELEMENTS + VIPS)
        made = _columns(db)
    finally:
        db.close()
    later = [item for since, tables in _SINCE.items() if version < since for item in tables.items()]
    for table, columns in later:
        if columns is None:
            del made[table]
        else:
            made[table] = {name: types for name, types in made[table].items() if name not in columns}
    return made


def _wrong_types(db: Connection, table: str, columns: dict[str, tuple[str, ...]]) -> Iterator[str]:
    tests = []
    for name, types in columns.items():
        listed = ", ".join(f"'{one}'" for one in types)
        tests.append(f"typeof({name}) NOT IN ({listed})")
    if table in _RULES:
        tests.append(_RULES[table])
    # The names and types are those of our own schema.
    query = f"SELECT count(*) FROM {table} WHERE {' OR '.join(tests)}"  # noqa: S608
    count = db.execute(query).fetchone()[0]
    if count:
        yield f"table {table} has {count} rows with values of the wrong type"


def _wrong_texts(db: Connection, version: int) -> Iterator[str]:
    """Names and compiled forms: they become parts of commands and messages to the kernel."""
    for container, ifname, network, netns in db.execute(
        "SELECT container, ifname, network, netns FROM attachment"
    ):
        if not (is_identifier(container) and is_ifname(ifname) and is_identifier(network)) or "\0" in netns:
            yield f"an attachment has the name {ascii(container)[:80]}/{ascii(ifname)[:80]}"
    for since, query, reads, what in _READ_BY:
        for (text,) in db.execute(query) if version >= since else ():
            if not reads(text):
                yield f"{what} can't be read: {ascii(text)[:80]}"


def _parsed(text: str) -> Any:
    try:
        return parse(text)
    except CniError:
        return None


def _is_detail(text: str) -> bool:
    found = _parsed(text)
    try:
        return isinstance(found, dict) and all(packed(vip) for vip in found.get("vips", ()))
    except (TypeError, ValueError):
        return False


def _is_check(health: str) -> bool:
    try:
        load_check(_parsed(health))
    except (TypeError, ValueError):
        return False
    return True


def _reads(compiled: str) -> bool:
    try:
        network = load(_parsed(compiled))
        if network.anycast is not None:
            load_pools(network.anycast)
    except (TypeError, ValueError, AttributeError, KeyError):
        return False
    return True


# Texts that have a form of their own: the version that first had them, and what reads them.
_READ_BY: tuple[tuple[int, str, Callable[[str], bool], str], ...] = (
    (1, "SELECT compiled FROM network", _reads, "the compiled form of a network"),
    (2, "SELECT detail FROM attachment WHERE detail != ''", _is_detail, "the details of an attachment"),
    (2, "SELECT DISTINCT set_name FROM element", FAMILIES.__contains__, "the set of an element"),
    (3, "SELECT DISTINCT health FROM vip WHERE health != ''", _is_check, "the health check of a virtual IP"),
)
