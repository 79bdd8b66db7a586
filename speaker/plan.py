"""What differs between what should be and what is, and what to do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from speaker.bgp import (
        BgpGlobal,
        DynamicPeers,
        LocalPath,
        Peer,
        PeerStatus,
        Prefix,
        SessionOptions,
    )
    from speaker.desired import KernelRoute, RouteKey


@dataclass(frozen=True, slots=True)
class PathPlan:
    """Writes to the daemon's table; empty when there is nothing to do."""

    announce: tuple[LocalPath, ...]
    withdraw: tuple[Prefix, ...]


def plan_paths(wanted: Collection[LocalPath], found: Mapping[Prefix, LocalPath]) -> PathPlan:
    """Ours that should be against ours in the table."""
    kept = {path.prefix for path in wanted}
    announce = [path for path in wanted if found.get(path.prefix) != path]
    return PathPlan(
        announce=tuple(sorted(announce, key=lambda path: _order(path.prefix))),
        withdraw=tuple(sorted((prefix for prefix in found if prefix not in kept), key=_order)),
    )


def _order(prefix: Prefix) -> tuple[int, int, int]:
    return prefix.version, int(prefix.network_address), prefix.prefixlen


@dataclass(frozen=True, slots=True)
class PeerPlan:
    """Peers to take out and to put in; a changed one is in both."""

    remove: tuple[PeerStatus, ...]
    add: tuple[Peer, ...]


def plan_peers(wanted: Iterable[Peer], found: Iterable[PeerStatus]) -> PeerPlan:
    """The daemon is the speaker's own: peers that are not configured go, unless they are dynamic ones."""
    target = {peer.key: peer for peer in wanted}
    present = {status.peer.key: status for status in found if not status.group}
    remove = {
        key: status
        for key, status in present.items()
        if key not in target or not same_peer(target[key], status.peer, status.compares_password)
    }
    add = [peer for key, peer in target.items() if key not in present or key in remove]
    return PeerPlan(tuple(remove.values()), tuple(add))


def same_peer(wanted: Peer, found: Peer, compares_password: bool = True) -> bool:
    """Whether the session may stay. An interface's neighbour has whichever address it has."""
    address = None if wanted.interface else found.address
    options = _as_told(wanted.options, found.options, compares_password)
    return wanted == replace(found, address=address, options=options)


def _as_told(wanted: SessionOptions, found: SessionOptions, compares_password: bool) -> SessionOptions:
    """What the daemon chose itself, where nothing is wanted, is no difference; nor is what it keeps to itself."""
    return replace(
        found,
        local_address=found.local_address if wanted.local_address else None,
        cluster_id=found.cluster_id if wanted.cluster_id else "",
        password=found.password if compares_password else wanted.password,
    )


@dataclass(frozen=True, slots=True)
class DynamicPlan:
    """Groups of dynamic neighbours to take out and to put in; a changed one is in both."""

    remove: tuple[DynamicPeers, ...]
    add: tuple[DynamicPeers, ...]


def plan_dynamic(wanted: Iterable[DynamicPeers], found: Iterable[DynamicPeers]) -> DynamicPlan:
    """Groups by name, and what they consist of; the order of their prefixes says nothing."""
    target = {group.name: group for group in wanted}
    present = {group.name: group for group in found}
    remove = {
        name: group
        for name, group in present.items()
        if name not in target or not _same_group(target[name], group)
    }
    add = [group for name, group in target.items() if name not in present or name in remove]
    return DynamicPlan(tuple(remove.values()), tuple(add))


def _same_group(wanted: DynamicPeers, found: DynamicPeers) -> bool:
    options = _as_told(wanted.options, found.options, compares_password=True)
    return set(wanted.prefixes) == set(found.prefixes) and wanted.options == options


def same_daemon(wanted: BgpGlobal, found: BgpGlobal) -> bool:
    """Whether a running daemon is the one of our configuration. Listening is told to a daemon only once."""
    return (wanted.asn, wanted.router_id) == (found.asn, found.router_id)


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """Writes to the kernel, in this order. Those of `retire` have been added anew with another metric."""

    remove: tuple[KernelRoute, ...]
    add: tuple[KernelRoute, ...]
    change: tuple[KernelRoute, ...]
    retire: tuple[KernelRoute, ...] = ()

    def __len__(self) -> int:
        return len(self.remove) + len(self.add) + len(self.change) + len(self.retire)


def plan_routes(
    wanted: Mapping[RouteKey, KernelRoute],
    found: Mapping[RouteKey, KernelRoute],
) -> RoutePlan:
    """`found` are routes of ours."""
    add: list[KernelRoute] = []
    change: list[KernelRoute] = []
    for key, route in wanted.items():
        before = found.get(key)
        if before is None:
            add.append(route)
        elif before.next_hops != route.next_hops:
            change.append(route)
    gone = [route for key, route in found.items() if key not in wanted]
    anew = {route.prefix for route in add} if gone else set()
    return RoutePlan(
        remove=tuple(route for route in gone if route.prefix not in anew),
        add=tuple(add),
        change=tuple(change),
        retire=tuple(route for route in gone if route.prefix in anew),
    )
