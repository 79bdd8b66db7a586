"""What differs between what should be and what is, and what to do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from speaker.desired import KernelRoute, RouteKey
    from speaker.gobgp.session import (
        Address,
        BgpGlobal,
        Destination,
        LocalPath,
        Peer,
        PeerStatus,
        Prefix,
    )


@dataclass(frozen=True, slots=True)
class PathPlan:
    """Writes to the daemon's table; empty when there is nothing to do."""

    announce: tuple[LocalPath, ...]
    withdraw: tuple[Prefix, ...]


def plan_paths(wanted: Collection[LocalPath], table: Mapping[Prefix, Destination]) -> PathPlan:
    """Ours in the table against ours that should be; paths that others added do not count."""
    found = {entry.ours for entry in table.values() if entry.ours is not None}
    kept = {path.prefix for path in wanted}
    return PathPlan(
        announce=tuple(sorted(set(wanted) - found, key=_by_prefix)),
        withdraw=tuple(path.prefix for path in sorted(found, key=_by_prefix) if path.prefix not in kept),
    )


def _by_prefix(path: LocalPath) -> tuple[int, int, int]:
    return path.prefix.version, int(path.prefix.network_address), path.prefix.prefixlen


@dataclass(frozen=True, slots=True)
class PeerPlan:
    """Peers to take out and to put in; a changed one is in both."""

    remove: tuple[Address, ...]
    add: tuple[Peer, ...]


def plan_peers(wanted: Iterable[Peer], found: Iterable[PeerStatus]) -> PeerPlan:
    """The daemon is the speaker's own: peers that are not configured go, unless a peer group made them."""
    target = {peer.address: peer for peer in wanted}
    present = {status.peer.address: status for status in found}
    remove = [
        address
        for address, status in present.items()
        if (address not in target and status.managed)
        or (address in target and not same_peer(target[address], status.peer))
    ]
    add = [peer for address, peer in target.items() if address not in present or address in remove]
    return PeerPlan(tuple(remove), tuple(add))


def same_peer(wanted: Peer, found: Peer) -> bool:
    """Whether the session may stay. Where no local address is wanted, the daemon tells the session's."""
    if wanted.local_address is None:
        found = replace(found, local_address=None)
    return wanted == found


def same_daemon(wanted: BgpGlobal, found: BgpGlobal) -> bool:
    """Whether a running daemon is the one of our configuration. Listening is told to a daemon only once."""
    return (wanted.asn, wanted.router_id) == (found.asn, found.router_id)


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """Writes to the kernel."""

    add: tuple[KernelRoute, ...]
    change: tuple[KernelRoute, ...]
    remove: tuple[KernelRoute, ...]

    def __len__(self) -> int:
        return len(self.add) + len(self.change) + len(self.remove)


def plan_routes(
    wanted: Mapping[RouteKey, KernelRoute],
    found: Mapping[RouteKey, KernelRoute],
) -> RoutePlan:
    """`found` are routes of ours."""
    return RoutePlan(
        add=tuple(route for key, route in wanted.items() if key not in found),
        change=tuple(route for key, route in wanted.items() if key in found and found[key] != route),
        remove=tuple(route for key, route in found.items() if key not in wanted),
    )
