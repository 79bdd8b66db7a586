"""The speaker with a real gobgpd and two racks: routes come, go and survive restarts."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cni.allocation import Allocation
from cni.network import PodAddress
from cni.statefile import now
from cni.store import Store
from tests.system.gobgp_rig import Rig, wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.gobgp_rig import Member

UNREACHABLE = "7"  # RTN_UNREACHABLE
SUBNETS = {"10.244.1.0/24", "fd24:1::/64"}
ANNOUNCE = '[announce]\nsubnets = ["10.244.1.0/24", "fd24:1::/64"]\n[timers]\nstale-routes = 60\n'


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("gobgp"))
    try:
        for number in (1, 2):
            rig.rack(number)
        rig.configure([1, 2], ANNOUNCE)
        rig.node.start_gobgpd()
        rig.node.start_speaker()
        wait("all sessions", lambda: rig.node.established() == 4)
        yield rig
    finally:
        rig.close()


@pytest.fixture
def racks(rig: Rig) -> list[Member]:
    return rig.members[1:]


def announced(rack: Member) -> set[str]:
    """What a rack has learned from the node."""
    return (rack.table("ipv4") | rack.table("ipv6")) & {*SUBNETS, "192.0.2.7/32"}


def test_subnets_reach_the_racks_and_are_unreachable_behind(rig: Rig, racks: list[Member]) -> None:
    for rack in racks:
        wait("both subnets", lambda rack=rack: announced(rack) == SUBNETS)  # type: ignore[misc]
    for prefix in SUBNETS:
        assert [route["type"] for route in rig.node.routes(prefix)] == [UNREACHABLE]


def test_a_route_comes_over_one_rack_then_both_and_goes(rig: Rig, racks: list[Member]) -> None:
    node = rig.node
    for prefix, hops in (
        ("10.50.0.0/16", ["10.99.1.2", "10.99.2.2"]),
        ("fd50::/64", ["fd99:1::2", "fd99:2::2"]),
    ):
        family = "ipv6" if ":" in prefix else "ipv4"
        racks[0].gobgp("global", "rib", "add", prefix, "-a", family)
        wait("one next hop", lambda p=prefix, h=hops: node.gateways(p) == {h[0]})  # type: ignore[misc]
        racks[1].gobgp("global", "rib", "add", prefix, "-a", family)
        wait("two next hops", lambda p=prefix, h=hops: node.gateways(p) == set(h))  # type: ignore[misc]
        racks[0].gobgp("global", "rib", "del", prefix, "-a", family)
        wait("the other", lambda p=prefix, h=hops: node.gateways(p) == {h[1]})  # type: ignore[misc]
        racks[1].gobgp("global", "rib", "del", prefix, "-a", family)
        wait("none", lambda p=prefix: node.routes(p) == [], 2)  # type: ignore[misc]


def test_racks_are_not_told_of_each_other(rig: Rig, racks: list[Member]) -> None:
    racks[0].gobgp("global", "rib", "add", "10.52.0.0/16", "-a", "ipv4")
    wait("the route", lambda: rig.node.gateways("10.52.0.0/16") == {"10.99.1.2"})
    # One session keeps its order: when the later path is there, the earlier one will not come.
    rig.node.gobgp("global", "rib", "add", "10.53.0.1/32", "-a", "ipv4")
    wait("a path of the node's own", lambda: "10.53.0.1/32" in racks[1].table())
    assert "10.52.0.0/16" not in racks[1].table()
    rig.node.gobgp("global", "rib", "del", "10.53.0.1/32", "-a", "ipv4")


def test_the_speakers_restart_is_not_seen_by_the_racks(rig: Rig, racks: list[Member]) -> None:
    node = rig.node
    racks[0].gobgp("global", "rib", "add", "10.60.0.0/16", "-a", "ipv4")
    wait("the route", lambda: node.gateways("10.60.0.0/16") == {"10.99.1.2"})
    for number in (signal.SIGKILL, signal.SIGTERM):
        before = [rack.updates() for rack in racks]
        ups = node.logged('"peer up"')
        status = node.kill("speaker", number)
        assert status == (0 if number == signal.SIGTERM else -9)
        assert node.gateways("10.60.0.0/16") == {"10.99.1.2"}
        node.start_speaker()
        wait("the speaker sees its peers", lambda n=ups: node.logged('"peer up"') == n + 4)  # type: ignore[misc]
        assert [rack.updates() for rack in racks] == before
        assert node.gateways("10.60.0.0/16") == {"10.99.1.2"}
    assert node.logged("event=announced") == len(SUBNETS)
    assert node.logged('"peer added"') == 4


def test_routes_that_went_while_nobody_looked_are_swept(rig: Rig, racks: list[Member]) -> None:
    node = rig.node
    racks[0].gobgp("global", "rib", "add", "10.61.0.0/16", "-a", "ipv4")
    wait("the route", lambda: node.gateways("10.61.0.0/16") == {"10.99.1.2"})
    node.kill("speaker")
    racks[0].gobgp("global", "rib", "del", "10.61.0.0/16", "-a", "ipv4")
    wait("the withdrawal", lambda: "10.61.0.0/16" not in node.table())
    assert node.gateways("10.61.0.0/16") == {"10.99.1.2"}
    node.start_speaker()
    wait("the sweep", lambda: node.routes("10.61.0.0/16") == [], 15)


def test_local_paths_of_others_are_never_touched_and_not_told(rig: Rig, racks: list[Member]) -> None:
    node = rig.node
    node.gobgp("global", "rib", "add", "10.77.0.0/16", "-a", "ipv4")
    node.gobgp("global", "rib", "add", "10.244.1.0/24", "med", "9", "-a", "ipv4")
    node.kill("speaker", signal.SIGTERM)
    ups = node.logged('"peer up"')
    node.start_speaker()
    wait("the speaker sees its peers", lambda: node.logged('"peer up"') == ups + 4)
    found = json.loads(node.gobgp("-j", "global", "rib", "-a", "ipv4"))
    assert len(found["10.77.0.0/16"]) == 1
    assert len(found["10.244.1.0/24"]) == 2
    assert node.routes("10.77.0.0/16") == []
    node.gobgp("global", "rib", "add", "10.77.0.1/32", "-a", "ipv4")
    wait("a later one, which may be a pod's", lambda: "10.77.0.1/32" in racks[0].table())
    assert "10.77.0.0/16" not in racks[0].table()
    node.gobgp("global", "rib", "del", "10.77.0.1/32", "-a", "ipv4")
    for prefix in ("10.77.0.0/16", "10.244.1.0/24"):
        node.gobgp("global", "rib", "del", prefix, "-a", "ipv4")
    wait("ours is still there", lambda: announced(racks[0]) == SUBNETS)


def test_a_killed_gobgpd_gets_everything_back(rig: Rig, racks: list[Member]) -> None:
    node = rig.node
    racks[0].gobgp("global", "rib", "add", "10.62.0.0/16", "-a", "ipv4")
    wait("the route", lambda: node.gateways("10.62.0.0/16") == {"10.99.1.2"})
    removed = node.logged('"route removed" prefix=10.62.0.0/16')
    node.kill("gobgpd")
    for rack in racks:
        wait("the racks notice", lambda rack=rack: announced(rack) == set())  # type: ignore[misc]
    assert node.gateways("10.62.0.0/16") == {"10.99.1.2"}
    node.start_gobgpd()
    wait("paths are back in the daemon", lambda: node.table("ipv4") >= {"10.244.1.0/24"}, 5)
    for rack in racks:
        wait("and at the racks", lambda rack=rack: announced(rack) == SUBNETS)  # type: ignore[misc]
    wait("all sessions", lambda: node.established() == 4)
    wait("the route is learned again", lambda: "10.62.0.0/16" in node.table())
    assert node.gateways("10.62.0.0/16") == {"10.99.1.2"}
    assert node.logged('"route removed" prefix=10.62.0.0/16') == removed


def test_only_a_changed_peer_is_touched(rig: Rig, racks: list[Member]) -> None:
    node = rig.node
    node.kill("speaker", signal.SIGTERM)
    rig.configure([1], ANNOUNCE)
    before = racks[0].updates()
    node.start_speaker()
    wait("rack 2's peers go", lambda: len(node.neighbours()) == 2)
    assert {peer["conf"]["neighbor_address"] for peer in node.neighbours()} == {"10.99.1.2", "fd99:1::2"}
    assert (node.established(), racks[0].updates()) == (2, before)
    node.kill("speaker", signal.SIGTERM)
    rig.configure([1, 2], ANNOUNCE)
    node.start_speaker()
    wait("and come back", lambda: node.established() == 4)
    assert racks[0].updates() == before


def test_transit_can_be_switched_on_and_off(rig: Rig, racks: list[Member]) -> None:
    node = rig.node
    racks[0].gobgp("global", "rib", "add", "10.64.0.0/16", "-a", "ipv4")
    wait("the route", lambda: node.gateways("10.64.0.0/16") == {"10.99.1.2"})
    for more, expected in (
        (ANNOUNCE.replace("[timers]", "transit = true\n[timers]"), True),
        (ANNOUNCE, False),
    ):
        node.kill("speaker", signal.SIGTERM)
        rig.configure([1, 2], more)
        node.start_speaker()
        wait("it is passed on or not", lambda e=expected: ("10.64.0.0/16" in racks[1].table()) is e)  # type: ignore[misc]
    wait("all sessions", lambda: node.established() == 4)
    assert "10.64.0.0/16" not in racks[1].table()
    wait("both subnets", lambda: announced(racks[1]) == SUBNETS)


def test_a_second_speaker_of_one_gobgpd_is_refused(rig: Rig) -> None:
    command = [sys.executable, "-m", "speaker.cli", "speaker", "run", "--config", str(rig.node.config)]
    argv = ["ip", "netns", "exec", rig.node.ns, *command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "another speaker steers this gobgpd" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_daemon_that_hangs_is_lost_and_found(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    try:
        node = rig.node
        rig.configure([], ANNOUNCE + "resync = 1\n")
        node.start_gobgpd()
        node.start_speaker()
        wait("it works", lambda: "10.244.1.0/24" in node.table())
        node.processes["gobgpd"].send_signal(signal.SIGSTOP)
        wait("the loss", lambda: node.logged('"gobgpd lost"') == 1)
        node.processes["gobgpd"].send_signal(signal.SIGCONT)
        wait("the return", lambda: node.logged('"gobgpd connected"') == 2)
        assert node.logged("event=announced") == len(SUBNETS)
    finally:
        rig.close()


def test_a_daemon_that_hangs_at_a_write_is_given_up_after_seconds(tmp_path: Path) -> None:
    """Far from the next full comparison: a pod's address is what the daemon should be told."""
    rig = Rig(tmp_path)
    try:
        node = rig.node
        rig.configure([], ANNOUNCE + "resync = 300\n")
        node.start_gobgpd()
        node.start_speaker()
        wait("it works", lambda: "10.244.1.0/24" in node.table())
        node.processes["gobgpd"].send_signal(signal.SIGSTOP)
        store = Store(str(rig.directory / "state"))
        store.begin()
        store.attach(Allocation("pods", "c1", "eth0", "", "", ()), now())
        store.hold("pods", PodAddress(b"\xc0\0\2\7", 24, b"\xc0\0\2\1"), "", ("c1", "eth0"))
        store.commit()
        store.close()
        wait("the loss", lambda: node.logged('"gobgpd lost"') == 1, 15)
        node.processes["gobgpd"].send_signal(signal.SIGCONT)
        wait("the pod's address", lambda: "192.0.2.7/32" in node.table())
    finally:
        rig.close()


