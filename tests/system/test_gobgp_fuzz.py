"""A gobgpd whose answers are wrong: its speaker goes on, and when they are right again all is as before.

For both versions: Debian's gobgpd, the fake of version 4, and a real one if there is one. ANYPOD_GOBGP_SEED
repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import time
from ipaddress import ip_network
from random import Random
from typing import TYPE_CHECKING

import pytest

from speaker.gobgp.connect import connect
from speaker.gobgp.session import DaemonLostError, DaemonRefusedError
from speaker.settings import Api
from tests.system.gobgp_daemons import V4, start_daemon
from tests.system.gobgp_proxy import SEED, Proxy, Relay, proxied, relayed, seen
from tests.system.gobgp_rig import Rig, wait
from tests.system.gobgp_v4_fake import told
from tests.system.gobgp_v4_servicer import FakeGobgp4

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHARES = [0.02, 0.1, 0.3, 0.5, 0.9, 0.2]  # of wrong answers, round by round
# Seconds.
WRONG_FOR = 2.0
RIGHT_AFTER = 60.0
PREFIX = "10.50.0.0/16"
SUBNET = "10.244.1.0/24"
ANNOUNCE = f'[announce]\nsubnets = ["{SUBNET}"]\n[timers]\nresync = 1\n'


class Scene:
    """A node whose speaker talks to its gobgpd through the proxy."""

    def __init__(self, rig: Rig, back: str, front: str) -> None:
        self.node = rig.node
        self.racks = rig.members[1:]
        self.back = back
        rig.configure([1], ANNOUNCE)
        text = self.node.config.read_text()
        self.node.config.write_text(text.replace(back, front))

    async def state(self) -> object:
        """What the daemon holds, what is in the kernel, and what the racks were told."""
        session = await connect(Api(self.back))
        try:
            routes = [self.node.ip(family, "route", "show", "proto", "177") for family in ("-4", "-6")]
            return await seen(session), routes, [rack.table() for rack in self.racks]
        finally:
            await session.close()

    def connected(self) -> bool:
        """Whether the speaker's last word of its daemon is that it has it."""
        return self.node.logged('"gobgpd connected"') > self.node.logged('"gobgpd lost"')

    async def withdraw(self) -> None:
        """Takes what the speaker announces away, behind its back."""
        session = await connect(Api(self.back))
        try:
            await session.withdraw([ip_network(SUBNET)])
        finally:
            await session.close()

    async def until(self, what: str, wanted: Callable[[object], bool]) -> object:
        """The state, as soon as it is as wanted."""
        end = time.monotonic() + RIGHT_AFTER
        found: object = None
        while time.monotonic() < end:
            try:
                found = await self.state()
                if wanted(found):
                    return found
            except (DaemonLostError, DaemonRefusedError) as error:
                found = error
            await asyncio.sleep(0.2)
        raise AssertionError(f"seed {SEED}: not within {RIGHT_AFTER} s: {what}; at last {found}")

    async def settled(self) -> object:
        """The state when the route is there and nothing changes any more."""
        found = await self.until("the route", lambda _: self.node.gateways(PREFIX) != set())
        before = None
        while found != before:
            before = found
            await asyncio.sleep(2)
            found = await self.state()
        return found

    async def shaken(self, proxy: Proxy, relay: Relay) -> None:
        """Rounds of wrong answers, in every other one cut off anywhere; after each everything becomes as it was."""
        random = Random(SEED)  # noqa: S311
        process = self.node.processes["speaker"]
        calm = await self.settled()
        for number, share in enumerate(SHARES):
            proxy.share = share
            relay.cutting = bool(number % 2)
            await asyncio.sleep(WRONG_FOR * random.random())
            await proxy.cut()
            await asyncio.sleep(WRONG_FOR)
            proxy.share, relay.cutting = 0.0, False
            await self.until(
                f"all as before round {number}", lambda found: self.connected() and found == calm
            )
            await self.withdraw()
            await self.until(f"a speaker at work after round {number}", lambda found: found == calm)
            assert process.poll() is None, f"seed {SEED}: the speaker ended in round {number}"
        print("seed", SEED, "wrong answers", proxy.wrongs, "cuts", relay.cuts)
        assert relay.cuts >= len(SHARES) // 2, f"seed {SEED}"
        log = self.node.log.read_text()
        assert "Traceback" not in log, f"seed {SEED}: {log[-3000:]}"
        assert self.node.logged('"gobgpd lost"') >= len(SHARES)
        assert self.node.logged('"gobgpd connected"') > len(SHARES)
        assert self.node.kill("speaker", 15) == 0


@pytest.mark.parametrize("kind", ["gobgpd-3", "gobgpd-4"])
def test_a_speaker_of_a_real_gobgpd_gets_over_wrong_answers(kind: str, tmp_path: Path) -> None:
    if kind == "gobgpd-4" and V4 not in os.environ:
        pytest.skip(f"{V4} names no gobgpd of version 4")
    rig = Rig(tmp_path)

    async def run() -> None:
        async with (
            proxied(tmp_path, f"unix://{rig.node.socket}") as (proxy, back),
            relayed(tmp_path, back) as (relay, front),
        ):
            scene = Scene(rig, f"unix://{rig.node.socket}", front)
            rig.node.start_speaker()
            rack = rig.members[1]
            await asyncio.to_thread(wait, "both sessions", lambda: rack.established() == 2, 60)
            await scene.shaken(proxy, relay)

    try:
        rig.rack(1).gobgp("global", "rib", "add", PREFIX, "-a", "ipv4")
        start_daemon(rig.node, kind)
        asyncio.run(run())
    finally:
        rig.close()


def test_a_speaker_of_a_fake_gobgpd_4_gets_over_wrong_answers(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    node = rig.node

    async def run() -> None:
        fake = FakeGobgp4()
        fake.routers = {"10.99.1.2": [told(PREFIX, "10.99.1.2", "10.99.1.2")], "fd99:1::2": []}
        back = f"unix://{node.socket}"
        await fake.serve(back)
        try:
            async with (
                proxied(tmp_path, back) as (proxy, middle),
                relayed(tmp_path, middle) as (relay, front),
            ):
                scene = Scene(rig, back, front)
                node.start_speaker()
                await scene.shaken(proxy, relay)
        finally:
            await fake.stop()
        assert fake.panics == []
        assert fake.daemon.starts == 1

    try:
        node.ip("link", "add", "r1", "type", "veth", "peer", "name", "far")
        node.ip("address", "add", "10.99.1.1/24", "dev", "r1")
        for name in ("r1", "far"):
            node.ip("link", "set", name, "up")
        asyncio.run(run())
    finally:
        rig.close()
