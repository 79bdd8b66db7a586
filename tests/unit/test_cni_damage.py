"""Which state files are damaged, which are another program's, and that no damage ends in anything but an answer."""

from __future__ import annotations

import random
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from cni import rebuild, statefile
from cni.allocation import Allocation
from cni.damage import examine
from cni.errors import IO_FAILURE, CniError
from cni.jsonio import dump
from cni.network import Network, PodAddress, Range
from cni.sqlite import DatabaseError
from cni.statefile import now
from cni.store import Store
from cni.view import View

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POD_RANGE = Range(4, 0x0A010000, 24, 0x0A010001, 0x0A0100FE, 0x0A010001)
NETWORK = Network("pods", range_sets=[[POD_RANGE]])
SEEDS = range(400)


def make(directory: Path) -> Path:
    """A state file with everything in it, checkpointed."""
    store = Store(str(directory))
    store.begin()
    for number in range(40):
        owner = (f"c{number}", "eth0")
        record = Allocation("pods", *owner, f"/run/netns/{number}", f"host{number}", ())
        record.detail = {"aliases": ["a"]}
        store.attach(record, now())
        address = PodAddress(bytes((10, 1, 0, number + 2)), 24, bytes((10, 1, 0, 1)))
        store.hold("pods", address, POD_RANGE.pool, owner)
        store.execute("INSERT INTO element VALUES ('guarded', ?, x'', ?, ?)", (f"k{number}".encode(), *owner))
    store.execute("INSERT INTO cursor VALUES ('pods', ?, ?)", (POD_RANGE.pool, bytes((10, 1, 0, 42))))
    store.execute("INSERT INTO tombstone VALUES ('old', 'eth0', 1)")
    store.commit()
    store.remember_network(b"digest", "pods", dump(NETWORK.compiled()), 1, 0)
    store.close()
    return directory / "state.db"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def file(whole: Path, tmp_path: Path) -> Path:
    shutil.copy(whole, tmp_path / "state.db")
    return tmp_path / "state.db"


def execute(file: Path, *statements: str) -> None:
    db = sqlite3.connect(file, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()


def test_a_file_in_order_has_no_flaw(file: Path) -> None:
    assert examine(str(file)) == ""


def test_no_file_and_an_empty_one_have_none(tmp_path: Path) -> None:
    assert examine(str(tmp_path / "state.db")) == ""
    (tmp_path / "state.db").touch()
    assert examine(str(tmp_path / "state.db")) == ""


def test_a_file_of_the_first_version_has_none(file: Path) -> None:
    for column in ("netns_inode", "ipam", "pod", "detail"):
        execute(file, f"ALTER TABLE attachment DROP COLUMN {column}")
    execute(file, "DROP TABLE element", "PRAGMA user_version=1")
    assert examine(str(file)) == ""
    execute(file, "DROP TABLE tombstone")
    assert "table tombstone" in examine(str(file))


def test_a_version_that_does_not_fit_the_tables_is_a_flaw(file: Path) -> None:
    execute(file, "PRAGMA user_version=1")
    assert "table attachment" in examine(str(file))
    execute(file, "PRAGMA user_version=0")
    assert "no version" in examine(str(file))


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE address SET ip = 'text' WHERE container = 'c1'", "table address has 1 rows"),
        ("UPDATE address SET ip = x'0a0100', family = 4 WHERE container = 'c1'", "table address has 1 rows"),
        ("UPDATE address SET family = 6", "table address has 40 rows"),
        ("UPDATE address SET prefixlen = 33", "table address has 40 rows"),
        ("UPDATE address SET prefixlen = 'many'", "table address has 40 rows"),
        ("UPDATE attachment SET created = 1.5", "table attachment has 40 rows"),
        ("UPDATE attachment SET netns_inode = 'x' WHERE container = 'c2'", "table attachment has 1 rows"),
        ("UPDATE attachment SET netns = x'00' WHERE container = 'c2'", "table attachment has 1 rows"),
        ("UPDATE attachment SET netns = char(47, 0) WHERE container = 'c2'", "an attachment has the name"),
        ("UPDATE attachment SET container = '../c' WHERE container = 'c2'", "an attachment has the name"),
        ("UPDATE attachment SET ifname = 'a/b' WHERE container = 'c2'", "an attachment has the name"),
        ("UPDATE attachment SET network = '' WHERE container = 'c2'", "an attachment has the name"),
        ("UPDATE attachment SET detail = '[' WHERE container = 'c2'", "the details"),
        ("UPDATE attachment SET detail = '[]' WHERE container = 'c2'", "the details"),
        ("UPDATE attachment SET pod = CAST(x'ff' AS TEXT) WHERE container = 'c2'", "UTF-8"),
        ("UPDATE attachment SET netns = CAST(x'ff' AS TEXT) WHERE container = 'c2'", "UTF-8"),
        ("UPDATE network SET compiled = '{}'", "the compiled form"),
        ("UPDATE network SET compiled = 'x'", "the compiled form"),
        ("UPDATE cursor SET next = x''", "table cursor has 1 rows"),
        ("UPDATE element SET key = 'k' WHERE container = 'c2'", "table element has 1 rows"),
        ("UPDATE element SET set_name = 'x' WHERE container = 'c2'", "the set of an element"),
        ("UPDATE tombstone SET at = 'then'", "table tombstone has 1 rows"),
        ("UPDATE meta SET value = x'00'", "table meta has 1 rows"),
        ("DROP TABLE cursor", "table cursor"),
        ("ALTER TABLE network RENAME COLUMN name TO title", "table network"),
        ("CREATE TABLE more (a)", ""),
    ],
)
def test_each_value_that_no_plugin_wrote_is_a_flaw(file: Path, statement: str, says: str) -> None:
    execute(file, statement)
    found = examine(str(file))
    assert says in found
    assert bool(found) == bool(says)


