"""cluster.toml, the same file on all nodes, as typed values; and which of its nodes this machine is."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from speaker.config import schema
from speaker.config.checks import Checks, ConfigError, refuse
from speaker.config.cluster_checks import check_cluster
from speaker.config.speaker_toml import read_toml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from speaker.bgp import Address, Prefix

# Tables of speaker.toml that stand in cluster.toml for all nodes, [bgp] and [announce] with fewer keys.
COMMON = (
    "gobgpd",
    "dynamic-peer",
    "announcement",
    "accept",
    "kernel",
    "anycast",
    "state",
    "timers",
    "speaker",
)


class Design(StrEnum):
    """Who of the nodes peers with whom."""

    FULL_MESH = "full-mesh"  # each with each
    RACK = "rack"  # none with another
    REFLECTORS = "reflectors"  # all with the reflectors


@dataclass(frozen=True, slots=True)
class Node:
    """One machine; `addresses` has at most one of each family."""

    name: str
    addresses: tuple[Address, ...]
    asn: int
    router_id: str
    subnets: tuple[Prefix, ...] = ()
    rack: str = ""
    reflector: bool = False

    def address(self, version: int) -> Address | None:
        """Its address of that IP version."""
        return next((one for one in self.addresses if one.version == version), None)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The whole file. `session`, `routers` (by rack) and `common` are tables of speaker.toml as they are written.

    `netconf` holds keys of the plugin's configuration that are the same on all nodes.
    """

    path: str
    design: Design
    nodes: tuple[Node, ...]
    cluster_id: str = ""
    session: Mapping[str, Any] = field(default_factory=dict)
    routers: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    common: Mapping[str, Any] = field(default_factory=dict)
    network: str = "pods"
    netconf: Mapping[str, Any] = field(default_factory=dict)


def load_schema() -> dict[str, Any]:
    """What cluster.toml may say."""
    return schema.load("cluster.schema.json")


def load(path: str, checks: Checks | None = None) -> Cluster:
    """Reads the file; ConfigError says what is wrong with it."""
    return build(read_toml(path), path, checks)


def build(document: dict[str, Any], path: str, checks: Checks | None = None) -> Cluster:
    """The document as a Cluster; ConfigError with all that is wrong, each line headed by `path`."""
    found = schema.problems(load_schema(), document)
    if found:
        refuse(path, found)
    checks = checks or Checks()
    filled = schema.with_defaults(load_schema(), document)
    about = filled["cluster"]
    cluster = Cluster(
        path=path,
        design=Design(about["design"]),
        nodes=tuple(
            _node(f"node[{i}]", item, about.get("asn", 0), checks) for i, item in enumerate(filled["node"])
        ),
        cluster_id=about["cluster-id"],
        session=document["cluster"].get("session", {}),
        routers={rack["name"]: rack["router"] for rack in document.get("rack", [])},
        common={key: document[key] for key in ("bgp", "peer", "announce", *COMMON) if key in document},
        network=checks.name("pods.name", filled["pods"]["name"]),
        netconf=filled["pods"]["netconf"],
    )
    if not checks.problems:
        check_cluster(cluster, filled, checks)
    if checks.problems:
        refuse(path, checks.problems)
    return cluster


def _node(key: str, item: dict[str, Any], asn: int, checks: Checks) -> Node:
    before = len(checks.problems)
    addresses = tuple(
        checks.neighbour(f"{key}.addresses[{i}]", text) for i, text in enumerate(item["addresses"])
    )
    refused = len(checks.problems) > before
    if len({address.version for address in addresses}) < len(addresses):
        fix = "is a second address of one family; keep the one that other nodes reach"
        checks.add(f"{key}.addresses[1]", item["addresses"][1], fix)
    if not item.get("asn", asn):
        checks.missing(f"{key}.asn", "asn = 65001, or cluster.asn for all nodes")
    router_id = str(next((one for one in addresses if one.version == 4), ""))
    if item.get("router-id"):
        router_id = str(checks.router_id(f"{key}.router-id", item["router-id"]))
    if not (router_id or refused):
        checks.missing(f"{key}.router-id", 'router-id = "10.0.0.1": the node has no IPv4 address to take')
    return Node(
        name=checks.name(f"{key}.name", item["name"]),
        addresses=addresses,
        asn=item.get("asn", asn),
        router_id=router_id,
        subnets=checks.subnets(f"{key}.subnets", item["subnets"]),
        rack=item["rack"],
        reflector=item["reflector"],
    )


def find(
    cluster: Cluster,
    name: str = "",
    hostname: Callable[[], str] = socket.gethostname,
    is_own: Callable[[Address], bool] | None = None,
) -> Node:
    """The node of that name; without one this machine, by its host name, else by its addresses.

    ConfigError where that is none or several.
    """
    if name:
        found = [node for node in cluster.nodes if node.name.lower() == name.lower()]
        if not found:
            known = [node.name for node in cluster.nodes]
            raise ConfigError(
                f"{cluster.path}: node: {schema.show(name)} is not there; {schema.suggest(name, known)}"
            )
        return found[0]
    host = hostname().lower()
    for wanted in (host, host.partition(".")[0]):
        for node in cluster.nodes:
            if node.name.lower() == wanted:
                return node
    found = [node for node in cluster.nodes if any(map(is_own or is_own_address, node.addresses))]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} have addresses" if found else "has an address"
    raise ConfigError(
        f"{cluster.path}: node: none is called {schema.show(host)}, and {'' if found else 'none '}{what}"
        " of this machine; say which one it is with --node NAME"
    )


def is_own_address(address: Address) -> bool:
    """Whether this machine has the address: then a socket can be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:  # also where this machine has no IPv6 at all
        return False
    return True
