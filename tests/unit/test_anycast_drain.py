"""Drains: their phases, their file, and what of them is over."""

from __future__ import annotations

import os
import stat
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from speaker.anycast import drainfile
from speaker.anycast.drain import Drain, Drains, Phase, Scope, dump, next_change, parse
from speaker.anycast.endpoints import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

VIP, OTHER = ip_address("198.51.100.10"), ip_address("198.51.100.11")
NODE = Drain(Scope.NODE, "", "", 100.0)
OF_VIP = Drain(Scope.VIP, str(VIP), str(VIP), 100.0)
OF_POD = Drain(Scope.POD, "c1", "dns/a", 100.0)


def endpoint(container: str) -> Endpoint:
    via = ip_address("10.1.0.5")
    return Endpoint(VIP, (container, "eth0", str(via)), via, 1, 1, "", None)


def test_a_drain_has_two_phases() -> None:
    assert [NODE.phase(now, 30) for now in (100, 129.9, 130, 9999)] == [
        Phase.LEAVING,
        Phase.LEAVING,
        Phase.GONE,
        Phase.GONE,
    ]


def test_a_vip_is_drained_by_itself_or_with_the_node_whichever_is_further() -> None:
    late = Drain(Scope.NODE, "", "", 120.0)
    assert Drains([], 110, 30).of_vip(VIP) is Phase.SERVING
    assert Drains([OF_VIP], 110, 30).of_vip(OTHER) is Phase.SERVING
    assert Drains([OF_VIP, late], 135, 30).of_vip(VIP) is Phase.GONE
    assert Drains([OF_VIP, late], 135, 30).of_vip(OTHER) is Phase.LEAVING


def test_a_pod_is_drained_by_its_container() -> None:
    drains = Drains([OF_POD], 110, 30)
    assert drains.of_endpoint(endpoint("c1")) is Phase.LEAVING
    assert drains.of_endpoint(endpoint("c2")) is Phase.SERVING
    assert drains.of_vip(VIP) is Phase.SERVING


def test_the_next_change_is_the_first_end_to_come() -> None:
    later = Drain(Scope.VIP, str(OTHER), "", 110.0)
    assert next_change([NODE, later], 100, 30) == 130
    assert next_change([NODE, later], 130, 30) == 140
    assert next_change([NODE, later], 140, 30) is None
    assert next_change([], 0, 30) is None


def test_what_is_written_is_read_back_unless_the_clock_began_anew_since() -> None:
    drains = (NODE, OF_VIP, OF_POD)
    assert parse(dump(drains), 100.0) == drains
    assert not parse(dump(drains), 99.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"drain": []}',
        '{"drains": [{}]}',
        '{"drains": [{"scope": "rack", "of": "", "name": "", "since": 1}]}',
        '{"drains": [{"scope": "vip", "of": "x", "name": "", "since": 1}]}',
        '{"drains": [{"scope": "pod", "of": 1, "name": "", "since": 1}]}',
        '{"drains": [{"scope": "node", "of": "", "name": "", "since": "soon"}]}',
        f'{{"drains": [{{"scope": "node", "of": "", "name": "", "since": 1{400 * "0"}}}]}}',
    ],
)
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not what anypod drain writes"):
        parse(text, 2.0)


def test_the_file_is_for_the_directorys_group_and_nobody_else(tmp_path: Path) -> None:
    assert drainfile.change(str(tmp_path), lambda held: [*held, NODE]) == (NODE,)
    assert drainfile.change(str(tmp_path), lambda held: [*held, OF_VIP]) == (NODE, OF_VIP)
    assert drainfile.read(str(tmp_path)) == (NODE, OF_VIP)
    assert stat.S_IMODE((tmp_path / drainfile.FILE).stat().st_mode) == 0o640


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: Path(path).symlink_to("/dev/zero")])
def test_what_is_no_regular_file_hangs_nobody(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / drainfile.FILE)
    with pytest.raises(ValueError, match="no regular file"):
        drainfile.read(str(tmp_path))
    assert not drainfile.DrainFile(str(tmp_path)).poll()


def test_a_reader_sees_each_change_once_and_keeps_what_it_knows(tmp_path: Path) -> None:
    reader = drainfile.DrainFile(str(tmp_path / "state"))
    assert not reader.poll()
    drainfile.change(str(tmp_path / "state"), lambda _: [NODE])
    assert reader.poll()
    assert not reader.poll()
    assert reader.drains == (NODE,)
    (tmp_path / "state" / drainfile.FILE).write_text("no drains at all")
    assert not reader.poll()
    assert reader.drains == (NODE,)
    (tmp_path / "state" / drainfile.FILE).unlink()
    assert reader.poll()
    assert not reader.drains
