"""Damage done to a state directory: by a disk, by another program, by a hand."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from random import Random
from typing import TYPE_CHECKING, Any

from tests.system import fuzz_values

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("state.db", "state.db-wal", "state.db-shm", "lock", "node.lock", "speaker/speaker.json")


def damage(seed: int, state: Path) -> str:
    """Does one thing to the state directory; what it was."""
    rng = Random(seed)  # noqa: S311 - a fuzzer wants to repeat itself
    if rng.random() < 0.45:
        return _change_values(rng, state)
    path = state / rng.choice(FILES[:1] * 6 + FILES)
    way = rng.choice(
        (_flip, _flip, _flip, _cut, _junk, _empty, _folder, _fifo, _link, _loop, _foreign, _gone)
    )
    path.parent.mkdir(exist_ok=True)
    way(rng, path)
    return f"{way.__name__[1:]} {path.name}"


def _content(path: Path) -> bytearray:
    return bytearray(path.read_bytes()) if path.is_file() else bytearray()


def _flip(rng: Random, path: Path) -> None:
    content = _content(path)
    for _ in range(rng.choice((1, 4, 64)) if content else 0):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _cut(rng: Random, path: Path) -> None:
    content = _content(path)
    path.write_bytes(content[: rng.randrange(len(content) + 1)])


def _junk(rng: Random, path: Path) -> None:
    path.write_bytes(rng.randbytes(rng.choice((1, 99, 4096, 100_000))))


def _empty(_: Random, path: Path) -> None:
    path.write_bytes(b"")


def _away(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _folder(_: Random, path: Path) -> None:
    _away(path)
    path.mkdir()


def _fifo(_: Random, path: Path) -> None:
    _away(path)
    os.mkfifo(path)


def _link(_: Random, path: Path) -> None:
    _away(path)
    path.symlink_to("/dev/null")


def _loop(_: Random, path: Path) -> None:
    _away(path)
    path.symlink_to(path.name)


def _gone(_: Random, path: Path) -> None:
    _away(path)


def _foreign(_: Random, path: Path) -> None:
    _away(path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE TABLE people (name TEXT); INSERT INTO people VALUES ('somebody');")


def _value(rng: Random) -> Any:
    found = fuzz_values.wrong(rng)
    if isinstance(found, int) and not -(2**63) <= found < 2**63:
        return float(found) if abs(found) < 2**1000 else None
    if isinstance(found, str):
        return found.encode("utf-8", "surrogatepass") if rng.random() < 0.3 else found.replace("\ud800", "?")
    return found if isinstance(found, (int, float, type(None))) else rng.randbytes(rng.randrange(20))


def _change_values(rng: Random, state: Path) -> str:
    """Values that no plugin wrote, in a database that is in order."""
    path = state / "state.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kind = rng.random()
        if kind < 0.1 or not tables:
            db.execute(f"PRAGMA user_version={rng.choice((0, 1, 2, 3, 99, -1))}")
            return "another user_version"
        if kind < 0.15:
            db.execute(f"PRAGMA application_id={rng.choice((0, 1, 2**31 - 1))}")
            return "another application_id"
        table = rng.choice(tables)
        if kind < 0.3:
            db.execute(f"DROP TABLE {table}")
            return f"no table {table}"
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        column = rng.choice(columns)
        try:
            db.execute("PRAGMA ignore_check_constraints=ON")
            db.execute(f"UPDATE OR REPLACE {table} SET {column} = ?", (_value(rng),))  # noqa: S608
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            return f"{table}.{column} resisted: {error}"
        return f"{table}.{column} changed"
