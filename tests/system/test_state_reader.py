"""The state file read by a user who may only read it, while the plugin writes."""

from __future__ import annotations

import multiprocessing
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cni.allocation import Allocation
from cni.network import PodAddress, Range
from cni.reader import StateReader
from cni.statefile import now
from cni.store import Store
from speaker.statefile import Pods

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534
POOL = Range(4, 0x0A010000, 16, 0x0A010001, 0x0A01FFFE, 0x0A010001)
OTHER = Range(4, 0x0A020000, 16, 0x0A020001, 0x0A02FFFE, 0x0A020001)
SECONDS = 3.0
PODS = 40


@pytest.fixture
def directory() -> Iterator[Path]:
    """As the unit makes it: root's, and a group's that may look into it."""
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o711)
        made = Path(above) / "state"
        made.mkdir()
        os.chown(made, 0, NOBODY)
        made.chmod(0o750)
        yield made


def attach(directory: Path, number: int) -> None:
    """A pod with two addresses, in one transaction; the pod of PODS calls before goes in another."""
    store = Store(str(directory))
    store.begin()
    store.attach(Allocation("pods", f"c{number}", "eth0", "/run/netns/x", f"host{number}", ()), now())
    tail = (number % 65000 + 1).to_bytes(2, "big")
    for net, pool in ((b"\x0a\x01", POOL), (b"\x0a\x02", OTHER)):
        store.hold("pods", PodAddress(net + tail, 16, b""), pool.pool, (f"c{number}", "eth0"))
    store.commit()
    if number >= PODS:
        store.release(f"c{number - PODS}", "eth0", lambda _: None)
    store.close()


def as_nobody(work: Callable[[], None]) -> int:
    """Runs it in a process of another user; its exit status."""

    def drop_and_work() -> None:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        work()

    process = multiprocessing.get_context("fork").Process(target=drop_and_work)
    process.start()
    process.join(SECONDS + 30)
    assert process.exitcode is not None
    return process.exitcode


def test_what_the_plugin_makes_is_readable_for_the_directorys_group(directory: Path) -> None:
    attach(directory, 0)
    found = (directory / "state.db").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, NOBODY, 0o640)

    def read() -> None:
        assert [one.container for one in StateReader(str(directory)).allocations()] == ["c0"]
        with pytest.raises(PermissionError):
            (directory / "state.db").open("ab")

    assert as_nobody(read) == 0


def test_a_write_ahead_log_is_read_too(directory: Path) -> None:
    attach(directory, 0)
    store = Store(str(directory))
    try:
        attach(directory, 1)
        for suffix in ("-wal", "-shm"):
            found = (directory / f"state.db{suffix}").stat()
            assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (NOBODY, 0o640)

        def read() -> None:
            assert len(StateReader(str(directory)).allocations()) == 2

        assert as_nobody(read) == 0
    finally:
        store.close()


def test_a_log_that_a_killed_plugin_left_is_read(directory: Path) -> None:
    attach(directory, 0)

    def write_and_die() -> None:
        store = Store(str(directory))
        attach(directory, 1)
        store.begin()
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=write_and_die)
    process.start()
    process.join(20)
    assert (directory / "state.db-wal").stat().st_size

    def read() -> None:
        assert len(StateReader(str(directory)).allocations()) == 2

    assert as_nobody(read) == 0


def test_a_file_that_is_written_all_the_time_is_read_whole_and_in_order(directory: Path) -> None:
    """Each look sees whole transactions and none older than the look before; the last one sees all."""
    attach(directory, 0)
    done = directory.parent / "done"

    def write() -> None:
        number, end = 1, time.monotonic() + SECONDS
        while time.monotonic() < end:
            attach(directory, number)
            number += 1
        done.write_text(str(number - 1))

    def read() -> None:
        reader = StateReader(str(directory))
        pods = Pods(reader)
        newest = looks = 0
        while not done.exists():
            found = reader.allocations()
            assert all(len(one.addresses) == 2 for one in found)
            last = max(int(one.container[1:]) for one in found)
            assert last >= newest
            newest, looks = last, looks + 1
            pods.poll()
        pods.poll()
        assert {str(address) for address in pods.addresses} == expected(int(done.read_text()))
        assert looks > 50

    writer = multiprocessing.get_context("fork").Process(target=write)
    writer.start()
    assert as_nobody(read) == 0
    writer.join(10)
    assert (writer.exitcode, int(done.read_text()) > PODS) == (0, True)


def expected(last: int) -> set[str]:
    """The addresses of the pods that are there after so many calls."""
    return {
        f"10.{net}.{(number + 1) >> 8}.{(number + 1) & 255}"
        for net in (1, 2)
        for number in range(max(0, last - PODS + 1), last + 1)
    }
