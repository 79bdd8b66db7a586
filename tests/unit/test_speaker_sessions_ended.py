"""Which sessions ended: what leads to their peers is not waited for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from speaker.bgp import PeerStatus
from speaker.daemon import Daemon
from tests.unit.memory_daemon import CONFIG, PEER, SECOND, WANTED, MemoryDaemon

if TYPE_CHECKING:
    from pathlib import Path

    from speaker.settings import Config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return replace(CONFIG, state_dir=str(tmp_path))


@pytest.mark.parametrize(("graceful", "ended"), [(False, {"10.0.0.2"}), (True, set())])
def test_a_session_that_ended_is_told_once_unless_its_peer_is_waited_for(
    graceful: bool, ended: set[str], config: Config
) -> None:
    session = MemoryDaemon()
    session.graceful = graceful

    async def come_and_go() -> list[set[str]]:
        daemon, found = Daemon(config), []
        await daemon.restore(session, WANTED)
        for established in (set[str](), {PEER.key}, set[str](), set[str]()):
            session.established = established
            await daemon.close_peers(session)
            found.append(daemon.take_ended())
        session.established = {PEER.key}
        await daemon.close_peers(session)
        daemon.forget()  # gobgpd itself is lost: of its peers nothing is known
        session.established = set()
        await daemon.close_peers(session)
        return [*found, daemon.take_ended()]

    assert asyncio.run(come_and_go()) == [set(), set(), ended, set(), set()]


class Racks(MemoryDaemon):
    """A fake that has a dynamic neighbour besides, as long as its session stands."""

    async def peers(self) -> list[PeerStatus]:
        found = PeerStatus(
            replace(SECOND, address=None), "established", "racks", "10.0.9.7", graceful=self.graceful
        )
        return [*await super().peers(), *([found] if self.established else [])]


@pytest.mark.parametrize(("graceful", "ended"), [(False, {"10.0.9.7"}), (True, set())])
def test_a_dynamic_neighbour_that_is_gone_with_its_session_is_one_that_ended(
    graceful: bool, ended: set[str], config: Config
) -> None:
    session = Racks()
    session.graceful = graceful

    async def come_and_go() -> list[set[str]]:
        daemon, found = Daemon(config), []
        await daemon.restore(session, WANTED)
        for established in (set[str](), {"racks"}, set[str](), set[str]()):
            session.established = established
            await daemon.close_peers(session)
            found.append(daemon.take_ended())
        return found

    assert asyncio.run(come_and_go()) == [set(), set(), ended, set()]
