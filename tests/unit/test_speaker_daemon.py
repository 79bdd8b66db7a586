"""Bringing a daemon to where it should be: the order of the writes, and that there are none without need."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from speaker import daemon as module
from speaker.config import Announce, Config
from speaker.daemon import Daemon, WrongDaemonError
from speaker.desired import local_paths
from speaker.gobgp.session import (
    BgpGlobal,
    DaemonRefusedError,
    Destination,
    Event,
    ExportPolicy,
    Family,
    LocalPath,
    Peer,
    PeerStatus,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from speaker.gobgp.session import Address, Prefix

PEER = Peer(ip_address("10.0.0.2"), 65002, families=frozenset({Family.IPV4}))
SECOND = replace(PEER, address=ip_address("10.0.0.3"))
CONFIG = Config(
    bgp=BgpGlobal(65001, "10.0.0.1"),
    api="unix:///s",
    peers=(PEER,),
    announce=Announce(subnets=(ip_network("10.1.0.0/24"),)),
)
WANTED = local_paths(CONFIG.announce, ())


class MemoryDaemon:
    """A daemon in a few dictionaries, which writes down what is done to it."""

    def __init__(self) -> None:
        self.running: BgpGlobal | None = None
        self.policy = ExportPolicy.ALL
        self.neighbours: dict[Address, Peer] = {}
        self.paths: dict[Prefix, Destination] = {}
        self.refuse: set[Address] = set()
        self.writes: list[str] = []
        self.reads: list[int | None] = []

    async def identity(self) -> BgpGlobal | None:
        return self.running

    async def start(self, wanted: BgpGlobal) -> None:
        self.writes.append("start")
        self.running = wanted

    async def export_policy(self) -> ExportPolicy:
        return self.policy

    async def set_export_policy(self, wanted: ExportPolicy) -> None:
        self.writes.append("policy")
        self.policy = wanted

    async def peers(self) -> list[PeerStatus]:
        return [PeerStatus(peer, "active") for peer in self.neighbours.values()]

    async def add_peer(self, peer: Peer) -> None:
        if peer.address in self.refuse:
            raise DaemonRefusedError("no")
        self.writes.append(f"add {peer.address}")
        self.neighbours[peer.address] = peer

    async def remove_peer(self, address: Address) -> None:
        self.writes.append(f"remove {address}")
        del self.neighbours[address]

    async def announce(self, paths: Collection[LocalPath]) -> None:
        for path in paths:
            self.writes.append(f"announce {path.prefix}")
            before = self.paths.get(path.prefix, Destination(path.prefix, None, False, ()))
            self.paths[path.prefix] = replace(before, ours=path)

    async def withdraw(self, prefixes: Collection[Prefix]) -> None:
        for prefix in prefixes:
            self.writes.append(f"withdraw {prefix}")
            self.paths[prefix] = replace(self.paths[prefix], ours=None)

    async def table(self, prefixes: Collection[Prefix] | None = None) -> list[Destination]:
        self.reads.append(None if prefixes is None else len(prefixes))
        return [entry for key, entry in self.paths.items() if prefixes is None or key in prefixes]

    async def watch(self) -> AsyncIterator[Event]:
        yield Event(subscribed=True)

    async def close(self) -> None:
        pass


def restore(session: MemoryDaemon, config: Config = CONFIG) -> list[str]:
    """What a speaker that has just been started writes."""
    session.writes.clear()
    asyncio.run(Daemon(config, session).restore(local_paths(config.announce, ())))
    return session.writes


def test_a_fresh_daemon_hears_of_paths_before_peers() -> None:
    assert restore(MemoryDaemon()) == ["start", "policy", "announce 10.1.0.0/24", "add 10.0.0.2"]


def test_a_restarted_speaker_writes_nothing() -> None:
    session = MemoryDaemon()
    restore(session)
    assert restore(session) == []


def test_only_the_difference_is_written() -> None:
    session = MemoryDaemon()
    restore(session)
    config = replace(
        CONFIG,
        peers=(replace(PEER, hold=30, keepalive=10), SECOND),
        announce=Announce(subnets=(ip_network("10.2.0.0/24"),), transit=True),
    )
    assert restore(session, config) == [
        "policy",
        "announce 10.2.0.0/24",
        "withdraw 10.1.0.0/24",
        "remove 10.0.0.2",
        "add 10.0.0.2",
        "add 10.0.0.3",
    ]


def test_a_narrower_policy_ends_the_sessions_that_heard_too_much() -> None:
    session = MemoryDaemon()
    restore(session)
    session.policy = ExportPolicy.OTHER
    assert restore(session) == ["policy", "remove 10.0.0.2", "add 10.0.0.2"]


def test_a_daemon_of_another_as_is_left_alone() -> None:
    session = MemoryDaemon()
    session.running = BgpGlobal(64999, "10.0.0.1")
    with pytest.raises(WrongDaemonError, match=r"runs as AS 64999, .* and not as AS 65001"):
        restore(session)
    assert session.writes == []


def test_one_refused_peer_does_not_keep_the_others_out() -> None:
    session = MemoryDaemon()
    session.refuse = {PEER.address}
    assert restore(session, replace(CONFIG, peers=(PEER, SECOND)))[-1] == "add 10.0.0.3"


def test_writes_are_known_without_reading_again() -> None:
    session = MemoryDaemon()
    daemon = Daemon(CONFIG, session)

    async def twice() -> None:
        await daemon.restore(WANTED)
        session.writes.clear()
        more = WANTED | {LocalPath(ip_network("192.0.2.1/32"), ip_address(0))}
        for wanted in (more, more, WANTED, WANTED):
            await daemon.close_paths(wanted)

    asyncio.run(twice())
    assert session.writes == ["announce 192.0.2.1/32", "withdraw 192.0.2.1/32"]
    assert session.reads == [None]


def test_a_lost_prefix_vanishes_and_many_dirty_ones_read_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", 1)
    session = MemoryDaemon()
    daemon = Daemon(CONFIG, session)
    prefix = ip_network("10.9.0.0/16")

    async def reread() -> None:
        daemon.table[prefix] = Destination(prefix, None, False, ())
        await daemon.reread([])
        await daemon.reread([prefix])
        await daemon.reread([prefix, ip_network("10.8.0.0/16")])

    asyncio.run(reread())
    assert daemon.table == {}
    assert session.reads == [1, None]


def test_nothing_is_withdrawn_while_it_is_not_known_what_pods_hold() -> None:
    session = MemoryDaemon()
    of_a_pod = LocalPath(ip_network("192.0.2.1/32"), ip_address(0))
    asyncio.run(Daemon(CONFIG, session).restore(WANTED | {of_a_pod}))
    session.writes.clear()
    daemon = Daemon(CONFIG, session)

    async def restart() -> None:
        daemon.withdraws = False
        await daemon.restore(WANTED)
        assert session.writes == []
        daemon.withdraws = True
        await daemon.close_paths(WANTED)

    asyncio.run(restart())
    assert session.writes == ["withdraw 192.0.2.1/32"]
