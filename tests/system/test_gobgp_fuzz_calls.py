"""Wrong answers to each call: an adapter of either version raises its two errors and no other.

ANYPOD_GOBGP_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address, ip_network
from random import Random
from typing import TYPE_CHECKING

import pytest

from speaker.bgp import (
    BgpGlobal,
    DynamicPeers,
    Family,
    LocalPath,
    Peer,
    Policies,
    Rule,
    SessionOptions,
    Source,
)
from speaker.gobgp import channel, streams
from speaker.gobgp.connect import connect
from speaker.gobgp.session import DaemonLostError, DaemonRefusedError
from speaker.settings import Api
from tests.system.gobgp_daemons import DAEMONS, Daemon
from tests.system.gobgp_proxy import SEED, Proxy, proxied, seen
from tests.system.gobgp_v4_fake import told
from tests.system.gobgp_v4_servicer import FakeGobgp4

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from speaker.gobgp.session import Session

CALLS = 300
PREFIX = "10.50.0.0/16"
OPTIONS = SessionOptions(65100, families=frozenset(Family), passive=True)
PEER = Peer(ip_address("192.0.2.9"), OPTIONS)
GROUP = DynamicPeers("racks", (ip_network("198.51.100.0/24"),), OPTIONS)
RULES = Policies((Rule(accept=True),), (Rule(accept=True, source=Source.LOCAL),))
PATHS = [LocalPath(ip_network(f"10.1.{number}.0/24"), ip_address("0.0.0.0")) for number in range(5)]


async def _first_events(session: Session) -> None:
    async with asyncio.timeout(0.2):
        async for _ in session.watch():
            pass


CALLS_OF_A_SESSION: list[Callable[[Session], Awaitable[object]]] = [
    lambda session: session.identity(),
    lambda session: session.holds_policies(RULES),
    lambda session: session.peers(),
    lambda session: session.dynamic_peers(),
    lambda session: session.table(),
    lambda session: session.table([PATHS[0].prefix]),
    lambda session: session.announce(PATHS),
    _first_events,
]


@pytest.mark.parametrize("kind", DAEMONS)
def test_an_adapter_raises_its_two_errors_and_no_other(kind: str, tmp_path: Path) -> None:
    daemon = Daemon(kind, tmp_path)
    random = Random(SEED)  # noqa: S311

    async def run() -> None:
        async with daemon.session() as session:
            await session.start(BgpGlobal(65001, "10.99.0.1", -1))
            await session.set_policies(RULES)
            await session.add_peer(PEER, restarting=False)
            await session.add_dynamic_peers(GROUP)
            await session.announce(PATHS)
            before = await seen(session)
            async with proxied(tmp_path, daemon.target) as (proxy, front):
                errors = await trouble(proxy, front, random)
            print("seed", SEED, "wrong answers", proxy.wrongs, "errors", errors)
            assert errors > CALLS / 20
            assert await seen(session) == before

    try:
        daemon.start()
        asyncio.run(run())
        assert daemon.runs()
    finally:
        daemon.close()


async def trouble(proxy: Proxy, front: str, random: Random) -> int:
    """Calls with many wrong answers; how many of them were noticed."""
    errors = 0
    session: Session | None = None
    for _ in range(CALLS):
        proxy.share = random.choice([0.1, 0.5])
        try:
            session = session or await connect(Api(front))
            await random.choice(CALLS_OF_A_SESSION)(session)
        except TimeoutError:
            pass
        except (DaemonLostError, DaemonRefusedError):
            errors += 1
            if session is not None:
                await session.close()
            session = None
    proxy.share = 0.0
    if session is not None:
        await session.close()
    return errors


def test_a_message_larger_than_any_ends_the_call_and_not_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = [option for option in channel._OPTIONS if option[0] != "grpc.max_receive_message_length"]
    monkeypatch.setattr(channel, "_OPTIONS", (*limited, ("grpc.max_receive_message_length", 1 << 20)))
    monkeypatch.setattr(streams, "MESSAGE", 1 << 20)

    async def run() -> None:
        fake = FakeGobgp4()
        target = f"unix://{tmp_path}/api.sock"
        await fake.serve(target)
        try:
            session = await connect(Api(target))
            await session.start(BgpGlobal(65001, "10.99.0.1", -1))
            fake.daemon.learn(told(PREFIX, "192.0.2.9", *["192.0.2.9"] * 200_000))
            with pytest.raises(DaemonLostError, match="larger than max"):
                await session.table()
            events = session.watch()
            assert (await anext(events)).subscribed
            fake.tell_paths([told(PREFIX, "192.0.2.9", *["192.0.2.9"] * 200_000)])
            with pytest.raises(DaemonLostError, match="larger than max"):
                await anext(events)
            await session.close()
        finally:
            await fake.stop()

    asyncio.run(run())
