"""Whether the kernel leads each virtual IP of a node to the pods that serve it, and holds nothing else for them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.system.gobgp_rig import run
from tests.system.soak_model import VERSIONS, VIP_METRIC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.soak_rig import Node

PROTOCOL = "178"


def vips_apart(node: Node) -> Iterator[str]:
    """What differs from what the pods serve."""
    wanted, objects = node.settings.served(), _objects(node)
    found: dict[str, set[str]] = {}
    groups: set[int] = set()
    for route in _routes(node):
        if route["metric"] != VIP_METRIC:
            yield f"{route['dst']} has the metric {route['metric']}"
        groups.add(route["nhid"])
        members = objects.get(route["nhid"], {}).get("group", [])
        found[route["dst"]] = {objects[one["id"]]["gateway"] for one in members}
    if found != wanted:
        yield f"the kernel's VIPs are {found}, should be {wanted}"
    spare = {number for number, one in objects.items() if "group" in one} - groups
    if spare:
        yield f"groups that no VIP has: {spare}"
    pods = {via for endpoint in node.settings.endpoints.values() for via in endpoint.via.values()}
    strange = {one["gateway"] for one in objects.values() if "group" not in one} - pods
    if strange:
        yield f"next hops that are no pods: {strange}"


def _routes(node: Node) -> list[dict[str, Any]]:
    return [
        dict(entry)
        for version in VERSIONS
        for entry in _json(node, f"-{version}", "route", "show", "proto", PROTOCOL)
    ]


def _objects(node: Node) -> dict[int, dict[str, Any]]:
    found = _json(node, "nexthop", "show", "proto", PROTOCOL)
    return {entry["id"]: dict(entry) for entry in found}


def _json(node: Node, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("ip", "-n", node.member.ns, "-j", *words) or "[]")
    return found
