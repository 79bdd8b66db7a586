"""The kernel as commands look at it: our routes, the members of virtual IPs' groups, and where a packet would go."""

from __future__ import annotations

import errno
import os
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any

from cni import nexthop, rtnl
from cni.link import Address as LinkAddress
from cni.link import Link, address_dump, link_dump
from cni.netlink import NetlinkError, NetlinkSocket
from speaker.kernel.fibcodec import prefix_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from speaker.bgp import Address, Prefix

# The protocol numbers that speaker.toml has by default (kernel.protocol, anycast.protocol).
LEARNED, VIPS = 177, 178
PROTOCOLS = (LEARNED, VIPS)
UNICAST = rtnl.RTN_UNICAST
KINDS = {UNICAST: "unicast", 2: "local", 3: "broadcast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}


class Kernel:
    """The network namespace that the process is in."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket()
        self.links = [Link(payload) for _, payload in self._socket.dump(link_dump())]
        self._groups: dict[int, nexthop.NextHopObject] | None = None

    def close(self) -> None:
        """Gives the socket back."""
        self._socket.close()

    def link(self, name: str) -> Link | None:
        """The link of that name."""
        return next((one for one in self.links if one.name == name), None)

    def name_of(self, index: int) -> str:
        """The name of a link."""
        return next((one.name for one in self.links if one.index == index), str(index) if index else "")

    def addresses(self) -> list[tuple[str, Address, int]]:
        """All addresses of the node: link, address, prefix length."""
        found = [LinkAddress(payload) for _, payload in self._socket.dump(address_dump())]
        return [(self.name_of(one.index), ip_address(one.ip), one.prefixlen) for one in found if one.ip]

    def routes(self, within: Sequence[Prefix] | None = None) -> list[dict[str, Any]]:
        """Our routes in every table, or those inside some prefixes or around them; a row for each next hop."""
        return [
            row
            for route in self.found()
            if within is None or any(touches(route, one) for one in within)
            for row in self._rows(route)
        ]

    def found(self, protocols: tuple[int, ...] = PROTOCOLS) -> Iterator[rtnl.Route]:
        """The same as the kernel tells them: of many thousands only a few may be wanted."""
        return self._routes(protocols)

    def _routes(self, protocols: tuple[int, ...]) -> Iterator[rtnl.Route]:
        for family in (rtnl.AF_INET, rtnl.AF_INET6):
            for protocol in protocols:
                for _, payload in self._socket.dump(rtnl.route_dump(family, 0, protocol)):
                    route = rtnl.parse_route(payload)
                    if route.protocol == protocol:
                        yield route

    def _rows(self, route: rtnl.Route) -> Iterator[dict[str, Any]]:
        common = {
            "prefix": str(prefix_of(route)),
            "kind": KINDS.get(route.kind, str(route.kind)),
            "metric": route.metric,
            "table": "main" if route.table == rtnl.RT_TABLE_MAIN else str(route.table),
            "protocol": route.protocol,
        }
        hops = (
            self.members(route.nhid)
            if route.nhid
            else [(hop.gateway, hop.oif, hop.weight) for hop in route.nexthops]
        )
        for gateway, oif, weight in hops or [(b"", 0, 0)]:
            via = str(ip_address(gateway)) if gateway else ""
            yield {**common, "via": via, "dev": self.name_of(oif), "weight": weight or None}

    def members(self, group: int) -> list[tuple[bytes, int, int]]:
        """Where a next-hop object or group leads: gateway, link and weight of each way."""
        if self._groups is None:
            try:
                told = self._socket.dump(nexthop.nexthop_dump())
            except NetlinkError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                told = []
            objects = [nexthop.NextHopObject(payload) for _, payload in told]
            self._groups = {one.number: one for one in objects}
        found = self._groups.get(group)
        if found is None:
            return []
        if not found.members:
            return [(found.gateway, found.oif, 1)]
        return [
            (self._groups[number].gateway, self._groups[number].oif, weight)
            for number, weight in found.members
            if number in self._groups
        ]

    def way_to(self, text: str) -> dict[str, Any]:
        """The same for an address as text, with its zone or the name of a link; empty for what is neither."""
        host, _, zone = text.partition("%")
        try:
            address = ip_address(host)
        except ValueError:
            return {"kind": "unicast", "via": "", "dev": host, "error": ""} if self.link(host) else {}
        if zone:
            return {"kind": "unicast", "via": "", "dev": zone, "error": ""}
        return self.way(address)

    def way(self, address: Address) -> dict[str, Any]:
        """Where a packet of this node to an address would go: `kind`, `via`, `dev`, `error`."""
        try:
            _, payload = self._socket.get(rtnl.route_get(address.packed))
        except NetlinkError as error:
            return {"kind": "none", "via": "", "dev": "", "error": error.strerror}
        route = rtnl.parse_route(payload)
        hop = route.nexthops[0] if route.nexthops else rtnl.NextHop()
        via = str(ip_address(hop.gateway)) if hop.gateway else ""
        kind = KINDS.get(route.kind, str(route.kind))
        return {"kind": kind, "via": via, "dev": self.name_of(hop.oif), "error": ""}


def all_routes(within: Prefix | None) -> list[dict[str, Any]] | str:
    """Our routes, those inside a prefix or around it; in words why they can't be read."""
    try:
        kernel = Kernel()
        try:
            return kernel.routes(None if within is None else (within,))
        finally:
            kernel.close()
    except OSError as error:
        return f"the kernel does not tell its routes: {error.strerror}"


def count_routes() -> tuple[int, int] | str:
    """How many learned routes there are, and how many of virtual IPs."""
    try:
        kernel = Kernel()
        try:
            keys = {
                (one.protocol, one.dst, one.prefixlen, one.metric)
                for one in kernel.found()
                if one.kind == UNICAST
            }
        finally:
            kernel.close()
    except OSError as error:
        return f"the kernel does not tell its routes: {error.strerror}"
    learned = sum(key[0] == LEARNED for key in keys)
    return learned, len(keys) - learned


def touches(route: rtnl.Route, prefix: Prefix) -> bool:
    """Whether a route's prefix is inside another, or around it."""
    own = prefix.network_address.packed
    if len(route.dst) != len(own):
        return False
    shift = 8 * len(own) - min(route.prefixlen, prefix.prefixlen)
    return int.from_bytes(route.dst, "big") >> shift == int.from_bytes(own, "big") >> shift


def related(one: Prefix, other: Prefix) -> bool:
    """Whether one of the two is inside the other."""
    return one.version == other.version and one.overlaps(other)


def host(address: Address) -> Prefix:
    """An address as a prefix."""
    return IPv4Network(address) if address.version == 4 else IPv6Network(address)


def is_root() -> bool:
    """Whether everything can be looked at."""
    return os.geteuid() == 0
