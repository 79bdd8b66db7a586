"""What a bridge with VLANs looks like, and who reaches whom across it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.system.plugin_node import Node

# How frames leave a port in its own VLAN, in one that it is left in besides, and in those of a trunk.
OWN = ("Egress Untagged", "PVID")
LEFT_IN = ("Egress Untagged",)
TAGGED: tuple[str, ...] = ()
Vlans = dict[int, tuple[str, ...]]
SECONDS = 60


def trunk(*vlans: int) -> Vlans:
    """VLANs of which a port gets frames with their tag."""
    return dict.fromkeys(vlans, TAGGED)


def ports(node: Node) -> dict[str, Vlans]:
    """Each port of a bridge, and the bridge itself, with its VLANs and how they are at it."""
    shown = json.loads(node.execute(node.name, "bridge", "-j", "vlan", "show"))
    return {one["ifname"]: _vlans(one["vlans"]) for one in shown}


def _vlans(shown: Iterable[dict[str, Any]]) -> Vlans:
    return {
        vlan: tuple(sorted(one.get("flags", ())))
        for one in shown
        for vlan in range(one["vlan"], one.get("vlanEnd", one["vlan"]) + 1)
    }


def host_end(result: dict[str, Any]) -> str:
    """The node's end of a pod's pair, as ADD told it."""
    return str(result["interfaces"][1]["name"])


def filtering(node: Node) -> bool:
    """Whether the bridge keeps its VLANs apart."""
    bridge = next(one for one in node.ip("link") if one["ifname"] == "cni0")
    return bool(bridge["linkinfo"]["info_data"]["vlan_filtering"])


def addresses(node: Node, name: str, namespace: str = "") -> set[str]:
    """The addresses of a link but for link-local ones."""
    link = next(one for one in node.ip("addr", namespace=namespace) if one["ifname"] == name)
    return {f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["scope"] == "global"}


def reached(tries: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Of (namespace, address) those that answer a ping. All at once: one that is not there takes three seconds."""
    running = {
        (namespace, address): subprocess.Popen(
            ["ip", "netns", "exec", namespace, "ping", "-c1", "-W10", address], stdout=subprocess.DEVNULL
        )
        for namespace, address in tries
    }
    return {one for one, process in running.items() if process.wait(SECONDS) == 0}
