"""The configuration of FRR as a rack or a spine, made from a topology. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.configs import CONNECT_RETRY
from lab.topology import Layout

if TYPE_CHECKING:
    from lab.topology import Router, Topology

MOST_PATHS = 8
# What a node tells of a virtual IP that drains is graceful-shutdown and a longer AS path. A rack whose only other way
# is the spine must not go that way before the spine has left the rack: packets would go to and fro between them. So
# it takes its own nodes' paths before all others, and what the spine goes by is the AS path.
NODES_FIRST = """bgp community-list standard gshut permit 65535:0
route-map nodes permit 10
 set local-preference 200
 set comm-list gshut delete
"""


def zebra(router: Router) -> str:
    """zebra.conf: nothing but a name, the addresses are the lab's."""
    return f"hostname {router.name}\n"


def bgpd(router: Router, topology: Topology) -> str:
    """bgpd.conf: eBGP to each neighbour, a transport for each family, ECMP over different ASes."""
    peerings = topology.peerings(router.name)
    timers = topology.timers
    lines = [
        f"hostname {router.name}",
        f"router bgp {router.asn}",
        f" bgp router-id {router.router_id}",
        " no bgp ebgp-requires-policy",
        " bgp bestpath as-path multipath-relax",
        f" timers bgp {timers.keepalive} {timers.hold}",
    ]
    nodes = {node.name for node in topology.nodes} if topology.layout is Layout.ANYCAST else set()
    if topology.pools:
        # Where one path has a link bandwidth and another has none, the one without gets nothing.
        lines.append(" bgp bestpath bandwidth skip-missing")
    for peering in peerings:
        lines += [
            f" neighbor {peering.remote} remote-as {peering.remote_asn}",
            f" neighbor {peering.remote} description {peering.remote_member}",
            f" neighbor {peering.remote} timers connect {CONNECT_RETRY}",
        ]
    for version in (4, 6):
        lines.append(f" address-family ipv{version} unicast")
        lines += [f"  network {prefix}" for prefix in router.prefixes if prefix.version == version]
        for peering in peerings:
            verb = "" if peering.remote.version == version else "no "
            lines.append(f"  {verb}neighbor {peering.remote} activate")
            if peering.remote_member in nodes and not verb:
                lines.append(f"  neighbor {peering.remote} route-map nodes in")
        lines += [f"  maximum-paths {MOST_PATHS}", " exit-address-family"]
    return "\n".join([*lines, "exit", NODES_FIRST if nodes else ""])
