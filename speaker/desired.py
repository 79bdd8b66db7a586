"""What should be announced; and what a route of ours is, and what the kernel holds. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING

from speaker.bgp import Family, LocalPath
from speaker.prefixes import inside

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.bgp import Address, Prefix
    from speaker.settings import Announce, Announcement, Config

# So bad that each other route for the same prefix, the bridge's own first of all, is preferred.
UNREACHABLE_METRIC = 4_000_000_000


@dataclass(frozen=True, slots=True)
class NextHop:
    """A neighbour to send to, also an IPv6 one for IPv4; `interface` names the link of a link-local one."""

    address: Address
    interface: str = ""

    def __str__(self) -> str:
        return f"{self.address}%{self.interface}" if self.interface else str(self.address)


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """A route as we want it, or as we find it; without next hops it is `unreachable`."""

    prefix: Prefix
    metric: int
    next_hops: frozenset[NextHop] = frozenset()

    @property
    def key(self) -> RouteKey:
        """What the kernel allows once in a table."""
        return self.prefix, self.metric


RouteKey = tuple["Prefix", int]


@dataclass(slots=True)
class Held:
    """What the kernel holds: routes of ours, and all that says how a next hop is reached.

    `connected` are the prefixes of this node's links, `direct` all that is reached without a gateway, `down` those
    of them whose link has no carrier, and names of such links; `others` go over gateways (without any: nowhere).
    `own` are this node's addresses, `former` keys of routes that were ours under another protocol number.
    """

    ours: dict[RouteKey, KernelRoute] = field(default_factory=dict)
    connected: frozenset[Prefix] = frozenset()
    direct: frozenset[Prefix] = frozenset()
    down: frozenset[Prefix | str] = frozenset()
    others: dict[Prefix, KernelRoute] = field(default_factory=dict)
    own: frozenset[Address] = frozenset()
    former: set[RouteKey] = field(default_factory=set)


def local_paths(
    announce: Announce, addresses: Iterable[Address], vips: Iterable[LocalPath] = ()
) -> frozenset[LocalPath]:
    """The node's subnets, the configured prefixes, each pod address that lies outside the subnets, and the VIPs."""
    paths: dict[Prefix, LocalPath] = {}
    for announcement in (announce.subnets, *announce.others):
        for prefix in announcement.prefixes:
            paths.setdefault(prefix, _path(prefix, announcement))
    for address in addresses:
        host = ip_network(address)
        if _routable(address) and host not in paths and not inside(host, announce.subnets.prefixes):
            paths[host] = _path(host, announce.hosts)
    for path in vips:
        paths.setdefault(path.prefix, path)
    return frozenset(paths.values())


class Wanted:
    """The same, made anew when one of the parts is another object."""

    def __init__(self) -> None:
        self._of: tuple[object, ...] = (None, None, None)
        self._paths: frozenset[LocalPath] = frozenset()

    def of(
        self, announce: Announce, addresses: frozenset[Address], vips: frozenset[LocalPath]
    ) -> frozenset[LocalPath]:
        """What should be announced now."""
        parts = announce, addresses, vips
        if any(now is not before for now, before in zip(parts, self._of, strict=True)):
            self._of = parts
            self._paths = local_paths(*parts)
        return self._paths


def _path(prefix: Prefix, announcement: Announcement) -> LocalPath:
    return LocalPath(prefix, announcement.next_hop(Family(prefix.version)), announcement.attributes)


def _routable(address: Address) -> bool:
    return not (
        address.is_link_local or address.is_loopback or address.is_multicast or address.is_unspecified
    )


def unreachable_routes(config: Config) -> dict[RouteKey, KernelRoute]:
    """One behind each announced subnet and each pool: a packet to a free address ends here and does not circle."""
    if not config.kernel.install:
        return {}
    pools = (pool.announcement for pool in config.anycast.pools if not pool.forwards_unknown)
    prefixes = (prefix for one in (config.announce.subnets, *pools) for prefix in one.prefixes)
    return {(prefix, UNREACHABLE_METRIC): KernelRoute(prefix, UNREACHABLE_METRIC) for prefix in prefixes}
