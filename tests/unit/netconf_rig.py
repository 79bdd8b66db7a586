"""A good netconf, and ways to change it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

GOOD: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "type": "anypod",
    "isGateway": True,
    "ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """The good netconf with another value at `ipam.ranges.0` or the like."""
    conf = deepcopy(GOOD)
    place: Any = conf
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
    for part in parents:
        place = place[part]
    place[last] = value
    return conf


def one_range(**keys: object) -> dict[str, Any]:
    """With one range, of 10.1.0.0/24 where the keys say nothing else."""
    return changed("ipam.ranges", [[{"subnet": "10.1.0.0/24"} | keys]])


def layer2(**keys: object) -> dict[str, Any]:
    """Without addresses."""
    conf = changed("isGateway", False) | keys
    del conf["ipam"]
    return conf
