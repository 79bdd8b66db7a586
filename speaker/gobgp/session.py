"""What the speaker wants of a BGP daemon, in its own values. Nothing above knows which daemon answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network


class DaemonLostError(Exception):
    """The daemon does not answer, or was restarted meanwhile: everything in it may be gone."""


class DaemonRefusedError(Exception):
    """The daemon answers and declines; its own words are the message."""


class Family(IntEnum):
    """IPv4 or IPv6 unicast; the value is the IP version."""

    IPV4 = 4
    IPV6 = 6


class ExportPolicy(Enum):
    """Which paths peers are told: those of this node only, or also what other peers told."""

    LOCAL = "local"
    ALL = "all"
    OTHER = "other"  # set by somebody else; never asked for


@dataclass(frozen=True, slots=True)
class BgpGlobal:
    """Who the daemon is. Port -1: do not listen; no addresses: listen on all."""

    asn: int
    router_id: str
    listen_port: int = 179
    listen_addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """A BGP neighbour as configured; times in seconds; `multihop_ttl` 0: directly connected."""

    address: Address
    asn: int
    description: str = field(default="", compare=False)  # words are no reason to reset a session
    families: frozenset[Family] = frozenset()
    local_address: Address | None = None
    passive: bool = False
    multihop_ttl: int = 0
    connect_retry: int = 5
    hold: int = 90
    keepalive: int = 30


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A peer as the daemon has it, and the state of its session ("established", "active", …).

    `managed` is False for one that follows a peer group, which the speaker never makes.
    """

    peer: Peer
    state: str
    managed: bool = True

    @property
    def established(self) -> bool:
        """Whether routes can be exchanged."""
        return self.state == "established"


@dataclass(frozen=True, slots=True)
class LocalPath:
    """A path of this node. An unspecified next hop (0.0.0.0, ::) is each session's own address."""

    prefix: Prefix
    next_hop: Address


@dataclass(frozen=True, slots=True)
class LearnedPath:
    """A path from a peer; `origin` 0 IGP, 1 EGP, 2 incomplete; `external` says eBGP."""

    next_hop: Address
    peer: str
    local_pref: int
    as_path_length: int
    origin: int
    med: int
    external: bool


@dataclass(frozen=True, slots=True)
class Destination:
    """All paths for one prefix: ours, whether others added local ones, the learned in order of preference."""

    prefix: Prefix
    ours: LocalPath | None
    foreign: bool
    learned: tuple[LearnedPath, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """A hint to look again: at these prefixes, at the peers, or (the first one) at everything."""

    prefixes: frozenset[Prefix] = frozenset()
    peers: bool = False
    subscribed: bool = False


class Session(Protocol):
    """A BGP daemon. Every call raises DaemonLostError or DaemonRefusedError, and none waits for ever."""

    async def identity(self) -> BgpGlobal | None:
        """Who the daemon is, None while it has not been started."""

    async def start(self, wanted: BgpGlobal) -> None:
        """Starts BGP. Never call it on a daemon that has an identity: it would wipe its tables."""

    async def export_policy(self) -> ExportPolicy:
        """Which paths are exported now."""

    async def set_export_policy(self, wanted: ExportPolicy) -> None:
        """Changes it. Peers with a session hear what is exported now, and not what no longer is."""

    async def peers(self) -> list[PeerStatus]:
        """All peers that the daemon has."""

    async def add_peer(self, peer: Peer) -> None:
        """Adds a peer; its session starts by itself."""

    async def remove_peer(self, address: Address) -> None:
        """Removes a peer and ends its session."""

    async def announce(self, paths: Collection[LocalPath]) -> None:
        """Adds or replaces paths of ours."""

    async def withdraw(self, prefixes: Collection[Prefix]) -> None:
        """Removes paths of ours, never those that somebody else added."""

    async def table(self, prefixes: Collection[Prefix] | None = None) -> list[Destination]:
        """The whole table, or only these prefixes; those without a path are missing in the answer."""

    def watch(self) -> AsyncIterator[Event]:
        """Hints, the first as soon as the subscription stands; ends with DaemonLostError."""

    async def close(self) -> None:
        """Lets go of the daemon, which keeps everything."""