def test_another_programs_database_is_not_ours_to_mend(file: Path) -> None:
    execute(file, "PRAGMA application_id=7")
    with pytest.raises(CniError, match="another program's") as caught:
        examine(str(file))
    assert caught.value.code == IO_FAILURE
    file.write_bytes(file.read_bytes()[:4096] + b"garbage" * 4096)
    with pytest.raises(CniError, match="another program's"):
        examine(str(file))


def flip(content: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice((1, 8, 200))):
        content[dice.randrange(len(content))] = dice.randrange(256)


def wipe(content: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(content))
    length = min(dice.choice((16, 512, 4096, 20000)), len(content) - start)
    content[start : start + length] = bytes(length)


def cut(content: bytearray, dice: random.Random) -> None:
    del content[dice.randrange(len(content)) :]


def repeat(content: bytearray, dice: random.Random) -> None:
    start = dice.randrange(0, len(content), 4096)
    content[0:4096] = content[start : start + 4096]


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (flip, wipe, cut, repeat)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_damage_is_told_or_harmless(
    seed: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens to the bytes, a flaw is found, or the file can be worked with."""
    monkeypatch.setattr(rebuild, "restore", lambda _: 0)
    dice = random.Random(seed)  # noqa: S311 - a test that can be repeated
    content = bytearray(whole.read_bytes())
    dice.choice(CHANGES)(content, dice)
    file = tmp_path / "state.db"
    file.write_bytes(content)
    try:
        flaw = examine(str(file))
    except CniError as error:
        flaw = error.message
    if "another program's" in flaw:
        return
    try:
        view = View(str(tmp_path), with_log=False)
        view.exhausted(NETWORK)
        view.is_used("pods")
        view.close()
    except (CniError, DatabaseError, TypeError, ValueError):
        assert flaw or not file.exists(), "a sound file that can't be looked at"
    if not flaw:
        store = Store(str(tmp_path))
        store.network(b"digest")
        for number in range(40):
            store.allocation(f"c{number}", "eth0")
        store.close()


def test_the_oldest_files_that_were_set_aside_go(tmp_path: Path) -> None:
    """But nothing that only looks like one of them, and no directory with something in it."""
    strangers = {
        "state.db.damaged-x",
        "state.db.damaged-",
        "state.db.damaged-99999999999",
        "state.db.damaged",
    }
    for name in strangers:
        (tmp_path / name).touch()
    (tmp_path / "state.db.damaged-1" / "inside").mkdir(parents=True)
    for number in (2, 3, 4):
        for suffix in ("", "-wal"):
            (tmp_path / f"state.db.damaged-{number}{suffix}").touch()
    (tmp_path / "state.db").write_text("garbage" * 99)
    (tmp_path / "state.db-shm").write_text("garbage" * 99)
    with pytest.raises(CniError, match="is damaged") as caught:
        Store(str(tmp_path))
    said = rebuild.heal({"stateDir": str(tmp_path)}, caught.value)
    assert "state.db.damaged-5" in said
    found = {path.name for path in tmp_path.iterdir()} - strangers - {"lock", "state.db"}
    assert found - {"state.db-wal", "state.db-shm"} == {
        "state.db.damaged-1",
        "state.db.damaged-3",
        "state.db.damaged-3-wal",
        "state.db.damaged-4",
        "state.db.damaged-4-wal",
        "state.db.damaged-5",
        "state.db.damaged-5-shm",
    }


def test_a_sound_file_is_not_set_aside(tmp_path: Path) -> None:
    file = make(tmp_path)
    fault = TypeError("a defect of ours")
    with pytest.raises(TypeError, match="defect"):
        rebuild.heal({"stateDir": str(tmp_path)}, fault)
    assert file.exists()
    assert not [path for path in tmp_path.iterdir() if "damaged" in path.name]


def test_the_file_knows_that_another_took_its_place(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.check_in_place()
    (tmp_path / statefile.FILE).rename(tmp_path / "elsewhere")
    with pytest.raises(CniError, match="taken away"):
        store.check_in_place()
    other = Store(str(tmp_path))
    with pytest.raises(CniError, match="taken away"):
        store.stands("c1", "eth0", 1)
    other.check_in_place()
    other.close()
    store.close()
