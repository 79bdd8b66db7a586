"""How a speaker ends: what was announced stays, or is taken back, as the configuration says."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import Rig, wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MORE = '[announce]\nsubnets = ["10.244.1.0/24"]\n[speaker]\n'


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    try:
        yield rig
    finally:
        rig.close()


def start(rig: Rig, more: str) -> None:
    rig.configure([1] if len(rig.members) > 1 else [], MORE + more)
    rig.node.start_gobgpd()
    rig.node.start_speaker()


def test_withdraw_takes_back_what_was_announced_and_the_next_start_announces_it_again(rig: Rig) -> None:
    rack = rig.rack(1)
    start(rig, 'on-stop = "withdraw"\n')
    node = rig.node
    rack.gobgp("global", "rib", "add", "10.60.0.0/16", "-a", "ipv4")
    wait("the learned route", lambda: node.gateways("10.60.0.0/16") == {"10.99.1.2"})
    wait("both sessions", lambda: node.established() == 2)
    wait("the subnet", lambda: "10.244.1.0/24" in rack.table())
    assert node.kill("speaker", signal.SIGTERM) == 0
    wait("the withdrawal", lambda: rack.table() == {"10.60.0.0/16"}, 3)
    assert node.established() == 2
    assert node.routes("10.60.0.0/16") == node.routes("10.244.1.0/24") == []
    assert 'event="speaker stopped" kept=nothing' in node.log.read_text()
    node.start_speaker()
    wait("the subnet again", lambda: "10.244.1.0/24" in rack.table())
    wait("the route again", lambda: node.gateways("10.60.0.0/16") == {"10.99.1.2"})


def test_a_speaker_that_is_killed_takes_nothing_back(rig: Rig) -> None:
    start(rig, 'on-stop = "withdraw"\n')
    wait("the subnet", lambda: "10.244.1.0/24" in rig.node.table())
    rig.node.kill("speaker", signal.SIGKILL)
    assert "10.244.1.0/24" in rig.node.table()


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_daemon_that_does_not_answer_does_not_hold_the_end_up(rig: Rig, number: int) -> None:
    start(rig, 'on-stop = "withdraw"\n')
    node = rig.node
    wait("the subnet", lambda: "10.244.1.0/24" in node.table())
    node.processes["gobgpd"].send_signal(number)
    if number == signal.SIGKILL:
        wait("the loss", lambda: node.logged('"gobgpd lost"'))
    assert node.kill("speaker", signal.SIGTERM) == 0
    assert node.logged('"not withdrawn"') == 1


BROKEN = """
import sys
from speaker import reload, run
from speaker.config import source

async def fail(self, use):
    raise OSError("broken")

reload.Reload.run = fail
sys.exit(run.run_speaker(source.Source(sys.argv[1]).load, "info"))
"""


def test_a_speaker_of_which_one_part_fails_ends_and_says_so(rig: Rig) -> None:
    rig.configure([], MORE)
    node = rig.node
    node.start("speaker", [sys.executable, "-c", BROKEN, node.config], node.log)
    assert node.processes["speaker"].wait(15) == 1
    assert node.log.read_text().endswith('level=error event="speaker failed" reason=broken\n')
    assert not (rig.directory / "state/speaker/speaker.json").exists()


def test_a_speaker_stops_while_gobgpd_is_not_there(rig: Rig) -> None:
    rig.configure([], MORE)
    rig.node.start_speaker()
    wait("it tries", lambda: rig.node.logged('"gobgpd not reachable"'))
    assert rig.node.kill("speaker", signal.SIGTERM) == 0
