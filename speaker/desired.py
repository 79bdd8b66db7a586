"""What should be announced and routed: pure functions of configuration, allocations and learned paths."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from speaker.gobgp.session import Family, LocalPath
from speaker.prefixes import inside, never_routed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from speaker.config import Announce, Config
    from speaker.gobgp.session import Address, Destination, LearnedPath, Prefix

# So bad that each other route for the same prefix, the bridge's own first of all, is preferred.
UNREACHABLE_METRIC = 4_000_000_000


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """A route as we want it, or as we find it; without next hops it is `unreachable`."""

    prefix: Prefix
    metric: int
    next_hops: frozenset[Address] = frozenset()

    @property
    def key(self) -> RouteKey:
        """What the kernel allows once in a table."""
        return self.prefix, self.metric


RouteKey = tuple["Prefix", int]


# ---- announcing


def local_paths(announce: Announce, addresses: Iterable[Address]) -> frozenset[LocalPath]:
    """The node's subnets, the configured prefixes, and each pod address that lies outside the subnets."""
    prefixes: set[Prefix] = {*announce.subnets, *announce.prefixes}
    for address in addresses:
        if _routable(address) and not inside(ip_network(address), announce.subnets):
            prefixes.add(ip_network(address))
    return frozenset(LocalPath(prefix, announce.next_hop(Family(prefix.version))) for prefix in prefixes)


def _routable(address: Address) -> bool:
    return not (
        address.is_link_local or address.is_loopback or address.is_multicast or address.is_unspecified
    )


# ---- routing


def equal_paths(learned: tuple[LearnedPath, ...]) -> tuple[LearnedPath, ...]:
    """The best path and those that are as good (RFC 4271, 9.1.2.2 a to d).

    The daemon's first path is the best one. What remains as tie-breakers (router id, age, address)
    says nothing about the way and is ignored; so is which AS the neighbour is in ("multipath relax").
    """
    if not learned:
        return ()
    best = _rank(learned[0])
    return tuple(path for path in learned if _rank(path) == best)


def _rank(path: LearnedPath) -> tuple[int, int, int, int, bool]:
    return path.local_pref, path.as_path_length, path.origin, path.med, path.external


def unreachable_routes(config: Config) -> dict[RouteKey, KernelRoute]:
    """One behind each announced subnet: a packet to a free address ends here and does not circle."""
    if not config.kernel.install:
        return {}
    routes = (KernelRoute(subnet, UNREACHABLE_METRIC) for subnet in config.announce.subnets)
    return {route.key: route for route in routes}


def learned_routes(
    config: Config,
    table: Mapping[Prefix, Destination],
    announced: Collection[Prefix],
    connected: Collection[Prefix],
) -> dict[RouteKey, KernelRoute]:
    """The routes that the daemon's table calls for.

    `announced` are prefixes of ours, `connected` those of this node's links.
    """
    wanted: dict[RouteKey, KernelRoute] = {}
    if not config.kernel.install:
        return wanted
    for prefix, destination in table.items():
        if destination.foreign or destination.ours is not None or prefix in announced:
            continue
        if prefix in connected or not accepted(config, prefix):
            continue
        hops = _next_hops(prefix, destination, connected)
        if hops:
            route = KernelRoute(prefix, config.kernel.metric, hops)
            wanted[route.key] = route
    return wanted


def _next_hops(prefix: Prefix, destination: Destination, connected: Collection[Prefix]) -> frozenset[Address]:
    hops = frozenset(path.next_hop for path in equal_paths(destination.learned))
    # A next hop that lies inside its own prefix, inside a link's subnet: the route would
    # hide the neighbour that it needs.
    circular = any(hop in prefix for hop in hops) and inside(prefix, connected)
    return frozenset() if circular else frozenset(hop for hop in hops if not hop.is_unspecified)


def accepted(config: Config, prefix: Prefix) -> bool:
    """Whether a learned prefix may be installed: the [accept] table, and never anything of our subnets."""
    if prefix.prefixlen == 0:
        return config.accept.default_route
    if never_routed(prefix) or inside(prefix, config.announce.subnets):
        return False
    return not config.accept.prefixes or inside(prefix, config.accept.prefixes)
