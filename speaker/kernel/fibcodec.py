"""Routes as the netlink codec has them, to and from our own values. Pure."""

from __future__ import annotations

import errno
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cni import rtnl
from speaker.desired import KernelRoute, NextHop
from speaker.prefixes import Hashed4, Hashed6

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cni.netlink import NetlinkError
    from speaker.bgp import Prefix
    from speaker.settings import Kernel

RTN_PROHIBIT = 8
RTPROT_KERNEL = 2
RTPROT_RA = 9
# No gateway at all: a way out that is none of our making and differs from all that is.
NO_GATEWAY = NextHop(ip_address(0))
_ADVICE = {
    errno.ENETUNREACH: "the next hop is on none of this node's networks; peer with a neighbour on a"
    " connected network, or have it announce itself as next hop",
    errno.EHOSTUNREACH: "the next hop is on none of this node's networks; check the link to the peer",
    errno.EINVAL: "the next hop is no neighbour, or an address of this node itself",
    errno.EEXIST: "another program's route has the same prefix and metric; set another kernel.metric",
    errno.ENODEV: "the next hop's link is gone or needs an interface, as link-local addresses do",
    errno.ENETDOWN: "the link to the next hop is down",
    errno.EPERM: "the speaker needs CAP_NET_ADMIN; start it with that capability",
}


def hops_to_kernel(hops: Iterable[NextHop], index_of: Callable[[str], int]) -> tuple[rtnl.NextHop, ...]:
    """Next hops as the codec's. The kernel finds the link from the gateway where none is named."""
    order = sorted(hops, key=lambda hop: (int(hop.address), hop.interface))
    return tuple(
        rtnl.NextHop(hop.address.packed, index_of(hop.interface) if hop.interface else 0) for hop in order
    )


def to_kernel(route: KernelRoute, hops: tuple[rtnl.NextHop, ...], kernel: Kernel) -> rtnl.Route:
    """Our value as the codec's, with these next hops."""
    return rtnl.Route(
        family=rtnl.AF_INET if route.prefix.version == 4 else rtnl.AF_INET6,
        dst=route.prefix.network_address.packed,
        prefixlen=route.prefix.prefixlen,
        kind=rtnl.RTN_UNICAST if hops else rtnl.RTN_UNREACHABLE,
        protocol=kernel.protocol,
        table=kernel.table,
        metric=route.metric,
        nexthops=hops,
    )


def from_kernel(route: rtnl.Route, name_of: Callable[[int], str]) -> KernelRoute:
    """The codec's route as our value; links are named only where the gateway does not say which it is."""
    hops = {_hop(hop, name_of) for hop in route.nexthops}
    if route.kind == rtnl.RTN_UNICAST and not hops:
        hops = {NO_GATEWAY}
    return KernelRoute(prefix_of(route), route.metric, frozenset(hops))


def _hop(hop: rtnl.NextHop, name_of: Callable[[int], str]) -> NextHop:
    if not hop.gateway:
        return NO_GATEWAY
    found = _gateway(hop.gateway)
    return NextHop(found.address, name_of(hop.oif)) if found.address.is_link_local else found


@lru_cache(maxsize=4096)
def _gateway(packed: bytes) -> NextHop:
    return NextHop(ip_address(packed))


def prefix_of(route: rtnl.Route) -> Prefix:
    """Where it leads."""
    if route.family == rtnl.AF_INET:
        return Hashed4((route.dst, route.prefixlen))
    return Hashed6((route.dst, route.prefixlen))


def is_direct(route: rtnl.Route) -> bool:
    """Whether it leads to a link without a gateway."""
    gateways = any(hop.gateway for hop in route.nexthops)
    return route.kind == rtnl.RTN_UNICAST and bool(route.nexthops) and not gateways


def is_connected(route: rtnl.Route) -> bool:
    """Whether it is the subnet of a link, from an address or a router's advertisement."""
    return is_direct(route) and route.protocol in {RTPROT_KERNEL, RTPROT_RA}


def rejects(route: rtnl.Route) -> bool:
    """Whether packets end there."""
    return route.kind in {rtnl.RTN_BLACKHOLE, rtnl.RTN_UNREACHABLE, RTN_PROHIBIT}


def explain(error: NetlinkError) -> str:
    """The kernel's words and what to do."""
    advice = _ADVICE.get(error.errno or 0)
    return f"{error.strerror}: {advice}" if advice else str(error.strerror)
