"""What several keys of a cluster.toml together can get wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from speaker.bgp import BgpGlobal
from speaker.config import peers as config_peers
from speaker.config.lists import all_inside, overlaps
from speaker.config.schema import load, suggest, with_defaults

if TYPE_CHECKING:
    from collections.abc import Callable

    from speaker.config.checks import Checks
    from speaker.config.cluster import Cluster, Node

DERIVED = ("cniVersion", "name", "type", "stateDir")


def check_cluster(cluster: Cluster, document: dict[str, Any], checks: Checks) -> None:
    """Notes the problems of a file whose keys are right one by one; `document` has all defaults."""
    _check_unique(cluster, checks)
    _check_subnets(cluster, checks)
    _check_racks(cluster, document, checks)
    _check_design(cluster, checks)
    _check_session(cluster, document, checks)
    for key in DERIVED:
        if key in cluster.netconf:
            checks.add(
                f"pods.netconf.{key}", cluster.netconf[key], "follows from the rest of the file; remove it"
            )
    ipam = cluster.netconf.get("ipam", {})
    if not isinstance(ipam, dict) or not set(ipam) <= {"routes", "resolvConf"}:
        fix = "may have routes and resolvConf only, for the ranges are the node's subnets; remove the rest"
        checks.add("pods.netconf.ipam", ipam, fix)


def _check_unique(cluster: Cluster, checks: Checks) -> None:
    """What no two nodes share."""
    shared: tuple[tuple[str, Callable[[Node], tuple[object, ...]]], ...] = (
        ("name", lambda node: (node.name.lower(),)),
        ("addresses", lambda node: node.addresses),
        ("router-id", lambda node: (node.router_id,)),
    )
    for key, values in shared:
        seen: dict[object, str] = {}
        for i, node in enumerate(cluster.nodes):
            for value in values(node):
                if value in seen:
                    fix = f"is {seen[value]}'s too; give each node its own"
                    checks.add(f"node[{i}].{key}", str(value), fix)
                seen.setdefault(value, node.name)


def _check_subnets(cluster: Cluster, checks: Checks) -> None:
    """Each pod subnet is on one node, and a node that is a next hop for it has an address of its family."""
    owners = [
        (f"node[{i}].subnets", node, subnet)
        for i, node in enumerate(cluster.nodes)
        for subnet in node.subnets
    ]
    for later, earlier in overlaps([all_inside(subnet) for _, _, subnet in owners]):
        key, _, subnet = owners[later]
        _, other, wide = owners[earlier]
        checks.add(key, str(subnet), f"overlaps {wide} of {other.name}; give each node subnets of its own")
    for key, node, subnet in owners:
        if cluster.design != "rack" and node.address(subnet.version) is None:
            fix = f"needs an IPv{subnet.version} next hop; add such an address to the node, or remove it"
            checks.add(key, str(subnet), fix)


def _check_racks(cluster: Cluster, document: dict[str, Any], checks: Checks) -> None:
    """Racks have a name each, and routers that their nodes can peer with."""
    checks.once("rack[{}].name", [rack["name"] for rack in document["rack"]])
    names = [rack["name"] for rack in document["rack"]]
    for i, node in enumerate(cluster.nodes):
        if node.rack and node.rack not in names:
            checks.add(f"node[{i}].rack", node.rack, f"is no [[rack]]; {suggest(node.rack, names)}")
    for i, rack in enumerate(document["rack"]):
        checks.name(f"rack[{i}].name", rack["name"])
        asns = {node.asn for node in cluster.nodes if node.rack == rack["name"]}
        # Which AS the nodes have says what is eBGP; with several, their own configurations tell the rest.
        about = BgpGlobal(min(asns, default=cluster.nodes[0].asn), "")
        for j, router in enumerate(rack["router"]):
            key = f"rack[{i}].router[{j}]"
            config_peers.peer(key, router, about, checks)
            config_peers.policy(key, router, about.asn, checks)
            if cluster.design == "rack" and router["asn"] in asns:
                fix = "is the nodes' AS as well, and racks are for eBGP; give the rack one of its own"
                checks.add(f"{key}.asn", router["asn"], fix)


def _check_design(cluster: Cluster, checks: Checks) -> None:
    """What the design asks of the nodes."""
    asn = cluster.nodes[0].asn
    for i, node in enumerate(cluster.nodes):
        if node.reflector and cluster.design != "reflectors":
            fix = 'counts with the design "reflectors" only; remove it, or set cluster.design'
            checks.add(f"node[{i}].reflector", True, fix)
        if cluster.design == "rack" and not node.rack:
            checks.missing(f"node[{i}].rack", "the name of the node's [[rack]]")
        if cluster.design == "reflectors" and node.asn != asn:
            fix = f"is not {asn}, as {cluster.nodes[0].name}'s; reflectors serve one AS, remove it"
            checks.add(f"node[{i}].asn", node.asn, fix)
    if cluster.design == "reflectors" and not any(node.reflector for node in cluster.nodes):
        fix = "needs a reflector; set reflector = true on one [[node]] or more"
        checks.add("cluster.design", "reflectors", fix)
    if cluster.cluster_id and cluster.design != "reflectors":
        checks.add("cluster.cluster-id", cluster.cluster_id, "is for reflectors only; remove it")
    elif cluster.cluster_id:
        checks.router_id("cluster.cluster-id", cluster.cluster_id)


def _check_session(cluster: Cluster, document: dict[str, Any], checks: Checks) -> None:
    """What all sessions between nodes have; judged as if it stood in a [[peer]] of another AS."""
    if cluster.design == "rack":
        if cluster.session:
            fix = (
                "is for sessions between nodes, of which this design has none; write it into [[rack.router]]"
            )
            checks.add("cluster.session", dict(cluster.session), fix)
        return
    if document["bgp"]["listen-port"] == -1:
        checks.add("bgp.listen-port", -1, "keeps nodes from connecting to each other; write 179")
    peers = load("speaker.schema.json")["properties"]["peer"]["items"]
    one = {"address": "192.0.2.1", "asn": 1, "families": ["ipv4", "ipv6"], **cluster.session}
    item = with_defaults(peers, one)
    config_peers.peer("cluster.session", item, BgpGlobal(2, ""), checks)
    config_peers.policy("cluster.session", item, None, checks)
