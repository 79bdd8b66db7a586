"""What exists in a lab: members, links, address plan, peerings. Pure values, nothing is done here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

from lab.errors import LabError

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Prefix = IPv4Network | IPv6Network

NAME = re.compile(r"[a-z0-9]{1,16}")
POD_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")


class RackKind(Enum):
    """Which daemon routes in the rack; NONE links the nodes to each other, with iBGP between them."""

    GOBGP = "gobgp"
    FRR = "frr"
    BIRD = "bird"
    NONE = "none"


class Layout(Enum):
    """How the members are joined."""

    RACK = "rack"  # two nodes, a client and what `RackKind` says between them
    ANYCAST = "anycast"  # a spine over two racks with a node each: two clusters
    ANYCAST_RACK = "anycast-rack"  # a spine over one rack with both nodes


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link: the member it is in, its device there and that device's addresses."""

    member: str
    device: str
    addresses: tuple[Interface, ...]

    def address(self, version: int) -> Address:
        """The end's address of IP version 4 or 6."""
        return next(a.ip for a in self.addresses if a.version == version)


@dataclass(frozen=True, slots=True)
class Link:
    """A veth pair between two members."""

    left: End
    right: End


@dataclass(frozen=True, slots=True)
class Peering:
    """One BGP session as one side sees it; it carries the family of its addresses only."""

    member: str
    local: Address
    remote: Address
    remote_member: str
    remote_asn: int


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """A network that a node's plugin attaches pods to: one conflist."""

    name: str
    bridge: str
    subnets: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class VipPool:
    """Virtual IPs that pods may have; `link_bandwidth` is the key of speaker.toml."""

    name: str
    prefixes: tuple[Prefix, ...]
    link_bandwidth: str

    def address(self, version: int, number: int) -> Address:
        """VIP `number` of IP version 4 or 6."""
        return next(prefix for prefix in self.prefixes if prefix.version == version)[number]


@dataclass(frozen=True, slots=True)
class Timers:
    """Of every BGP session, in seconds."""

    hold: int
    keepalive: int


@dataclass(frozen=True, slots=True)
class Router:
    """A member that speaks BGP: a node, a rack or the spine."""

    name: str
    asn: int
    router_id: IPv4Address
    subnets: tuple[Prefix, ...]  # announced, with an unreachable route behind each
    prefixes: tuple[Prefix, ...]  # announced as they are
    networks: tuple[PodNetwork, ...]  # empty but in nodes


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole lab. `name` makes its namespaces and its directory unique on the machine."""

    name: str
    layout: Layout
    rack: RackKind
    nodes: tuple[Router, ...]
    racks: tuple[Router, ...]
    spine: Router | None
    client: str | None
    links: tuple[Link, ...]
    timers: Timers
    pools: tuple[VipPool, ...] = ()
    sources: tuple[Prefix, ...] = ()  # further addresses of the client, all of them its own

    @property
    def rack_router(self) -> Router | None:
        """The rack of a lab that has one."""
        return self.racks[0] if len(self.racks) == 1 else None

    @property
    def routers(self) -> tuple[Router, ...]:
        """Every member that speaks BGP, the nodes first."""
        return (*self.nodes, *self.racks, *((self.spine,) if self.spine else ()))

    @property
    def members(self) -> tuple[str, ...]:
        """Names of all members."""
        names = tuple(router.name for router in self.routers)
        return (*names, self.client) if self.client else names

    def namespace(self, member: str) -> str:
        """The network namespace of a member."""
        return f"{namespace_prefix(self.name)}{member}"

    def pod_namespace(self, pod: str) -> str:
        """The network namespace of a pod."""
        return f"{namespace_prefix(self.name)}pod-{pod}"

    def router(self, name: str) -> Router:
        """The router of that name."""
        for router in self.routers:
            if router.name == name:
                return router
        known = ", ".join(router.name for router in self.routers)
        raise LabError(f"lab {self.name}: there is no router {name!r}; it has {known}")

    def end(self, member: str, other: str) -> End:
        """The end that `member` has on its link to `other`."""
        for link in self.links:
            for here, there in ((link.left, link.right), (link.right, link.left)):
                if (here.member, there.member) == (member, other):
                    return here
        raise LabError(f"lab {self.name}: there is no link between {member} and {other}")

    def pool(self, name: str) -> VipPool:
        """The pool of that name."""
        for pool in self.pools:
            if pool.name == name:
                return pool
        raise LabError(f"lab {self.name}: there is no pool {name!r} of virtual IPs")

    def uphill(self, member: str) -> End:
        """The end of whom a member with one link gets its routes from: of a node its rack's."""
        for link in self.links:
            for here, there in ((link.left, link.right), (link.right, link.left)):
                if here.member == member:
                    return there
        raise LabError(f"lab {self.name}: {member} has no link")

    def ends(self, member: str) -> tuple[End, ...]:
        """All link ends inside a member."""
        return tuple(e for link in self.links for e in (link.left, link.right) if e.member == member)

    def peerings(self, member: str) -> tuple[Peering, ...]:
        """The BGP sessions of a router: one per family with each router it has a link to."""
        asns = {router.name: router.asn for router in self.routers}
        found = []
        for link in self.links:
            for here, there in ((link.left, link.right), (link.right, link.left)):
                if here.member == member and there.member in asns:
                    found += [
                        Peering(member, here.address(v), there.address(v), there.member, asns[there.member])
                        for v in (4, 6)
                    ]
        return tuple(found)

    def owner(self, address: Address) -> str | None:
        """Which member or pod network gateway has this address, in words; None when nobody known."""
        for link in self.links:
            for end in (link.left, link.right):
                if address in (a.ip for a in end.addresses):
                    return end.member
        for node in self.nodes:
            for network in node.networks:
                if any(address == subnet[1] for subnet in network.subnets):
                    return node.name
        return None


def namespace_prefix(name: str) -> str:
    """What a lab's namespaces are named with. Lab names hold no dash: no lab's prefix begins another's."""
    return f"anypod-{name}-"
