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
    ip_interface,
    ip_network,
)

from lab.errors import LabError

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Prefix = IPv4Network | IPv6Network

NAME = re.compile(r"[a-z0-9]{1,16}")
POD_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")
RACK_ASN = 65000
NODE_ASNS = (65001, 65002)


class RackKind(Enum):
    """Which daemon routes in the rack; NONE links the nodes to each other, with iBGP between them."""

    GOBGP = "gobgp"
    FRR = "frr"
    BIRD = "bird"
    NONE = "none"


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
class Router:
    """A member that speaks BGP: a node or the rack."""

    name: str
    asn: int
    router_id: IPv4Address
    subnets: tuple[Prefix, ...]  # announced, with an unreachable route behind each
    prefixes: tuple[Prefix, ...]  # announced as they are
    networks: tuple[PodNetwork, ...]  # empty in the rack


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole lab. `name` makes its namespaces and its directory unique on the machine."""

    name: str
    rack: RackKind
    nodes: tuple[Router, ...]
    rack_router: Router | None
    client: str | None
    links: tuple[Link, ...]

    @property
    def routers(self) -> tuple[Router, ...]:
        """Every member that speaks BGP, the nodes first."""
        return (*self.nodes, self.rack_router) if self.rack_router else self.nodes

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


def plan(name: str, rack: RackKind) -> Topology:
    """The lab's address plan: two nodes, and a rack with a client behind it unless `rack` is NONE."""
    if not NAME.fullmatch(name):
        raise LabError(f"lab name {name!r} is not usable; use 1 to 16 of a-z and 0-9, like --name lab")
    if rack is RackKind.NONE:
        link = Link(_end("node1", "uplink", 12, 1), _end("node2", "uplink", 12, 2))
        nodes = tuple(
            _node(index, NODE_ASNS[0], link_end) for index, link_end in ((1, link.left), (2, link.right))
        )
        return Topology(name, rack, nodes, None, None, (link,))
    links = tuple(
        Link(_end(member, "uplink", number, 2), _end("rack", f"to-{member}", number, 1))
        for member, number in (("node1", 1), ("node2", 2), ("client", 3))
    )
    nodes = tuple(_node(i, asn, links[i - 1].left) for i, asn in enumerate(NODE_ASNS, start=1))
    clients = tuple(a.network for a in links[2].right.addresses)
    rack_id = _router_id(links[0].right)
    return Topology(name, rack, nodes, Router("rack", RACK_ASN, rack_id, (), clients, ()), "client", links)


def _end(member: str, device: str, number: int, host: int) -> End:
    """Link `number`: 192.0.2.(16n)/28 and 2001:db8:0:n::/64, documentation ranges (RFC 5737, RFC 3849)."""
    v4 = ip_interface(f"192.0.2.{16 * number + host}/28")
    v6 = ip_interface(f"2001:db8:0:{number:x}::{host:x}/64")
    return End(member, device, (v4, v6))


def _router_id(end: End) -> IPv4Address:
    return IPv4Address(str(end.address(4)))


def _node(index: int, asn: int, uplink: End) -> Router:
    """A node announces its pod subnets and the shared service ranges, which every node announces alike.

    Its second network lies outside the pod subnets: a pod there is announced by its own address.
    """
    pods = (ip_network(f"10.244.{index}.0/24"), ip_network(f"fd00:10:244:{index}::/64"))
    single = (ip_network(f"203.0.113.{16 * index}/28"), ip_network(f"2001:db8:f:{index}::/64"))
    networks = (PodNetwork("pods", "cni0", pods), PodNetwork("single", "cni1", single))
    return Router(f"node{index}", asn, _router_id(uplink), pods, SERVICE_RANGES, networks)


SERVICE_RANGES: tuple[Prefix, ...] = (ip_network("10.96.0.0/16"), ip_network("fd00:10:96::/112"))
