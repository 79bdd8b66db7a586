"""The address plans of labs. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_interface, ip_network

from lab.errors import LabError
from lab.topology import (
    NAME,
    End,
    Layout,
    Link,
    PodNetwork,
    Prefix,
    RackKind,
    Router,
    Timers,
    Topology,
    VipPool,
)

RACK_ASN = 65000
NODE_ASNS = (65001, 65002)
SPINE_ASN = 65100
SERVICE_RANGES: tuple[Prefix, ...] = (ip_network("10.96.0.0/16"), ip_network("fd00:10:96::/112"))
# Short ones, a person is waiting; where a silent node is to be missed, the shortest that BGP has.
TIMERS = Timers(hold=9, keepalive=3)
SHORTEST = Timers(hold=3, keepalive=1)
POOLS = (
    VipPool("shared", (ip_network("198.51.100.0/25"), ip_network("2001:db8:a::/65")), "endpoints"),
    VipPool("plain", (ip_network("198.51.100.128/25"), ip_network("2001:db8:a:0:8000::/65")), "none"),
)
SOURCES: tuple[Prefix, ...] = (ip_network("192.0.2.128/26"), ip_network("2001:db8:c::/122"))


def plan(name: str, rack: RackKind, layout: Layout = Layout.RACK) -> Topology:
    """The plan of a lab of that name; the layouts for anycast have FRR in the racks and in the spine."""
    if not NAME.fullmatch(name):
        raise LabError(f"lab name {name!r} is not usable; use 1 to 16 of a-z and 0-9, like --name lab")
    if layout is not Layout.RACK:
        if rack is not RackKind.FRR:
            raise LabError(f"topology {layout.value} has no {rack.value} rack; use --rack frr")
        return _anycast(name, layout)
    return _nodes_alone(name) if rack is RackKind.NONE else _one_rack(name, rack)


def _nodes_alone(name: str) -> Topology:
    link = Link(_end("node1", "uplink", 12, 1), _end("node2", "uplink", 12, 2))
    nodes = tuple(
        _node(index, NODE_ASNS[0], link_end) for index, link_end in ((1, link.left), (2, link.right))
    )
    return Topology(name, Layout.RACK, RackKind.NONE, nodes, (), None, None, (link,), TIMERS)


def _one_rack(name: str, rack: RackKind) -> Topology:
    links = tuple(
        _link(member, "rack", number) for number, member in enumerate(("node1", "node2", "client"), 1)
    )
    nodes = tuple(_node(i, asn, links[i - 1].left) for i, asn in enumerate(NODE_ASNS, start=1))
    router = Router("rack", RACK_ASN, _router_id(links[0].right), (), _networks(links[2]), ())
    return Topology(name, Layout.RACK, rack, nodes, (router,), None, "client", links, TIMERS)


def _anycast(name: str, layout: Layout) -> Topology:
    """Each node is an AS of its own, each rack too: what two of them announce alike is what two clusters do."""
    homes = ("rack1", "rack2" if layout is Layout.ANYCAST else "rack1")
    racks = tuple(dict.fromkeys(homes))
    links = (
        *(_link(f"node{index}", home, index) for index, home in enumerate(homes, start=1)),
        _link("client", "spine", 3),
        *(_link(rack, "spine", number) for number, rack in enumerate(racks, start=4)),
    )
    nodes = tuple(_node(i, asn, links[i - 1].left) for i, asn in enumerate(NODE_ASNS, start=1))
    spine = Router("spine", SPINE_ASN, _router_id(links[2].right), (), (*_networks(links[2]), *SOURCES), ())
    routers = tuple(
        Router(rack, RACK_ASN + 10 * index, _router_id(links[2 + index].left), (), (), ())
        for index, rack in enumerate(racks, start=1)
    )
    return Topology(
        name, layout, RackKind.FRR, nodes, routers, spine, "client", links, SHORTEST, POOLS, SOURCES
    )


def _link(member: str, upper: str, number: int) -> Link:
    return Link(_end(member, "uplink", number, 2), _end(upper, f"to-{member}", number, 1))


def _networks(link: Link) -> tuple[Prefix, ...]:
    return tuple(address.network for address in link.left.addresses)


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
