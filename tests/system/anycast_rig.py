"""What the tests of virtual IPs ask of a node: pools, and what stands of them in pod, state file and kernel."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from cni.reader import StateReader
from tests.system.plugin_node import Node, run

if TYPE_CHECKING:
    from cni.allocation import Vip
    from tests.system.plugin_node import Answer

V4, OTHER_V4, V6 = "198.51.100.10", "198.51.100.11", "2001:db8:a::10"
POOLS: dict[str, Any] = {
    "pools": [
        {"name": "edge", "addresses": ["198.51.100.0/24", "2001:db8:a::/64"]},
        {"name": "dns", "addresses": ["203.0.113.0/24"], "namespaces": ["dns", "kube-*"]},
    ]
}
ANNOTATIONS = "io.kubernetes.cri.pod-annotations"
# Where the speaker would put them; its own part makes them otherwise.
GROUP = 0x50000001


def asking(node: Node, *vips: str, **keys: object) -> dict[str, Any]:
    """The node's netconf with pools, and a call that asks for these VIPs by annotation."""
    annotations = {"anypod.dev/anycast": ", ".join(vips)} if vips else {}
    return node.conf(anycast=POOLS, runtimeConfig={ANNOTATIONS: annotations}) | keys


def add_of(node: Node, container: str, pod: str, conf: dict[str, Any], namespace: str = "") -> Answer:
    """ADD as Kubernetes' runtimes call it, with the pod's namespace."""
    env = node.environment("ADD", container, pod)
    args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=web" if namespace else ""
    return node.call(env | {"CNI_ARGS": args}, json.dumps(conf).encode())


def served(node: Node) -> dict[str, tuple[Vip, ...]]:
    """The VIPs of each container, from the state file."""
    return {one.container: one.vips for one in StateReader(str(node.state)).allocations() if one.vips}


def ips(node: Node) -> dict[str, list[str]]:
    """Their addresses alone."""
    return {container: sorted(vip.ip for vip in vips) for container, vips in served(node).items()}


def on_lo(node: Node, pod: str) -> set[str]:
    """The addresses that the pod's `lo` has beside its own."""
    (link,) = node.ip("addr", "show", "lo", namespace=pod)
    found = {f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"]}
    return found - {"127.0.0.1/8", "::1/128"}


def make_group(node: Node, vip: str = V4) -> None:
    """The endpoints of a VIP as next-hop objects in a resilient group with a route, as the speaker has them."""
    members = [one for vips in served(node).values() for one in vips if one.ip == vip]
    for one in members:
        nexthop(node, "add", "id", str(one.nexthop), "via", one.via, "dev", "cni0", "protocol", "178")
    group = "/".join(str(one.nexthop) for one in members)
    nexthop(
        node, "add", "id", str(GROUP), "group", group, "type", "resilient", "buckets", "32", "protocol", "178"
    )
    run("ip", "-n", node.name, "route", "add", vip, "nhid", str(GROUP), "proto", "178")


def nexthop(node: Node, *argv: str) -> None:
    run("ip", "-n", node.name, "nexthop", *argv)


def nexthops(node: Node) -> dict[int, list[int]]:
    """The next-hop objects of the node, with the members of those that are groups."""
    found = json.loads(run("ip", "-n", node.name, "-j", "nexthop") or "[]")
    return {one["id"]: [member["id"] for member in one.get("group", ())] for one in found}


def sysctl(node: Node, namespace: str, key: str) -> str:
    return node.execute(namespace, "cat", f"/proc/sys/net/{key}").strip()


def rows(node: Node, query: str) -> list[tuple[Any, ...]]:
    """What the state file answers."""
    db = sqlite3.connect(node.state / "state.db")
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()
