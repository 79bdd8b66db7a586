"""What the speaker tells STATUS: written whole, believed while its writer lives, and true of the kernel."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from cni.errors import NOT_AVAILABLE, CniError
from cni.speakerfile import check_speaker
from speaker.bgp import BgpGlobal, Destination, LearnedPath, Peer, PeerStatus, SessionOptions
from speaker.desired import Held
from speaker.kernel.routes import Routes
from speaker.kernel.stale import Told
from speaker.report import Report, Standing, standing
from speaker.settings import Api, Config

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from speaker.bgp import Address
    from speaker.desired import RouteKey
    from speaker.plan import RoutePlan
    from speaker.settings import Kernel

READY = Standing(peers=2, established=1, routes=True)


def verdict(directory: Path) -> str:
    """What STATUS says of the report, empty for nothing."""
    try:
        check_speaker(str(directory))
    except CniError as error:
        return error.message if error.code == NOT_AVAILABLE else f"code {error.code}"
    return ""


def test_a_report_is_believed_while_its_writer_lives(tmp_path: Path) -> None:
    state = tmp_path / "run" / "anypod"
    report = Report(str(state))
    report.tell(READY)
    assert verdict(state) == ""
    assert stat.S_IMODE((state / "speaker/speaker.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    report.withdraw()
    assert "no speaker reports" in verdict(state)
    assert list((state / "speaker").iterdir()) == []


def test_a_dead_writers_report_is_not_believed(tmp_path: Path) -> None:
    def write_and_die() -> None:
        Report(str(tmp_path)).tell(READY)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=write_and_die)
    process.start()
    process.join(20)
    assert json.loads((tmp_path / "speaker/speaker.json").read_text())["established"] == 1
    assert "has ended" in verdict(tmp_path)
    report = Report(str(tmp_path))
    report.tell(READY)
    assert verdict(tmp_path) == ""
    report.withdraw()


@pytest.mark.parametrize(
    ("standing", "says"),
    [
        (replace(READY, established=0, routes=False), "none of the speaker's 2 peers"),
        (replace(READY, routes=False), "not in the kernel"),
        (replace(READY, peers=0, established=0), "none of the speaker's 0 peers"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, standing: Standing, says: str) -> None:
    report = Report(str(tmp_path))
    report.tell(READY)
    report.tell(standing)
    assert says in verdict(tmp_path)
    report.withdraw()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b"{}", b'{"peers": "2"}', b"\xff", b"NaN" * 50000]
)
def test_what_is_no_report_is_not_believed(tmp_path: Path, content: bytes) -> None:
    report = Report(str(tmp_path))
    report.tell(READY)
    (tmp_path / "speaker/speaker.json").write_bytes(content)
    assert "can't be read" in verdict(tmp_path)
    report.withdraw()


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    report = Report(str(tmp_path))
    report.tell(READY)
    inode = (tmp_path / "speaker/speaker.json").stat().st_ino
    report.tell(replace(READY))
    assert (tmp_path / "speaker/speaker.json").stat().st_ino == inode
    report.tell(replace(READY, established=2))
    assert json.loads((tmp_path / "speaker/speaker.json").read_text())["established"] == 2
    (tmp_path / "speaker/speaker.json").unlink()
    report.tell(replace(READY, established=2))
    assert verdict(tmp_path) == ""
    report.withdraw()


def test_a_directory_that_cant_be_written_is_no_end(tmp_path: Path) -> None:
    state = tmp_path / "state"
    report = Report(str(state))
    report.tell(READY)
    state.rename(tmp_path / "elsewhere")
    state.write_text("in the way")
    report.tell(replace(READY, established=0))
    # Nor does the old one count any more.
    assert "has ended" in verdict(tmp_path / "elsewhere")
    state.unlink()
    report.tell(READY)
    assert verdict(state) == ""
    report.withdraw()


def test_a_later_speakers_report_stays(tmp_path: Path) -> None:
    earlier, later = Report(str(tmp_path)), Report(str(tmp_path))
    earlier.tell(READY)
    later.tell(READY)
    earlier.withdraw()
    assert verdict(tmp_path) == ""
    later.withdraw()


def test_configured_peers_count_and_dynamic_ones_that_are_there() -> None:
    options = SessionOptions(65002)
    one, two, stranger = (Peer(ip_address(f"10.0.0.{i}"), options) for i in (1, 2, 3))
    found = [PeerStatus(one, "established"), PeerStatus(stranger, "established")]
    assert standing([one, two], found, routes=True) == Standing(2, 1, True)
    found += [
        PeerStatus(stranger, "established", group="racks"),
        PeerStatus(stranger, "active", group="racks"),
    ]
    assert standing([one, two], found, routes=False) == Standing(4, 2, False)


# ---- when routes count as installed


class FakeTable:
    """A fake of the kernel's table, which refuses what the test says."""

    def __init__(self) -> None:
        net = frozenset({ip_network("10.0.0.0/24")})
        self.known = Held(connected=net, direct=net)
        self.watched: Collection[Address] = ()
        self.vips = 0
        self.refuse = False
        self.broken = False

    def read(self) -> None:
        if self.broken:
            raise OSError("broken")

    def apply(self, plan: RoutePlan) -> dict[RouteKey, str]:
        return {route.key: "no" for route in plan.add} if self.refuse else {}

    def move(self, kernel: Kernel) -> None:
        raise NotImplementedError

    def leave(self) -> int:
        return 0


CONFIG = Config(bgp=BgpGlobal(65001, "10.0.0.1"), api=Api("unix:///s"))
PREFIX = ip_network("10.9.0.0/16")
PATH = LearnedPath(ip_address("10.0.0.2"), "10.0.0.2", 100, 1, 0, 0, True)
LEARNED = {PREFIX: Destination(PREFIX, None, False, (PATH,))}


def complete(routes: Routes) -> bool:
    return routes.complete


def test_learned_routes_count_once_the_kernel_has_them() -> None:
    for refuse in (False, True):
        table = FakeTable()
        table.refuse = refuse
        routes = Routes(CONFIG, table)
        routes.adopt(0.0)
        assert not complete(routes)
        routes.sync({}, ())
        # Nothing was told yet, and there was no time to tell it.
        assert not complete(routes)
        routes.sync(LEARNED, ())
        assert complete(routes) is not refuse


def test_peers_that_tell_nothing_count_once_they_had_time() -> None:
    routes = Routes(CONFIG, FakeTable())
    routes.adopt(0.0)
    routes.sync({}, ())
    assert routes.stale.settle(Told.QUIET, 10.0)
    assert complete(routes)


def test_a_kernel_that_cant_be_read_does_not_count() -> None:
    table = FakeTable()
    routes = Routes(CONFIG, table)
    routes.adopt(0.0)
    routes.sync(LEARNED, ())
    table.broken = True
    with pytest.raises(OSError, match="broken"):
        routes.reread()
    assert not complete(routes)
