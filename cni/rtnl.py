"""The rtnetlink messages for routes, and the numbers that all of rtnetlink shares. Pure bytes.

Numbers are those of linux/rtnetlink.h and linux/netlink.h.
"""

from __future__ import annotations

import struct

from cni.netlink import NLM_F_ACK, NLM_F_DUMP, attribute, attributes, message

AF_UNSPEC = 0
AF_INET = 2
AF_BRIDGE = 7
AF_INET6 = 10

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_SETLINK = 19
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26

RTMGRP_LINK = 0x1
RTMGRP_IPV4_IFADDR = 0x10
RTMGRP_IPV4_ROUTE = 0x40
RTMGRP_IPV6_IFADDR = 0x100
RTMGRP_IPV6_ROUTE = 0x400

NLM_F_REQUEST = 0x1
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLA_F_NESTED = 0x8000

RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PRIORITY = 6
RTA_METRICS = 8
RTA_MULTIPATH = 9
RTA_TABLE = 15
RTA_VIA = 18
RTA_NH_ID = 30
RTAX_MTU = 2
RTAX_ADVMSS = 8
RTN_UNICAST = 1
RTN_BLACKHOLE = 6
RTN_UNREACHABLE = 7
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_SCOPE_NOWHERE = 255
RTNH_F_DEAD = 0x1
RTNH_F_LINKDOWN = 0x10
RT_TABLE_MAIN = 254
RTPROT_BOOT = 3

_ROUTE = struct.Struct("=BBBBBBBBI")
_NEXTHOP = struct.Struct("=HBBi")
_U32 = struct.Struct("=I")
_VIA = struct.Struct("=H")
REQUEST = NLM_F_REQUEST | NLM_F_ACK
CREATE = REQUEST | NLM_F_CREATE | NLM_F_EXCL


def u32(value: bytes | None) -> int:
    """A 32-bit attribute; 0 where it is absent."""
    return int(_U32.unpack(value)[0]) if value is not None and len(value) == 4 else 0


class NextHop:
    """A route's way out: gateway (packed, b"" for none), link index (0 for none), weight 1 to 256.

    An IPv4 route may have an IPv6 gateway.
    """

    __slots__ = ("gateway", "oif", "weight")

    def __init__(self, gateway: bytes = b"", oif: int = 0, weight: int = 1) -> None:
        self.gateway = gateway
        self.oif = oif
        self.weight = weight

    def key(self) -> tuple[bytes, int, int]:
        """What makes two next hops the same."""
        return self.gateway, self.oif, self.weight

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NextHop) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())

    def __repr__(self) -> str:
        return f"NextHop({self.gateway.hex(':')!r}, oif={self.oif}, weight={self.weight})"


class Route:
    """A kernel route. `dst` is packed (4 or 16 bytes), `kind` an RTN_ number; metric 0: the kernel's.

    `nhid`: the next-hop object or group that says where it leads, 0 for none; the kernel tells the next hops beside it
    unless it was told not to. `down`: as the kernel tells it, its only link has no carrier.
    """

    __slots__ = (
        "down",
        "dst",
        "family",
        "kind",
        "metric",
        "nexthops",
        "nhid",
        "prefixlen",
        "protocol",
        "table",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - the fields of a value
        self,
        family: int,
        dst: bytes,
        prefixlen: int,
        kind: int = RTN_UNICAST,
        protocol: int = RTPROT_BOOT,
        table: int = RT_TABLE_MAIN,
        metric: int = 0,
        nexthops: tuple[NextHop, ...] = (),
        nhid: int = 0,
    ) -> None:
        self.family = family
        self.dst = dst
        self.prefixlen = prefixlen
        self.kind = kind
        self.protocol = protocol
        self.table = table
        self.metric = metric
        self.nexthops = nexthops
        self.nhid = nhid
        self.down = False

    def key(self) -> tuple[object, ...]:
        """What makes two routes the same."""
        return (
            self.family,
            self.dst,
            self.prefixlen,
            self.kind,
            self.protocol,
            self.table,
            self.metric,
            self.nhid or self.nexthops,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Route) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())

    def __repr__(self) -> str:
        return (
            f"Route({self.dst.hex(':')}/{self.prefixlen} kind={self.kind} protocol={self.protocol}"
            f" table={self.table} metric={self.metric} nhid={self.nhid} {self.nexthops})"
        )


def _header(route: Route, scope: int, protocol: int) -> bytes:
    table = route.table if route.table < 256 else 0
    return _ROUTE.pack(route.family, route.prefixlen, 0, 0, table, protocol, scope, route.kind, 0)


def _selectors(route: Route) -> list[bytes]:
    """Destination, metric and table: what tells one route of a table from another."""
    found = [attribute(RTA_DST, route.dst)] if route.prefixlen else []
    if route.metric:
        found.append(attribute(RTA_PRIORITY, _U32.pack(route.metric)))
    if route.table >= 256:
        found.append(attribute(RTA_TABLE, _U32.pack(route.table)))
    return found


def _gateway(family: int, gateway: bytes) -> bytes:
    if family == AF_INET and len(gateway) == 16:
        return attribute(RTA_VIA, _VIA.pack(AF_INET6) + gateway)
    return attribute(RTA_GATEWAY, gateway) if gateway else b""


