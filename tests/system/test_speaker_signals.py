"""Signals that reach a speaker at odd times."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import Rig, wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANNOUNCE = '[announce]\nsubnets = ["10.244.1.0/24"]\n'


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    try:
        rig.configure([], ANNOUNCE)
        rig.node.start_gobgpd()
        yield rig
    finally:
        rig.close()


def blocks_hangup(pid: int) -> bool:
    """Whether the process holds SIGHUP back: from its first line on, until it can reload."""
    with open(f"/proc/{pid}/status") as file:
        blocked = next(line for line in file if line.startswith("SigBlk:"))
    return bool(int(blocked.split()[1], 16) >> (signal.SIGHUP - 1) & 1)


def test_a_reload_that_comes_during_the_start_is_done_after_it(rig: Rig) -> None:
    node = rig.node
    node.start_speaker()
    process = node.processes["speaker"]
    wait("it holds the signal back", lambda: blocks_hangup(process.pid), 5)
    process.send_signal(signal.SIGHUP)
    wait("it has reloaded", lambda: node.logged('event="configuration loaded" changed=nothing'), 10)
    assert process.poll() is None
    assert not blocks_hangup(process.pid)


def test_a_storm_of_reloads_ends_with_the_last_file(rig: Rig) -> None:
    node = rig.node
    node.start_speaker()
    wait("it runs", lambda: node.table() == {"10.244.1.0/24"}, 15)
    process = node.processes["speaker"]
    for number in range(40):
        subnet = "nonsense" if number % 5 == 4 else f"10.244.{number}.0/24"
        rig.configure([], f'[announce]\nsubnets = ["{subnet}"]\n')
        process.send_signal(signal.SIGHUP)
        time.sleep(0.01)
    rig.configure([], '[announce]\nsubnets = ["10.245.0.0/16"]\n')
    wait("the last", lambda: node.table() == {"10.245.0.0/16"}, 10)
    wait("its route alone", lambda: node.ip("route", "show", "proto", "177").count("\n") == 1, 5)
    assert "10.245.0.0/16" in node.ip("route", "show", "proto", "177")
    assert "Traceback" not in node.log.read_text()
