"""What the speaker wants of a BGP daemon. Nothing above knows which daemon answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from speaker.bgp import (
        BgpGlobal,
        Destination,
        DynamicPeers,
        LocalPath,
        Peer,
        PeerStatus,
        Policies,
        Prefix,
    )


class DaemonLostError(Exception):
    """The daemon does not answer, or was restarted meanwhile: everything in it may be gone."""


class DaemonRefusedError(Exception):
    """The daemon answers and declines; its own words are the message."""


@dataclass(frozen=True, slots=True)
class Event:
    """A hint to look again: at these prefixes, at the peers, or (the first one) at everything.

    Where the best path for a prefix is one of ours, `ours` has it: mostly that is our own doing, and no news.
    """

    prefixes: frozenset[Prefix] = frozenset()
    ours: tuple[LocalPath, ...] = ()
    peers: bool = False
    subscribed: bool = False


class Session(Protocol):
    """A BGP daemon. Every call raises DaemonLostError or DaemonRefusedError, and none waits for ever."""

    async def identity(self) -> BgpGlobal | None:
        """Who the daemon is, None while it has not been started."""

    async def start(self, wanted: BgpGlobal) -> None:
        """Starts BGP. Never call it on a daemon that has an identity: it would wipe its tables."""

    async def holds_policies(self, wanted: Policies) -> bool:
        """Whether exactly these are in force."""

    async def set_policies(self, wanted: Policies) -> None:
        """Puts them in force whole, in place of all others.

        Peers with a session hear what is exported now, and not that something no longer is; what they told
        is judged anew.
        """

    async def peers(self) -> list[PeerStatus]:
        """All peers that the daemon has."""

    async def add_peer(self, peer: Peer, restarting: bool) -> None:
        """Adds a peer; its session starts by itself. `restarting`: the daemon lost all it had (RFC 4724, 4.1)."""

    async def remove_peer(self, status: PeerStatus) -> None:
        """Removes a peer and ends its session; one that is gone already is no error."""

    async def dynamic_peers(self) -> list[DynamicPeers]:
        """All groups of dynamic neighbours that the daemon has."""

    async def add_dynamic_peers(self, group: DynamicPeers) -> None:
        """Adds a group."""

    async def remove_dynamic_peers(self, group: DynamicPeers) -> None:
        """Removes a group and ends its members' sessions."""

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
