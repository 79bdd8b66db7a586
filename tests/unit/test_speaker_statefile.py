"""Following the state file: it appears, changes, is replaced, breaks and heals."""

from __future__ import annotations

import io
import os
import sqlite3
from contextlib import closing
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from cni.allocation import Allocation
from cni.network import PodAddress, Range
from cni.reader import StateReader
from cni.statefile import now
from cni.store import Store
from speaker import log
from speaker.statefile import Pods

if TYPE_CHECKING:
    from pathlib import Path

RANGE = Range(4, 0x0A010000, 24, 0x0A010001, 0x0A0100FE, 0x0A010001)


def attach(directory: Path, container: str, last: int) -> None:
    store = Store(str(directory))
    store.begin()
    store.attach(Allocation("pods", container, "eth0", "/run/netns/x", f"host-{container}", ()), now())
    store.hold("pods", PodAddress(bytes([10, 1, 0, last]), 24, b""), RANGE.pool, (container, "eth0"))
    store.commit()
    store.close()


def test_follows_a_directory_that_does_not_exist_yet(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    pods = Pods(StateReader(str(directory)))
    assert not pods.known
    assert pods.poll()
    assert (pods.known, pods.addresses) == (True, frozenset())
    assert not pods.poll()
    attach(directory, "a", 7)
    assert pods.poll()
    assert pods.addresses == {ip_address("10.1.0.7")}
    assert not pods.poll()
    assert not pods.poll(force=True)


def test_follows_a_replaced_file_and_takes_a_removed_one_for_no_word_of_pods(tmp_path: Path) -> None:
    attach(tmp_path / "one", "a", 7)
    attach(tmp_path / "two", "b", 8)
    pods = Pods(StateReader(str(tmp_path / "one")))
    assert pods.poll()
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (tmp_path / "one" / name).unlink(missing_ok=True)
        if (tmp_path / "two" / name).exists():
            (tmp_path / "two" / name).rename(tmp_path / "one" / name)
    assert pods.poll()
    assert pods.addresses == {ip_address("10.1.0.8")}
    (tmp_path / "one" / "state.db").unlink()
    assert not pods.poll()
    assert pods.addresses == {ip_address("10.1.0.8")}
    attach(tmp_path / "one", "c", 9)
    assert pods.poll()
    assert pods.addresses == {ip_address("10.1.0.9")}


@pytest.mark.parametrize("step", ["made", "its tables stand"])
def test_a_file_that_a_plugin_is_just_making_says_nothing_of_pods(tmp_path: Path, step: str) -> None:
    attach(tmp_path, "a", 7)
    pods = Pods(StateReader(str(tmp_path)))
    pods.poll()
    for path in tmp_path.glob("state.db*"):
        path.unlink()
    (tmp_path / "state.db").touch()
    if step != "made":
        Store(str(tmp_path)).close()
        with closing(sqlite3.connect(tmp_path / "state.db")) as db, db:
            db.execute("DELETE FROM meta WHERE key = 'boot'")
    assert not pods.poll(force=True)
    assert pods.addresses == {ip_address("10.1.0.7")}


def test_an_unreadable_file_keeps_the_last_addresses_and_is_told_once(tmp_path: Path) -> None:
    stream = io.StringIO()
    log.set_up("info", stream)
    attach(tmp_path, "a", 7)
    pods = Pods(StateReader(str(tmp_path)))
    pods.poll()
    good = (tmp_path / "state.db").read_bytes()
    for name in ("state.db-wal", "state.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "state.db").write_bytes(b"no database " * 1000)
    assert not pods.poll()
    assert not pods.poll()
    assert pods.addresses == {ip_address("10.1.0.7")}
    (tmp_path / "state.db").write_bytes(good)
    assert not pods.poll()
    events = [line.split(" ", 2)[2] for line in stream.getvalue().splitlines()]
    assert [text.split('"')[1] for text in events] == ["state file unreadable", "state file readable again"]
    assert "addresses_kept=1" in events[0]


def test_without_a_reader_nothing_is_followed() -> None:
    pods = Pods(None)
    assert not pods.poll(force=True)
    assert pods.addresses == frozenset()


def test_a_file_that_was_never_readable_says_nothing_of_what_pods_hold(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"garbage" * 1000)
    pods = Pods(StateReader(str(tmp_path)))
    assert not pods.poll()
    assert not pods.known
    (tmp_path / "state.db").unlink()
    assert pods.poll()
    assert pods.known


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_fifo_is_an_unreadable_file_and_hangs_nobody(tmp_path: Path, suffix: str) -> None:
    attach(tmp_path, "a", 7)
    pods = Pods(StateReader(str(tmp_path)))
    pods.poll()
    (tmp_path / f"state.db{suffix}").unlink(missing_ok=True)
    os.mkfifo(tmp_path / f"state.db{suffix}")
    assert not pods.poll()
    assert pods.addresses == {ip_address("10.1.0.7")}


def test_values_that_no_plugin_wrote_are_an_unreadable_file_and_no_crash(tmp_path: Path) -> None:
    attach(tmp_path, "a", 7)
    pods = Pods(StateReader(str(tmp_path)))
    pods.poll()
    store = Store(str(tmp_path))
    store.execute("UPDATE address SET ip = x'0102'")
    store.close()
    assert not pods.poll()
    assert pods.addresses == {ip_address("10.1.0.7")}


def test_content_that_its_stamp_hides_is_seen_when_it_is_looked_at_by_force(tmp_path: Path) -> None:
    attach(tmp_path, "a", 7)
    reader = StateReader(str(tmp_path))
    stamp = reader.stamp()
    reader.stamp = lambda: stamp  # type: ignore[method-assign]
    pods = Pods(reader)
    assert pods.poll()
    assert not pods.poll(force=True)
    attach(tmp_path, "b", 8)
    assert not pods.poll()
    assert pods.poll(force=True)
    assert len(pods.addresses) == 2
    assert not pods.poll(force=True)