def _way(route: Route) -> list[bytes]:
    family, nexthops = route.family, route.nexthops
    if route.nhid:
        return [attribute(RTA_NH_ID, _U32.pack(route.nhid))]
    if len(nexthops) == 1 and nexthops[0].weight == 1:
        hop = nexthops[0]
        return [_gateway(family, hop.gateway), attribute(RTA_OIF, _U32.pack(hop.oif)) if hop.oif else b""]
    if not nexthops:
        return []
    packed = []
    for hop in nexthops:
        gateway = _gateway(family, hop.gateway)
        packed.append(_NEXTHOP.pack(_NEXTHOP.size + len(gateway), 0, hop.weight - 1, hop.oif) + gateway)
    return [attribute(RTA_MULTIPATH, b"".join(packed))]


def _scope(route: Route) -> int:
    # IPv6 knows no scope; IPv4 wants "link" for what has no gateway, or it looks for one.
    direct = route.kind == RTN_UNICAST and not route.nhid and not any(hop.gateway for hop in route.nexthops)
    return RT_SCOPE_LINK if direct and route.family == AF_INET else RT_SCOPE_UNIVERSE


def route_replace(route: Route) -> bytes:
    """Makes the route, or puts it in place of the one with the same destination, metric and table."""
    body = [_header(route, _scope(route), route.protocol), *_selectors(route), *_way(route)]
    return message(RTM_NEWROUTE, REQUEST | NLM_F_CREATE | NLM_F_REPLACE, body)


def route_add(route: Route) -> bytes:
    """Makes the route; refused (EEXIST) where one with the same destination, metric and table stands."""
    body = [_header(route, _scope(route), route.protocol), *_selectors(route), *_way(route)]
    return message(RTM_NEWROUTE, CREATE, body)


def route_prepend(route: Route, scope: int = -1, metrics: bytes = b"") -> bytes:
    """Makes the route before one with the same destination, metric and table; in IPv6 as another path of it.

    Scope -1: the one that fits. `metrics` are what `route_metrics` made. EEXIST where this very route stands.
    """
    header = _header(route, _scope(route) if scope < 0 else scope, route.protocol)
    body = [header, *_selectors(route), *_way(route), metrics]
    return message(RTM_NEWROUTE, REQUEST | NLM_F_CREATE, body)


def route_metrics(mtu: int, advmss: int) -> bytes:
    """The attribute with a path's MTU and the TCP segment size to announce; 0 for none."""
    given = ((RTAX_MTU, mtu), (RTAX_ADVMSS, advmss))
    found = b"".join([attribute(kind, _U32.pack(number)) for kind, number in given if number])
    return attribute(RTA_METRICS | NLA_F_NESTED, found) if found else b""


def route_delete(route: Route) -> bytes:
    """Removes the route with this destination, metric, table and protocol, all its next hops with it."""
    return message(
        RTM_DELROUTE, REQUEST, [_header(route, RT_SCOPE_NOWHERE, route.protocol), *_selectors(route)]
    )


def route_dump(family: int, table: int = 0, protocol: int = 0) -> bytes:
    """Asks for a family's routes; the kernel leaves out other tables and protocols where these are given."""
    body = [_ROUTE.pack(family, 0, 0, 0, table if table < 256 else 0, protocol, 0, 0, 0)]
    if table >= 256:
        body.append(attribute(RTA_TABLE, _U32.pack(table)))
    return message(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, body)


def route_get(ip: bytes) -> bytes:
    """Asks which route a packet of this node's to that address would take; the answer is one to that address alone."""
    family = AF_INET if len(ip) == 4 else AF_INET6
    body = (_ROUTE.pack(family, len(ip) * 8, 0, 0, 0, 0, 0, 0, 0), attribute(RTA_DST, ip))
    return message(RTM_GETROUTE, NLM_F_REQUEST, body)


def _parse_gateway(found: dict[int, bytes]) -> bytes:
    return found.get(RTA_GATEWAY) or found.get(RTA_VIA, b"")[_VIA.size :]


def _parse_hops(found: dict[int, bytes]) -> tuple[NextHop, ...]:
    packed = found.get(RTA_MULTIPATH)
    if packed is None:
        gateway, oif = _parse_gateway(found), u32(found.get(RTA_OIF))
        return (NextHop(gateway, oif),) if gateway or oif else ()
    hops = []
    offset = 0
    while offset + _NEXTHOP.size <= len(packed):
        length, _, weight, oif = _NEXTHOP.unpack_from(packed, offset)
        if length < _NEXTHOP.size:
            break
        inner = attributes(packed[offset : offset + length], _NEXTHOP.size)
        hops.append(NextHop(_parse_gateway(inner), oif, weight + 1))
        offset += (length + 3) & ~3
    return tuple(hops)


def parse_route(payload: bytes) -> Route:
    """A route as the kernel tells it in a dump or an event."""
    family, prefixlen, _, _, table, protocol, _, kind, flags = _ROUTE.unpack_from(payload)
    found = attributes(payload, _ROUTE.size)
    dst = found.get(RTA_DST, bytes(4 if family == AF_INET else 16))
    hops = _parse_hops(found) if kind == RTN_UNICAST else ()
    number = u32(found.get(RTA_TABLE)) or table
    metric, nhid = u32(found.get(RTA_PRIORITY)), u32(found.get(RTA_NH_ID))
    route = Route(family, dst, prefixlen, kind, protocol, number, metric, hops, nhid)
    route.down = bool(flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN))
    return route
