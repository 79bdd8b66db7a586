"""How long routes of before stay: until End-of-RIB from peers that send it, until it is quiet with the others.

In the end until a limit, whoever is still missing.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from speaker.kernel.stale import QUIET
from tests.system.gobgp_rig import Rig, wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.gobgp_rig import Member

GRACEFUL = (
    "[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n"
    "[neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 60\n"
)
KEPT = ("10.50.0.0/16", "fd50::/64")
GONE = ("10.51.0.0/16", "fd51::/64")


@pytest.fixture(params=[True, False], ids=["with End-of-RIB", "without"])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A node and a rack that restart gracefully, or do not."""
    rig = Rig(tmp_path)
    try:
        rack = rig.rack(1)
        rig.configure([1], '[announce]\nsubnets = ["10.244.1.0/24"]\n')
        if request.param:
            rack.kill("gobgpd")
            settings = rack.directory / "gobgpd.toml"
            settings.write_text(settings.read_text().replace('-unicast"\n', f'-unicast"\n{GRACEFUL}'))
            rack.start_gobgpd("--config-file", str(settings))
            text = rig.node.config.read_text()
            asked = "asn = 65101\n[peer.graceful-restart]\nrestart-time = 60\n"
            rig.node.config.write_text(text.replace("asn = 65101\n", asked))
            wait("the rack's neighbours", lambda: len(rack.neighbours()) == 2)
        rig.node.start_gobgpd()
        rig.node.start_speaker()
        wait("both sessions", lambda: rig.node.established() == 2)
        for prefix in (*KEPT, *GONE):
            rack.gobgp("global", "rib", "add", prefix, "-a", family(prefix))
        wait("the routes", lambda: all(rig.node.routes(prefix) for prefix in (*KEPT, *GONE)))
        yield rig
    finally:
        rig.close()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Rig]:
    """A node that waits a few seconds for its peers, and a rack that has told it all."""
    rig = Rig(tmp_path)
    try:
        rack = rig.rack(1)
        rig.configure([1], '[announce]\nsubnets = ["10.244.1.0/24"]\n[timers]\nstale-routes = 5\n')
        rig.node.start_gobgpd()
        rig.node.start_speaker()
        for prefix in KEPT:
            rack.gobgp("global", "rib", "add", prefix, "-a", family(prefix))
        wait("the routes", lambda: all(rig.node.routes(prefix) for prefix in KEPT))
        yield rig
    finally:
        rig.close()


def test_a_peer_that_stays_away_is_not_waited_for_longer_than_the_limit(alone: Rig) -> None:
    node = alone.node
    for name in ("speaker", "gobgpd"):
        node.kill(name)
    alone.members[1].kill("gobgpd")
    node.start_gobgpd()
    started = time.monotonic()
    node.start_speaker()
    while time.monotonic() < started + 4:
        assert all(node.routes(prefix) for prefix in KEPT)
        time.sleep(0.1)
    wait("they are given up", lambda: not any(node.routes(prefix) for prefix in KEPT))
    assert node.logged(f'event="stale routes given up" count={len(KEPT)}') == 1
    assert len(node.routes("10.244.1.0/24")) == 1


def family(prefix: str) -> str:
    return "ipv6" if ":" in prefix else "ipv4"


def seconds_until_gone(node: Member) -> float:
    """How long the withdrawn ones stay; the others must be there all the while."""
    start = time.monotonic()
    while any(node.routes(prefix) for prefix in GONE):
        assert all(node.routes(prefix) for prefix in KEPT)
        assert time.monotonic() - start < 60
        time.sleep(0.05)
    assert all(node.routes(prefix) for prefix in KEPT)
    return time.monotonic() - start


def withdraw(rack: Member) -> None:
    for prefix in GONE:
        rack.gobgp("global", "rib", "del", prefix, "-a", family(prefix))


def test_after_the_speakers_restart(rig: Rig, request: pytest.FixtureRequest) -> None:
    node, rack = rig.node, rig.members[1]
    node.kill("speaker", signal.SIGKILL)
    withdraw(rack)
    connected = node.logged('"gobgpd connected"')
    node.start_speaker()
    wait("the daemon", lambda: node.logged('"gobgpd connected"') > connected)
    took = seconds_until_gone(node)
    assert (took < QUIET - 1) is ("with End-of-RIB" in request.node.name)


def test_after_the_restart_of_everything_on_the_node(rig: Rig) -> None:
    node, rack = rig.node, rig.members[1]
    for name in ("speaker", "gobgpd"):
        node.kill(name, signal.SIGKILL)
    withdraw(rack)
    node.start_gobgpd()
    node.start_speaker()
    seconds_until_gone(node)
    assert node.established() == 2
    assert node.logged("stale routes given up")


def test_after_the_daemons_restart(rig: Rig) -> None:
    node, rack = rig.node, rig.members[1]
    node.kill("gobgpd", signal.SIGKILL)
    withdraw(rack)
    wait("the loss is noticed", lambda: node.logged('"gobgpd lost"'))
    node.ip("route", "flush", "proto", "177")
    wait("they are put back", lambda: all(node.routes(prefix) for prefix in (*KEPT, *GONE)), 5)
    node.start_gobgpd()
    seconds_until_gone(node)
    assert node.established() == 2
