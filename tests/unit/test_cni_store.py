"""The state file: what is recorded, what a DEL that overtakes its ADD leaves, what an earlier boot left."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from cni import statefile
from cni import store as store_module
from cni.allocation import Allocation
from cni.book import Book
from cni.errors import ALREADY_ATTACHED, IO_FAILURE, TRY_AGAIN_LATER, UNKNOWN_CONTAINER, CniError
from cni.ipam import choose
from cni.network import PodAddress, Range
from cni.reader import StateError, StateReader
from cni.statefile import now
from cni.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POD_RANGE = Range(4, 0x0A010000, 24, 0x0A010001, 0x0A0100FE, 0x0A010001)


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closes every state file that a test opens: Python 3.13 complains of those left to the collector."""
    opened: list[Store] = []
    make = Store.__init__

    def remember(self: Store, state_dir: str) -> None:
        make(self, state_dir)
        opened.append(self)

    monkeypatch.setattr(Store, "__init__", remember)
    yield
    for store in opened:
        with contextlib.suppress(sqlite3.ProgrammingError):  # opened, and closed, by another thread
            store.close()


def attach(store: Store, container: str, network: str = "pods", started: int | None = None) -> str:
    store.begin()
    allocation = Allocation(network, container, "eth0", "/run/netns/x", f"host-{container}", ())
    store.attach(allocation, now() if started is None else started)
    found = choose(Book(store, network), [POD_RANGE], now())
    assert found is not None
    one, ip = found
    store.hold(network, PodAddress(ip, one.prefixlen, b""), one.pool, (container, "eth0"))
    store.commit()
    return ".".join(map(str, ip))


def held(directory: Path) -> dict[str, tuple[str, ...]]:
    return {one.container: one.addresses for one in StateReader(str(directory)).allocations()}


