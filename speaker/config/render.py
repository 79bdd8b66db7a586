"""What one node of a cluster.toml is configured with: its speaker.toml and its conflist."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cni.errors import CniError
from cni.netconf import compile_network
from speaker.config import speaker_toml as config
from speaker.config import toml
from speaker.config.checks import ChecksWithoutFiles, ConfigError
from speaker.config.cluster import COMMON, Design

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speaker.bgp import Address
    from speaker.config.cluster import Cluster, Node
    from speaker.settings import Config

CNI_VERSION = "1.0.0"
ANNOTATIONS = "io.kubernetes.cri.pod-annotations"  # how runtimes hand over what a pod asks for


def config_for(cluster: Cluster, node: Node) -> Config:
    """The node's configuration; ConfigError says what is wrong with it."""
    built = config.build(document(cluster, node), _name(cluster, node))
    return replace(built, files=built.files - {_name(cluster, node)} | {cluster.path})


def _name(cluster: Cluster, node: Node) -> str:
    """What stands at the head of error lines."""
    return f"{cluster.path} (for {node.name})"


def speaker_toml(cluster: Cluster, node: Node) -> str:
    """The node's speaker.toml, valid but for the files that it names: they may be on the node only."""
    made = document(cluster, node)
    config.build(made, _name(cluster, node), ChecksWithoutFiles())
    return f"# Made from {cluster.path} for {node.name}: change that file.\n\n{toml.dumps(made)}"


def document(cluster: Cluster, node: Node) -> dict[str, Any]:
    """The node's speaker.toml as tables. What the file says for all nodes comes first, so its keys stay the same."""
    common = cluster.common
    announce = {"subnets": [str(subnet) for subnet in node.subnets], **common.get("announce", {})}
    peers = [*common.get("peer", []), *cluster.routers.get(node.rack, []), *_sessions(cluster, node)]
    whole = {
        "bgp": {"asn": node.asn, "router-id": node.router_id, **common.get("bgp", {})},
        "peer": peers,
        "announce": {key: value for key, value in announce.items() if value != []},
        **{key: common[key] for key in COMMON if key in common},
    }
    return {key: value for key, value in whole.items() if value not in ([], {})}


def _sessions(cluster: Cluster, node: Node) -> Iterator[dict[str, Any]]:
    """The [[peer]] tables for other nodes: one session for each family that both have an address of."""
    for other in cluster.nodes:
        if other.name == node.name or not _are_peers(cluster.design, node, other):
            continue
        for own in node.addresses:
            address = other.address(own.version)
            if address is not None:
                yield _session(cluster, node, other, own, address)


def _are_peers(design: Design, one: Node, other: Node) -> bool:
    return design == Design.FULL_MESH or (design == Design.REFLECTORS and (one.reflector or other.reflector))


def _session(cluster: Cluster, node: Node, other: Node, own: Address, address: Address) -> dict[str, Any]:
    peer: dict[str, Any] = {
        "address": str(address),
        "asn": other.asn,
        "description": other.name,
        "local-address": str(own),
        **cluster.session,
    }
    port = cluster.common.get("bgp", {}).get("listen-port", 179)
    if port != 179:
        peer["port"] = port
    if waits(node, other):
        peer["passive"] = True
    if node.reflector and not other.reflector:
        peer["reflector-client"] = True
        if cluster.cluster_id:
            peer["cluster-id"] = cluster.cluster_id
    if node.asn == other.asn:
        peer.pop("multihop-ttl", None)
    if "export" in peer:
        unheard = "prepend" if node.asn == other.asn else "local-preference"
        peer["export"] = {key: one for key, one in peer["export"].items() if key != unheard}
    foreign = f"ipv{10 - own.version}"
    if foreign in peer.get("prefix-limit", {}):
        peer["prefix-limit"] = {key: one for key, one in peer["prefix-limit"].items() if key != foreign}
    return peer


def waits(node: Node, other: Node) -> bool:
    """Whether this end is the passive one: of two gobgpd that both dial, each turns the other away for seconds.

    Reflectors wait for their clients; else the name that comes first in the alphabet waits.
    """
    if node.reflector != other.reflector:
        return node.reflector
    return node.name.lower() < other.name.lower()


def conflist(cluster: Cluster, node: Node) -> str:
    """The node's CNI configuration; ConfigError where it has no subnets, or the plugin refuses it."""
    if not node.subnets:
        raise ConfigError(
            f"{cluster.path}: node: {node.name} has no subnets, so no pods; give it some, or render its speaker only"
        )
    by_family = [[subnet for subnet in node.subnets if subnet.version == version] for version in (4, 6)]
    ranges = [[{"subnet": str(subnet)} for subnet in subnets] for subnets in by_family if subnets]
    plugin: dict[str, Any] = {"type": "anypod", "bridge": "cni0", "isDefaultGateway": True, **cluster.netconf}
    plugin["ipam"] = {"ranges": ranges, **cluster.netconf.get("ipam", {})}
    if isinstance(plugin.get("anycast"), dict):
        plugin["anycast"] = {"pools": _pools(cluster), **plugin["anycast"]}
        plugin.setdefault("capabilities", {ANNOTATIONS: True})
    state = cluster.common.get("state", {}).get("dir")
    if state:
        plugin["stateDir"] = state
    try:
        compile_network({**plugin, "name": cluster.network, "cniVersion": CNI_VERSION}, CNI_VERSION)
    except CniError as error:
        raise ConfigError(f"{_name(cluster, node)}: pods.netconf.{error.message}") from None
    whole = {"cniVersion": CNI_VERSION, "name": cluster.network, "plugins": [plugin]}
    return json.dumps(whole, indent=2) + "\n"


def _pools(cluster: Cluster) -> list[dict[str, Any]]:
    """The pools that the speakers know, for all pods to ask for."""
    pools = cluster.common.get("anycast", {}).get("pool", [])
    return [{"name": pool["name"], "addresses": pool["prefixes"]} for pool in pools]
