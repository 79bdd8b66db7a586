"""Which attachments are gone, who holds the rest in words, and what is kept for another plugin's sake."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest

from cni import reclaim
from cni.allocation import Allocation
from cni.attach import Kernel, host_ifname, owner_alias
from cni.errors import UNKNOWN_CONTAINER, CniError
from cni.netns import INODE, identity
from cni.network import PodAddress
from cni.reclaim import ADD_SECONDS, count_gone, holders
from cni.release import Release
from cni.statefile import now
from cni.store import Store

if TYPE_CHECKING:
    import posix
    from collections.abc import Iterator
    from pathlib import Path

FIRST, LAST = bytes((10, 1, 0, 1)), bytes((10, 1, 0, 254))
OLD = ADD_SECONDS * 10**9 + 10**9


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path))
    yield store
    store.close()


def attach(store: Store, number: int, container: str, pod: str = "", ipam: str = "") -> None:
    owner = (container, "eth0")
    store.begin()
    record = Allocation("pods", *owner, "/run/netns/x", host_ifname(*owner), ())
    record.pod, record.ipam = pod, ipam
    store.attach(record, now())
    store.hold("pods", PodAddress(bytes((10, 1, 0, number)), 24, b""), "" if ipam else "pool", owner)
    store.commit()


def test_nobody_holds_what_is_free(store: Store) -> None:
    assert holders(store, "pods", FIRST, LAST) == "0 held"


def test_holders_are_counted_by_namespace_and_the_most_come_first(store: Store) -> None:
    for number in range(2, 12):
        attach(store, number, f"c{number}", f"{'shop' if number < 9 else 'system'}/web-{number}")
    attach(store, 12, "bare")
    attach(store, 250, "elsewhere", "other/x")
    said = holders(store, "pods", FIRST, bytes((10, 1, 0, 100)))
    assert said == "11 held: 7 by namespace shop, 3 by namespace system, 1 by container bare"
    assert holders(store, "other", FIRST, LAST) == "0 held"


def test_many_holders_make_no_long_message(store: Store) -> None:
    for number in range(2, 200):
        attach(store, number, f"{number:0>64}")
    said = holders(store, "pods", FIRST, LAST)
    assert said.startswith("198 held: 1 by container 0")
    assert said.endswith("193 by 193 others")
    assert len(said) < 600


class FakeLinks:
    """A fake of the kernel's links: names and aliases."""

    def __init__(self, *links: tuple[str, str]) -> None:
        self.links = [FakeLink(name, alias) for name, alias in links]


class FakeLink:
    """A fake of one link."""

    kind = "veth"

    def __init__(self, name: str, alias: str) -> None:
        self.name = name
        self.alias = alias


