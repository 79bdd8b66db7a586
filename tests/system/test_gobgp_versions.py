"""What every session promises, shown with a gobgpd of version 3, a fake of version 4, and a real one if there is one.

That the real daemons and the fake pass the same tests is what makes the fake's answers believable.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest

from speaker.bgp import Attributes, LocalPath
from speaker.gobgp import v3_paths, v4_paths
from speaker.gobgp.connect import connect
from speaker.gobgp.session import DaemonLostError, DaemonRefusedError, Event
from speaker.gobgp.v3 import GobgpV3
from speaker.gobgp.v4 import GobgpV4
from speaker.settings import Api
from tests.system.gobgp_daemons import DAEMONS, OPTIONS, OWN, PATHS, PEER, Daemon, using

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from speaker.gobgp.session import Session


@pytest.fixture(params=DAEMONS)
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(request.param, tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.close()


async def add_as_another(session: Session, path: LocalPath) -> None:
    """Adds a path as another program would: without our identifier."""
    codec: Any = v4_paths if isinstance(session, GobgpV4) else v3_paths
    message = codec.path_to_api(path)
    message.identifier = 0
    await session._send([message], lambda one: one)  # type: ignore[attr-defined]


def test_the_version_is_found_by_asking(daemon: Daemon) -> None:
    async def work(session: Session) -> None:
        assert type(session) is (GobgpV3 if daemon.kind == "gobgpd-3" else GobgpV4)
        assert await session.identity() is None
        await session.start(OWN)
        assert await session.identity() == OWN

    using(daemon, work, start=False)


def test_a_daemon_that_was_not_started_counts_as_lost(daemon: Daemon) -> None:
    async def work(session: Session) -> None:
        for call in (session.table(), session.announce(PATHS), session.add_peer(PEER, False)):
            with pytest.raises(DaemonLostError):
                await call

    using(daemon, work, start=False)


def test_a_running_daemon_is_not_started_again(daemon: Daemon) -> None:
    async def work(session: Session) -> None:
        await session.announce(PATHS)
        with pytest.raises(DaemonLostError, match="has a table"):
            await session.start(OWN)
        assert {found.ours for found in await session.table()} == set(PATHS)

    using(daemon, work)


def test_paths_come_back_as_they_went(daemon: Daemon) -> None:
    async def work(session: Session) -> None:
        await session.announce(PATHS)
        assert {found.ours for found in await session.table()} == set(PATHS)
        changed = replace(PATHS[1], attributes=Attributes(med=5))
        await session.announce([changed])
        (found,) = await session.table([changed.prefix])
        assert (found.ours, found.foreign, found.learned) == (changed, False, ())
        await session.withdraw([PATHS[0].prefix, PATHS[2].prefix, ip_network("10.250.0.0/24")])
        assert [found.ours for found in await session.table()] == [changed]

    using(daemon, work)


def test_other_programs_paths_stay_whatever_is_withdrawn(daemon: Daemon) -> None:
    async def work(session: Session) -> None:
        await add_as_another(session, PATHS[0])
        await session.announce(PATHS)
        await session.withdraw([])
        assert len(await session.table()) == len(PATHS)
        await session.withdraw([path.prefix for path in PATHS])
        (found,) = await session.table()
        assert (found.prefix, found.ours, found.foreign) == (PATHS[0].prefix, None, True)

    using(daemon, work)


def test_many_paths_go_in_several_messages(daemon: Daemon) -> None:
    async def work(session: Session) -> None:
        prefixes = list(IPv4Network("10.64.0.0/10").subnets(new_prefix=24))[:1201]
        await session.announce([LocalPath(prefix, ip_address("0.0.0.0")) for prefix in prefixes])
        assert {found.prefix for found in await session.table()} == set(prefixes)
        await session.withdraw(prefixes[1:])
        assert [found.prefix for found in await session.table()] == prefixes[:1]

    using(daemon, work)


def test_nonsense_is_not_sent(daemon: Daemon) -> None:
    async def work(session: Session) -> None:
        wrong = LocalPath(ip_network("fd00:2::/64"), ip_address("10.0.0.1"))
        with pytest.raises(DaemonRefusedError, match="no next hop"):
            await session.announce([PATHS[0], wrong])
        assert await session.table() == []
        with pytest.raises(DaemonRefusedError, match="family"):
            await session.add_peer(replace(PEER, options=replace(OPTIONS, families=frozenset())), False)
        assert await session.peers() == []

    using(daemon, work)


# ---- hints


async def following(
    session: Session, work: Callable[[], Awaitable[None]], wanted: Callable[[Event], bool]
) -> None:
    """Subscribes, does the work, and waits for an event of that kind."""
    async with asyncio.timeout(10):
        events = session.watch()
        async for event in events:
            if event.subscribed:
                await work()
            elif wanted(event):
                break


def test_changes_are_told(daemon: Daemon) -> None:
    async def work(session: Session) -> None:
        prefix = PATHS[1].prefix
        await following(session, lambda: session.announce(PATHS), lambda event: prefix in event.prefixes)
        await following(session, lambda: session.withdraw([prefix]), lambda event: prefix in event.prefixes)
        await following(session, lambda: session.add_peer(PEER, False), lambda event: event.peers)

    using(daemon, work)


# ---- loss


def test_the_end_of_a_daemon_is_noticed_and_the_next_one_asked_who_it_is(daemon: Daemon) -> None:
    async def run() -> None:
        async with daemon.session() as session:
            await session.start(OWN)
            events = session.watch()
            assert (await anext(events)).subscribed
            daemon.kill()
            with pytest.raises(DaemonLostError):
                await anext(events)
            with pytest.raises(DaemonLostError):
                await session.peers()
        with pytest.raises(DaemonLostError):
            await connect(Api(daemon.target))
        daemon.start()
        async with daemon.session() as session:
            assert await session.identity() is None

    asyncio.run(run())


def test_a_session_whose_daemon_is_of_another_version_now_is_lost(tmp_path: Path) -> None:
    daemon = Daemon("gobgpd-3", tmp_path)

    async def run() -> None:
        for kind, other in (("gobgpd-3", "fake-gobgpd-4"), ("fake-gobgpd-4", "gobgpd-3")):
            daemon.kind = kind
            daemon.start()
            async with daemon.session() as session:
                await session.start(OWN)
                daemon.kill()
                daemon.kind = other
                daemon.start()
                await asyncio.sleep(0.5)  # the channel finds the new one by itself
                with pytest.raises(DaemonLostError):
                    await session.peers()
            async with daemon.session() as session:
                assert type(session) is (GobgpV3 if other == "gobgpd-3" else GobgpV4)
                assert await session.identity() is None
            daemon.kill()

    try:
        asyncio.run(run())
    finally:
        daemon.close()


def test_a_closed_session_raises_and_cancels_nobody(daemon: Daemon) -> None:
    async def run() -> None:
        session = await connect(Api(daemon.target))
        await session.start(OWN)
        events = session.watch()
        await anext(events)
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.1)
        await session.close()
        with pytest.raises(DaemonLostError):
            await waiting
        with pytest.raises(DaemonLostError):
            await session.peers()

    asyncio.run(run())