def test_the_reader_sees_what_the_plugin_wrote(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    attach(store, "a")
    attach(store, "b")
    assert held(tmp_path) == {"a": ("10.1.0.2/24",), "b": ("10.1.0.3/24",)}
    found = StateReader(str(tmp_path)).allocations()[0]
    assert (found.network, found.ifname, found.netns, found.host_ifname) == (
        "pods",
        "eth0",
        "/run/netns/x",
        "host-a",
    )
    store.release("a", "eth0", list)
    assert held(tmp_path) == {"b": ("10.1.0.3/24",)}


def test_only_root_reads_the_state_file(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "state"
    Store(str(directory)).close()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "state.db").stat().st_mode & 0o777 == 0o600


def test_what_was_not_committed_is_gone(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.begin()
    store.attach(Allocation("pods", "a", "eth0", "", "", ()), 1)
    store.withdraw("a", "eth0", 1, list)
    assert held(tmp_path) == {}
    store.begin()
    store.attach(Allocation("pods", "b", "eth0", "", "", ()), 1)
    store.close()
    assert held(tmp_path) == {}


def test_an_add_takes_back_its_own_record_and_no_later_one(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    first = now()
    attach(store, "a", started=first)
    store.release("a", "eth0", list)
    second = now()
    attach(store, "a", started=second)
    assert not store.stands("a", "eth0", first)
    store.withdraw("a", "eth0", first, list)
    assert store.stands("a", "eth0", second)
    store.withdraw("a", "eth0", second, list)
    assert held(tmp_path) == {}


def test_the_same_attachment_twice_is_refused_and_the_first_stays(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    attach(store, "a")
    with pytest.raises(CniError, match="run DEL first") as caught:
        attach(store, "a")
    assert caught.value.code == ALREADY_ATTACHED
    store.close()
    assert held(tmp_path) == {"a": ("10.1.0.2/24",)}


def test_an_add_that_a_del_overtook_is_refused(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    started = now()
    store.release("a", "eth0", list)
    with pytest.raises(CniError, match="deleted") as caught:
        attach(store, "a", started=started)
    assert caught.value.code == UNKNOWN_CONTAINER


def test_an_add_after_a_del_is_a_new_one(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.release("a", "eth0", list)
    assert attach(store, "a") == "10.1.0.2"


def test_an_add_that_two_dels_and_another_add_overtook_is_refused(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    started = now()
    store.release("a", "eth0", list)
    attach(store, "a")
    store.release("a", "eth0", list)
    with pytest.raises(CniError, match="deleted"):
        attach(store, "a", started=started)


def test_word_of_a_del_is_kept_for_ten_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path))
    store.release("a", "eth0", list)
    later = now() + 601 * 10**9
    monkeypatch.setattr(store_module, "now", lambda: later)
    store.release("b", "eth0", list)
    assert [row[0] for row in store.execute("SELECT container FROM tombstone")] == ["b"]


def test_networks_count_their_addresses_for_themselves(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert attach(store, "a", "one") == attach(store, "b", "two") == "10.1.0.2"


def test_a_state_file_of_an_earlier_boot_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path))
    attach(store, "a")
    store.close()
    boot = tmp_path / "boot_id"
    boot.write_text("another-boot\n")
    monkeypatch.setattr(statefile, "BOOT_ID", str(boot))
    store = Store(str(tmp_path))
    assert held(tmp_path) == {}
    assert attach(store, "b") == "10.1.0.2"


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database, but long enough to look at it" * 100)
    with pytest.raises(CniError, match=r"state\.db is damaged: file is not a database") as caught:
        Store(str(tmp_path))
    assert caught.value.code == IO_FAILURE
    with pytest.raises(StateError, match="can't be read"):
        StateReader(str(tmp_path)).allocations()


def test_another_program_s_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("CREATE TABLE meta (theirs TEXT)")
    db.close()
    with pytest.raises(CniError, match="another program's database"):
        Store(str(tmp_path))


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CniError, match=r"stateDir .*can't be used: Not a directory") as caught:
        Store(str(tmp_path / "file" / "state"))
    assert caught.value.code == IO_FAILURE


def test_a_lock_that_is_held_too_long_is_told_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(str(tmp_path)).close()
    holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(statefile, "BUSY_SECONDS", 0.05)
    store = Store(str(tmp_path))
    with pytest.raises(CniError, match="try again later") as caught:
        store.begin()
    assert caught.value.code == TRY_AGAIN_LATER
    holder.close()


def test_calls_that_race_for_a_new_file_all_get_an_address(tmp_path: Path) -> None:
    errors: list[Exception] = []

    def one(number: int) -> None:
        try:
            store = Store(str(tmp_path))
            attach(store, f"c{number}")
            store.close()
        except CniError as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert len({address for addresses in held(tmp_path).values() for address in addresses}) == 16


def test_the_reader_takes_a_missing_file_for_an_empty_one_and_sees_it_come(tmp_path: Path) -> None:
    reader = StateReader(str(tmp_path / "later"))
    assert reader.allocations() == []
    before = reader.stamp()
    attach(Store(str(tmp_path / "later")), "a")
    assert reader.stamp() != before
    assert [one.container for one in reader.allocations()] == ["a"]


def test_the_stamp_changes_with_each_write(tmp_path: Path) -> None:
    reader = StateReader(str(tmp_path))
    stamps = [reader.stamp()]
    for container in ("a", "b", "c"):
        store = Store(str(tmp_path))
        attach(store, container)
        store.close()
        stamps.append(reader.stamp())
    assert len(set(stamps)) == 4


def test_choosing_from_ten_thousand_held_addresses_takes_as_many_statements_as_from_ten(
    tmp_path: Path,
) -> None:
    wide = Range(4, 0x0A000000, 8, 0x0A000001, 0x0AFFFFFE, 0x0A000001)
    store = Store(str(tmp_path))
    statements: list[str] = []

    def cost() -> int:
        statements.clear()
        choose(Book(store, "pods"), [wide], now())
        return len(statements)

    store.begin()
    counts = []
    for number in range(10_000):
        if number in (10, 9_999):
            store.db.set_trace_callback(statements.append)
            counts.append(cost())
            store.db.set_trace_callback(None)
        found = choose(Book(store, "pods"), [wide], now())
        assert found is not None
        store.hold("pods", PodAddress(found[1], 8, b""), wide.pool, (f"c{number}", "eth0"))
    store.commit()
    assert counts[0] == counts[1] <= 4


def test_a_state_directory_that_is_a_file_is_code_5(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CniError, match="stateDir") as caught:
        Store(str(tmp_path / "file"))
    assert caught.value.code == IO_FAILURE