@pytest.mark.parametrize(
    ("links", "path", "inode", "age", "gone"),
    [
        ((), "", 0, 0, True),
        ((), "/run/netns/not-there", 7, 0, True),
        ((), "\0", 7, 0, True),
        ((), "{there}", 7, 0, True),
        ((), "{there}", -1, 0, False),
        ((), "{there}", 0, 0, False),
        ((), "{there}", -1, 10**9, False),
        ((), "{younger}", -1, 10**9, True),
        ((), "{there}", -1, OLD, True),
        ((), "{there}", 0, OLD, True),
        (((host_ifname("c1", "eth0"), ""),), "", 0, OLD, False),
        ((("renamed", owner_alias("pods", "c1", "eth0")),), "", 0, OLD, False),
        ((("renamed", owner_alias("other", "c1", "eth0")),), "", 0, OLD, True),
    ],
)
def test_gone_is_what_has_no_link_and_no_namespace_or_had_time_to_get_a_link(
    links: tuple[tuple[str, str], ...],
    path: str,
    inode: int,
    age: int,
    gone: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if it had been made an hour ago: only the kernel sets this time of a file.
    behind = 3600 if "{there}" in path else 0
    monkeypatch.setattr(time, "time_ns", lambda: time.time() * 10**9 + behind * 10**9)
    netns = path.replace("{there}", str(tmp_path)).replace("{younger}", str(tmp_path))
    number = tmp_path.stat().st_ino & INODE if inode == -1 else inode
    monkeypatch.setattr(reclaim, "all_links", lambda fake: fake.links)
    record = ("c1", "eth0", "pods", netns, number, now() - age, "", host_ifname("c1", "eth0"))
    assert count_gone([record], FakeLinks(*links)) == int(gone)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "inode", "age", "gone"),
    [
        ("", 0, 0, True),
        ("/run/netns/not-there", 7, 0, True),
        ("{there}", 7, 0, True),
        ("{there}", -1, OLD, False),
        ("{there}", 0, OLD, False),
    ],
)
def test_a_pod_of_another_plugin_is_gone_with_its_namespace_alone(
    path: str, inode: int, age: int, gone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever links there are, and however long ago it was attached."""
    monkeypatch.setattr(time, "time_ns", lambda: time.time() * 10**9 + 3600 * 10**9)
    netns = path.replace("{there}", str(tmp_path))
    number = tmp_path.stat().st_ino & INODE if inode == -1 else inode
    monkeypatch.setattr(reclaim, "all_links", lambda fake: fake.links)
    record = ("c1", "eth0", "pods", netns, number, now() - age, "", "")
    for links in ((), ((host_ifname("c1", "eth0"), owner_alias("pods", "c1", "eth0")),)):
        assert count_gone([record], FakeLinks(*links)) == int(gone)  # type: ignore[arg-type]


class Stat(NamedTuple):
    """The part of a file's status by which a namespace is known."""

    st_ino: int
    st_ctime_ns: int


@pytest.mark.parametrize("behind", [-86400, 0, 86400])
@pytest.mark.parametrize(("later", "gone"), [(0, False), (1 << 21, True)])
def test_a_namespace_is_known_by_its_birth_however_the_clock_was_set_since(
    later: int, gone: bool, behind: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one that has its path and got its number was made at another time."""
    wrong = time.time_ns() + behind * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: wrong)
    monkeypatch.setattr(reclaim, "all_links", lambda fake: fake.links)
    found = tmp_path.stat()
    known = identity(cast("posix.stat_result", Stat(found.st_ino, found.st_ctime_ns - later)))
    record = ("c1", "eth0", "pods", str(tmp_path), known, now() - OLD, "", "")
    assert count_gone([record], FakeLinks()) == int(gone)  # type: ignore[arg-type]


@pytest.mark.parametrize("recorded", ["identity", "number"])
def test_behind_a_link_there_may_be_a_process_whose_namespace_seems_to_be_new_at_each_look(
    recorded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As /run/netns/x -> /proc/1234/ns/net."""
    monkeypatch.setattr(reclaim, "all_links", lambda fake: fake.links)
    path = tmp_path / "x"
    path.symlink_to(tmp_path)
    found = path.stat()
    first = identity(cast("posix.stat_result", Stat(found.st_ino, found.st_ctime_ns - (1 << 21))))
    known = first if recorded == "identity" else first & INODE
    for number, gone in ((known, 0), (known ^ 1, 1)):
        record = ("c1", "eth0", "pods", str(path), number, now() - OLD, "", "")
        assert count_gone([record], FakeLinks()) == gone  # type: ignore[arg-type]


def test_another_plugins_reservation_keeps_its_record(store: Store) -> None:
    """Only a DEL that calls that plugin ends it. All else is given back."""
    attach(store, 2, "c1", ipam="dhcp")
    attach(store, 3, "c2")
    kernel = Kernel()
    assert reclaim.reclaim(store, kernel) == 2
    assert holders(store, "pods", FIRST, LAST) == "0 held"
    assert store.ipam("c1", "eth0") == "dhcp"
    assert store.allocation("c2", "eth0") is None
    # Nothing of it can be taken back twice.
    assert reclaim.reclaim(store, kernel) == 0
    kernel.socket.close()


def test_word_is_left_for_an_add_that_is_under_way(store: Store) -> None:
    started = now()
    attach(store, 2, "c1")
    release = Release(store)
    store.begin()
    release.add("c1", "eth0", "")
    release.carry_out()
    release.leave_word()
    store.commit()
    store.begin()
    with pytest.raises(CniError) as caught:
        store.attach(Allocation("pods", "c1", "eth0", "/run/netns/x", "h", ()), started)
    assert caught.value.code == UNKNOWN_CONTAINER
    store.rollback()
