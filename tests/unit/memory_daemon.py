"""A fake of a BGP daemon, kept in memory, and a configuration to steer it by."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from speaker.bgp import (
    BgpGlobal,
    Destination,
    DynamicPeers,
    Family,
    LearnedPath,
    LocalPath,
    Peer,
    PeerStatus,
    SessionOptions,
)
from speaker.desired import local_paths
from speaker.gobgp.session import DaemonRefusedError, Event
from speaker.settings import Announce, Announcement, Api, Config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from speaker.bgp import Policies, Prefix

OPTIONS = SessionOptions(65002, families=frozenset({Family.IPV4}))
PEER = Peer(ip_address("10.0.0.2"), OPTIONS)
SECOND = replace(PEER, address=ip_address("10.0.0.3"))
GROUP = DynamicPeers("racks", (ip_network("10.0.9.0/24"),), OPTIONS)
CONFIG = Config(
    bgp=BgpGlobal(65001, "10.0.0.1"),
    api=Api("unix:///s"),
    state_dir="state",
    peers=(PEER,),
    announce=Announce(subnets=Announcement("subnets", (ip_network("10.1.0.0/24"),))),
)
WANTED = local_paths(CONFIG.announce, ())


class MemoryDaemon:
    """A fake of a daemon in a few dictionaries, which writes down what is done to it."""

    def __init__(self) -> None:
        self.running: BgpGlobal | None = None
        self.policy: Policies | None = None
        self.neighbours: dict[str, Peer] = {}
        self.groups: dict[str, DynamicPeers] = {}
        self.established: set[str] = set()
        self.graceful = False
        self.paths: dict[Prefix, Destination] = {}
        self.refuse: set[str] = set()
        self.keeps_passwords = False
        self.writes: list[str] = []
        self.reads: list[int | None] = []

    async def identity(self) -> BgpGlobal | None:
        return self.running

    async def start(self, wanted: BgpGlobal) -> None:
        self.writes.append("start")
        self.running = wanted

    async def holds_policies(self, wanted: Policies) -> bool:
        return self.policy == wanted

    async def set_policies(self, wanted: Policies) -> None:
        self.writes.append("policies")
        self.policy = wanted

    async def peers(self) -> list[PeerStatus]:
        return [
            PeerStatus(
                peer,
                "established" if key in self.established else "active",
                address=str(peer.address),
                graceful=self.graceful,
                compares_password=self.keeps_passwords,
            )
            for key, peer in self.neighbours.items()
        ]

    async def add_peer(self, peer: Peer, restarting: bool) -> None:
        if peer.key in self.refuse:
            raise DaemonRefusedError("no")
        self.writes.append(f"add {peer.key}{' restarting' if restarting else ''}")
        self.neighbours[peer.key] = peer

    async def remove_peer(self, status: PeerStatus) -> None:
        self.writes.append(f"remove {status.peer.key}")
        del self.neighbours[status.peer.key]

    async def dynamic_peers(self) -> list[DynamicPeers]:
        return list(self.groups.values())

    async def add_dynamic_peers(self, group: DynamicPeers) -> None:
        self.writes.append(f"add {group.name}")
        self.groups[group.name] = group

    async def remove_dynamic_peers(self, group: DynamicPeers) -> None:
        self.writes.append(f"remove {group.name}")
        del self.groups[group.name]

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

    def learn(self, text: str) -> None:
        """An eBGP peer tells this prefix."""
        prefix = ip_network(text)
        path = LearnedPath(ip_address("10.0.0.2"), "10.0.0.2", 100, 1, 0, 0, external=True)
        self.paths[prefix] = Destination(prefix, None, False, (path,))
