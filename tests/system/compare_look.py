"""What can be seen of a node and its pods, with everything that is random replaced by what it stands for."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.system.plugin_node import Node

Seen = dict[str, object]
# Numbers of the namespace's life, and identifiers that follow from hardware addresses.
VOLATILE = {
    *("ifindex", "ifname", "link_index", "address", "link", "link_netnsid", "addr_info", "ifalias", "master"),
    *("bridge_id", "root_id", "id", "no", "designated_port", "root_port", "cost", "root_path_cost"),
    *("message_age_timer", "forward_delay_timer", "hold_timer", "hello_timer", "tcn_timer", "gc_timer"),
    *("topology_change_timer", "mcast_startup_query_intvl"),
}
SYSCTLS = r"^net\.ipv[46]\.(conf\..*|ip_forward)$"
# Of the namespace's age and not of its configuration.
VOLATILE_SYSCTLS = ("stable_secret",)
SETTLED_SECONDS = 10.0


def flat(value: object, key: str = "") -> Seen:
    """Nested values as one dictionary, `a.b.0.c` to leaf; an empty container is a leaf too."""
    if isinstance(value, dict) and value:
        return {
            k: v for name, inner in value.items() for k, v in flat(inner, f"{key}.{name}".lstrip(".")).items()
        }
    if isinstance(value, list) and value:
        return {k: v for number, inner in enumerate(value) for k, v in flat(inner, f"{key}.{number}").items()}
    return {key: value}


def kernel(node: Node, pods: dict[str, str], hosts: dict[str, str]) -> Seen:
    """Links, addresses, routes and sysctls of the node and of each pod, once addresses are settled."""
    seen: Seen = {}
    for label, namespace in {"node": node.name, **pods}.items():
        names = {name: f"host({owner})" for name, owner in hosts.items()} if label == "node" else {}
        seen[label] = {
            "links": _links(node, namespace, names),
            "routes": _routes(node, namespace, names),
            "sysctls": _sysctls(node, namespace, names),
        }
    return seen


def prepare(node: Node, namespace: str) -> None:
    """Spares the comparisons the seconds that IPv6 addresses wait for their neighbours' objections."""
    for name in ("dad_transmits", "router_solicitation_delay"):
        node.execute(namespace, "sysctl", "-qw", f"net.ipv6.conf.default.{name}=0")


def settled(node: Node, namespace: str) -> list[dict[str, Any]]:
    """Links with addresses of which none is tentative any more."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while True:
        links: list[dict[str, Any]] = node.ip("addr", namespace=namespace)
        if not any(one.get("tentative") for link in links for one in link["addr_info"]):
            return links
        assert time.monotonic() < deadline, "an address stays tentative"
        time.sleep(0.05)


def _links(node: Node, namespace: str, names: dict[str, str]) -> Seen:
    assigned = _assigned(node, namespace)
    seen: Seen = {}
    for link in settled(node, namespace):
        name = link["ifname"]
        seen[names.get(name, name)] = _without(link) | {
            "addresses": _addresses(link),
            "master": link.get("master", ""),
            "alias": link.get("ifalias", ""),
            "mac": _mac_kind(link["address"]) + ", " + assigned[name],
        }
    return seen


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner) for key, inner in value.items() if key not in VOLATILE}
    return value


def _addresses(link: dict[str, Any]) -> Seen:
    seen: Seen = {}
    for one in link["addr_info"]:
        local = f"{one['local']}/{one['prefixlen']}"
        if local.startswith("fe80:"):
            local = "link-local"
        seen[local] = {key: value for key, value in one.items() if key not in ("local", "prefixlen")}
    return seen


def _assigned(node: Node, namespace: str) -> dict[str, str]:
    """How each link came to its hardware address; linux/netdevice.h, NET_ADDR_*."""
    kinds = {"0": "permanent", "1": "made by the kernel", "2": "stolen", "3": "set"}
    command = 'cd /sys/class/net; for link in *; do echo "$link $(cat "$link/addr_assign_type")"; done'
    pairs = (line.split() for line in node.execute(namespace, "sh", "-c", command).splitlines())
    return {name: kinds[kind] for name, kind in pairs}


def _mac_kind(address: str) -> str:
    first = int(address[:2], 16)
    if address.startswith("0a:58:"):
        return "0a:58 and an address"
    return f"{'local' if first & 2 else 'global'} {'group' if first & 1 else 'unicast'}"


def _routes(node: Node, namespace: str, names: dict[str, str]) -> Seen:
    seen: Seen = {}
    for family in ("-4", "-6"):
        for one in node.ip(family, "route", "show", "table", "all", namespace=namespace):
            if one.get("table") == "local" or one.get("dev") == "lo":
                continue
            device = names.get(one.get("dev", ""), one.get("dev", ""))
            key = f"{family} {one['dst']} dev {device} table {one.get('table', 'main')}"
            seen[key] = {name: value for name, value in one.items() if name not in ("dst", "dev", "table")}
    return seen


def _sysctls(node: Node, namespace: str, names: dict[str, str]) -> Seen:
    seen: Seen = {}
    for line in node.execute(namespace, "sysctl", "-a", "-e", "-r", SYSCTLS).splitlines():
        key, _, value = line.partition(" = ")
        parts = key.split(".")
        if parts[-1] in VOLATILE_SYSCTLS:
            continue
        if len(parts) > 3:
            parts[3] = names.get(parts[3], parts[3])
        seen["/".join(parts)] = value
    return seen


def result(node: Node, answer: dict[str, Any], pods: dict[str, str], hosts: dict[str, str]) -> Seen:
    """ADD's answer: hardware addresses checked against the kernel, random names and paths replaced."""
    copy: dict[str, Any] = json.loads(json.dumps(answer))
    paths = {f"/run/netns/{namespace}": (label, namespace) for label, namespace in pods.items()}
    for one in copy.get("interfaces", ()):
        label, namespace = paths.get(one.get("sandbox", ""), ("node", node.name))
        link = next(found for found in node.ip("link", namespace=namespace) if found["ifname"] == one["name"])
        for key, shown in (("mac", link["address"]), ("mtu", link["mtu"])):
            if one.get(key) == shown:
                one[key] = "the kernel's"
        if "sandbox" in one:
            one["sandbox"] = label
        if one["name"] in hosts and label == "node":
            one["name"] = f"host({hosts[one['name']]})"
    return {"result": copy}
