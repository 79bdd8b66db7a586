"""Virtual IPs' next-hop objects, groups and routes as the netlink codec has them, to and from our values. Pure."""

from __future__ import annotations

import errno
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cni import nexthop, rtnl
from cni.netlink import NetlinkError
from speaker.kernel.fibcodec import prefix_of
from speaker.kernel.vipgroups import ELSEWHERE, UNREACHABLE, Group, Hop, VipsHeld

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from cni.nexthop import NextHopObject
    from speaker.bgp import Address
    from speaker.desired import RouteKey

RTN_LOCAL = 2
_NO_OBJECTS = (
    "this kernel has no next-hop objects, which virtual IPs are routed by; use Linux 5.3 or later, 5.13 for groups in"
    " which established flows stay where they are"
)
TAKEN = (
    "another program's next-hop object has this number; remove it (`ip nexthop show`, `ip nexthop del id …`)"
)
_NOT_PERMITTED = "the speaker needs CAP_NET_ADMIN; start it with that capability"
_HOP_ADVICE = {
    errno.EEXIST: TAKEN,
    errno.EPERM: _NOT_PERMITTED,
    errno.EOPNOTSUPP: _NO_OBJECTS,
    errno.ENETDOWN: "set the link to the pod up",
}
_VIP_ADVICE = {
    errno.EEXIST: "another program's route has the same prefix and metric; set another anycast.metric",
    errno.EPERM: _NOT_PERMITTED,
    errno.EOPNOTSUPP: _NO_OBJECTS,
}


def hop_body(number: int, hop: Hop, protocol: int) -> bytes:
    """A next-hop object as a message's body."""
    return nexthop.nexthop_body(number, hop.gateway, hop.link, protocol)


def group_body(number: int, group: Group, protocol: int) -> bytes:
    """A group as a message's body."""
    body = nexthop.group_body(number, group.members, protocol)
    if not group.buckets:
        return body
    return body + nexthop.resilient(group.buckets, group.idle_timer, group.unbalanced_timer)


def route_to_kernel(key: RouteKey, group: int, protocol: int, table: int) -> rtnl.Route:
    """The route of a VIP to its group, or to nowhere."""
    prefix, metric = key
    return rtnl.Route(
        family=rtnl.AF_INET if prefix.version == 4 else rtnl.AF_INET6,
        dst=prefix.network_address.packed,
        prefixlen=prefix.prefixlen,
        kind=rtnl.RTN_UNREACHABLE if group == UNREACHABLE else rtnl.RTN_UNICAST,
        protocol=protocol,
        table=table,
        metric=metric,
        nhid=group,
    )


def held_objects(objects: Iterable[NextHopObject], protocol: int, left: Collection[int]) -> VipsHeld:
    """What there is of next-hop objects; `left` are protocol numbers that were ours before."""
    held = VipsHeld()
    for found in objects:
        if found.protocol != protocol:
            (held.former_numbers if found.protocol in left else held.taken).add(found.number)
        elif found.members:
            held.groups[found.number] = as_group(found)
        else:
            held.hops[found.number] = Hop(found.gateway, found.oif)
    return held


def as_group(found: NextHopObject) -> Group:
    """A group as our value."""
    return Group(found.members, found.buckets, found.idle_timer, found.unbalanced_timer)


def key_of(route: rtnl.Route) -> RouteKey:
    """What the kernel allows once in a table."""
    return prefix_of(route), route.metric


def leads_to(route: rtnl.Route) -> int:
    """The group that a route leads to."""
    if route.kind == rtnl.RTN_UNICAST:
        return route.nhid or ELSEWHERE
    return UNREACHABLE if route.kind == rtnl.RTN_UNREACHABLE else ELSEWHERE


def way_to(address: Address, answer: bytes | NetlinkError) -> Hop | str:
    """The next hop for a pod's address by the kernel's answer to `route_get`, or why there is none and what to do."""
    if isinstance(answer, NetlinkError):
        return (
            f"no route leads to the pod's address {address} ({answer.strerror}); see `ip route get {address}`"
        )
    route = rtnl.parse_route(answer)
    if route.kind == RTN_LOCAL:
        return f"the pod's address {address} is one of this node itself; give the pod another"
    link = route.nexthops[0].oif if route.nexthops else 0
    gateway = route.nexthops[0].gateway if route.nexthops else b""
    if gateway and gateway != address.packed:
        return (
            f"the pod's address {address} is not on a link of this node but behind {ip_address(gateway)};"
            " a virtual IP needs pods that the node reaches directly, by a bridge or a link of their own"
        )
    if not link:
        return f"the pod's address {address} leads to no link; see `ip route get {address}`"
    return Hop(address.packed, link)


def explain_hop(error: NetlinkError) -> str:
    """Why a next-hop object was refused, in the kernel's words, and what to do."""
    return _explain(error, _HOP_ADVICE)


def explain_vip(error: NetlinkError) -> str:
    """Why a VIP's group or route was refused, in the kernel's words, and what to do."""
    return _explain(error, _VIP_ADVICE)


def _explain(error: NetlinkError, advice: dict[int, str]) -> str:
    found = advice.get(error.errno or 0)
    return f"{error.strerror}: {found}" if found else str(error.strerror)
