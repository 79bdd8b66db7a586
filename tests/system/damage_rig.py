"""Ways to damage a state file, and a node with two pods to try them on."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any

from tests.system.conformance_rig import refused
from tests.system.leak_rig import WHOLE, conf, names, rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.plugin_node import Answer, Node

ASIDE = "state.db.damaged-"


def bare(state: Path) -> Path:
    """The file alone, with all that its log held."""
    file = state / "state.db"
    db = sqlite3.connect(file)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    for suffix in ("-wal", "-shm"):
        (state / f"state.db{suffix}").unlink(missing_ok=True)
    return file


def garbage(state: Path) -> None:
    bare(state).write_bytes(b"garbage" * 5000)


def zeros_in_the_middle(state: Path) -> None:
    file = bare(state)
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + bytes(len(whole) - 8192) + whole[-4096:])


def cut_off(state: Path) -> None:
    file = bare(state)
    os.truncate(file, file.stat().st_size // 2)


def without_tables(state: Path) -> None:
    execute(state, "DROP TABLE address", "DROP TABLE tombstone")


def without_a_column(state: Path) -> None:
    execute(state, "ALTER TABLE attachment RENAME COLUMN ipam TO given_by")


def without_a_schema(state: Path) -> None:
    execute(state, "PRAGMA writable_schema=ON", "UPDATE sqlite_master SET sql = 'nothing'")


def huge_garbage(state: Path) -> None:
    garbage(state)
    os.truncate(state / "state.db", 1 << 40)


def a_directory(state: Path) -> None:
    bare(state).unlink()
    (state / "state.db" / "inside").mkdir(parents=True)


def a_fifo(state: Path) -> None:
    bare(state).unlink()
    os.mkfifo(state / "state.db")


def a_link(state: Path) -> None:
    """To a file outside, which nobody must change."""
    file = bare(state)
    outside = state.parent / "outside"
    file.rename(outside)
    file.symlink_to(outside)


def a_directory_for_the_log(state: Path) -> None:
    bare(state)
    (state / "state.db-wal").mkdir()


def a_link_for_the_index(state: Path) -> None:
    bare(state)
    outside = state.parent / "outside"
    outside.write_bytes(b"precious")
    (state / "state.db-shm").symlink_to(outside)


def execute(state: Path, *statements: str) -> None:
    db = sqlite3.connect(state / "state.db", isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()


DAMAGES = [
    garbage,
    zeros_in_the_middle,
    cut_off,
    without_tables,
    without_a_column,
    without_a_schema,
    huge_garbage,
    a_directory,
    a_fifo,
    a_link,
    a_directory_for_the_log,
    a_link_for_the_index,
]
# What does not hinder a call that only looks whether an ADD could be served.
UNSEEN_BY_STATUS = (without_tables, without_a_column)


class Scene:
    """A node with two pods, one with something of everything, and what is told of them."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.conf = conf(node, **WHOLE)
        self.pods = [node.pod(), node.pod()]
        self.results = [
            node.add("c0", self.pods[0], self.conf),
            node.add("c1", self.pods[1], conf(node, macspoofchk=True)),
        ]
        self.held = node.held()
        self.elements = self._elements()

    def _elements(self) -> list[tuple[Any, ...]]:
        return rows(self.node, "SELECT set_name, key, data, container FROM element ORDER BY set_name, key")

    def untouched(self) -> None:
        """The pods are as they were, and the file knows them."""
        assert self.node.held() == self.held
        assert self._elements() == self.elements
        for pod in self.pods:
            assert self.node.links(pod) == {"lo", "eth0"}

    def outside(self) -> bytes:
        """What a link in the state directory leads to."""
        path = self.node.state.parent / "outside"
        return path.read_bytes() if path.exists() else b""


def aside(node: Node) -> set[str]:
    """The files that were set aside, without what SQLite keeps beside them."""
    return {name for name in names(node.state) if name.startswith(ASIDE) and name.count("-") == 1}


def set_aside_and_told(node: Node, answer: Answer, count: int) -> None:
    told = refused(answer, 11, f"is set aside as {ASIDE}1")
    assert f"with {count} attachment" in told["msg"]
    assert aside(node) == {f"{ASIDE}1"}