def test_a_dead_rack_takes_its_next_hop_along(rig: Rig, racks: list[Member]) -> None:
    node = rig.node
    for rack in racks:
        rack.gobgp("global", "rib", "add", "10.63.0.0/16", "-a", "ipv4")
    wait("two next hops", lambda: node.gateways("10.63.0.0/16") == {"10.99.1.2", "10.99.2.2"})
    racks[1].gobgp("neighbor", "10.99.2.1", "disable")
    wait("one next hop", lambda: node.gateways("10.63.0.0/16") == {"10.99.1.2"}, 5)
    wait("and says so", lambda: re.search(r'"peer down" peer=10\.99\.2\.2', node.log.read_text()))
    racks[1].gobgp("neighbor", "10.99.2.1", "enable")
    wait("two again", lambda: node.gateways("10.63.0.0/16") == {"10.99.1.2", "10.99.2.2"})


def test_a_daemon_of_another_as_is_left_running_as_it_is(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    try:
        node = rig.node
        rig.configure([], ANNOUNCE)
        node.start_gobgpd()
        node.gobgp("global", "as", "64999", "router-id", "10.99.0.1")
        node.gobgp("global", "rib", "add", "10.77.0.0/16", "-a", "ipv4")
        node.start_speaker()
        wait("it complains", lambda: node.logged("runs as AS 64999"))
        assert node.table() == {"10.77.0.0/16"}
        node.kill("gobgpd")
        node.start_gobgpd()
        wait("the speaker's own takes over", lambda: "10.244.1.0/24" in node.table())
        assert node.logged("runs as AS 64999") == 1
        assert node.kill("speaker", signal.SIGTERM) == 0
    finally:
        rig.close()
