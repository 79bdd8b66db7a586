"""Whether kernels, gobgpds, speakers and racks are what the configurations and the pods call for."""

from __future__ import annotations

import json
import time
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from tests.system.gobgp_rig import run
from tests.system.soak_model import VERSIONS, Path, behind, routes
from tests.system.soak_vips import vips_apart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from speaker.bgp import Prefix
    from tests.system.soak_model import Heard, Kernel
    from tests.system.soak_rig import Node, Soak

SECONDS = 90
LOOK = 0.5
PROTOCOL = "177"
# Attributes by their numbers (RFC 4271, 4760, 1997, 8092).
AS_PATH, NEXT_HOP, MED, LOCAL_PREF, COMMUNITIES, REACH, LARGE = 2, 3, 4, 5, 8, 14, 32
NO_EXPORT = 0xFFFFFF01


def settle(soak: Soak) -> float:
    """Waits until nothing differs any more; how many seconds."""
    began = time.monotonic()
    while seen := differences(soak):
        assert time.monotonic() < began + SECONDS, "\n".join([f"not within {SECONDS} s:", *seen])
        time.sleep(LOOK)
    return time.monotonic() - began


def differences(soak: Soak) -> list[str]:
    """What is not as it should be; empty when all is."""
    found = [
        f"node{node.number}: {difference}"
        for node in soak.nodes.values()
        for found_by in (
            _in_kernel(soak, node),
            _in_daemon(soak, node),
            _in_speaker(soak, node),
            vips_apart(node),
        )
        for difference in found_by
    ]
    for number, rack in soak.racks.items():
        wanted: dict[Prefix, Path] = {}
        for settings in soak.settings.values():
            wanted |= settings.told(number)
        found += [f"rack{number}: {difference}" for difference in _apart(wanted, rack.told())]
    return found


def _apart(wanted: Mapping[Any, object], found: Mapping[Any, object]) -> Iterator[str]:
    for one in sorted(wanted.keys() | found.keys(), key=str):
        if wanted.get(one) != found.get(one):
            yield f"{one} is {found.get(one)}, should be {wanted.get(one)}"


def heard(soak: Soak, node: Node) -> Heard:
    """The learned paths that a node should have."""
    return node.settings.heard(soak.settings, {number: rack.prefixes for number, rack in soak.racks.items()})


# ---- the kernel


def kernel(node: Node) -> Kernel:
    """The speaker's routes."""
    found: Kernel = {}
    for version in VERSIONS:
        argv = ("ip", "-n", node.member.ns, f"-{version}", "-j", "-N", "route", "show", "proto", PROTOCOL)
        for entry in json.loads(run(*argv) or "[]"):
            hops = [hop["gateway"] for hop in entry.get("nexthops", [entry]) if "gateway" in hop]
            key = ip_network(entry["dst"]), int(entry["metric"])
            found[key] = frozenset(map(ip_address, hops))
    return found


def _in_kernel(soak: Soak, node: Node) -> Iterator[str]:
    settings, found = node.settings, kernel(node)
    learned = routes(heard(soak, node), settings.metric)
    if settings.maximum and len(learned) > settings.maximum:
        # Which ones depends on what was there before; none is wrong.
        there = learned.keys() & found.keys()
        if len(there) != settings.maximum:
            yield f"the kernel has {len(there)} learned routes, should have {settings.maximum}"
        learned = {key: learned[key] for key in there}
    yield from (f"the kernel's {text}" for text in _apart({**behind(settings), **learned}, found))


# ---- gobgpd


def _in_daemon(soak: Soak, node: Node) -> Iterator[str]:
    wanted = {prefix: frozenset(paths) for prefix, paths in heard(soak, node).items()}
    wanted |= {prefix: frozenset({path}) for prefix, path in node.settings.announced().items()}
    yield from (f"gobgpd's {text}" for text in _apart(wanted, paths_of(node)))
    neighbours = node.member.neighbours()
    found = {entry["conf"]["neighbor_address"] for entry in neighbours}
    up = sum(entry["state"]["session_state"] == 6 for entry in neighbours)
    if found != node.settings.peers or up != len(found):
        yield f"gobgpd has the peers {sorted(found)}, {up} of them established"


def paths_of(node: Node) -> dict[Prefix, frozenset[Path]]:
    """All paths of its gobgpd; none while it does not answer."""
    found: dict[Prefix, frozenset[Path]] = {}
    for version in VERSIONS:
        output = node.member.gobgp("-j", "global", "rib", "-a", f"ipv{version}", check=False)
        entries = json.loads(output) if output.startswith("{") else {}
        entries.pop("error", None)
        for prefix, paths in entries.items():
            found[ip_network(prefix)] = frozenset(_path(path["attrs"]) for path in paths)
    return found


def _path(attributes: list[dict[str, Any]]) -> Path:
    by_type = {one["type"]: one for one in attributes}
    reach = by_type.get(NEXT_HOP) or by_type[REACH]
    segments = by_type.get(AS_PATH, {}).get("as_paths", [])
    standard = by_type.get(COMMUNITIES, {}).get("communities", [])
    large = by_type.get(LARGE, {}).get("value", [])
    return Path(
        reach["nexthop"],
        tuple(asn for segment in segments for asn in segment["asns"]),
        frozenset([*map(_standard, standard), *(":".join(map(str, one.values())) for one in large)]),
        by_type.get(MED, {}).get("metric", 0),
        by_type.get(LOCAL_PREF, {}).get("value", 0),
    )


def _standard(number: int) -> str:
    return "no-export" if number == NO_EXPORT else f"{number >> 16}:{number & 0xFFFF}"


# ---- the speaker


def _in_speaker(soak: Soak, node: Node) -> Iterator[str]:
    shown, settings = node.status(), node.settings
    if not shown:
        yield "no status socket"
        return
    learned = len(heard(soak, node))
    left_out = max(0, learned - settings.maximum) if settings.maximum else 0
    up = {one["address"] for one in shown["peers"] if one["state"] == "established"}
    own = set(map(str, settings.announced()))
    served = {vip: len(pods) for vip, pods in settings.served().items()}
    looks: dict[str, tuple[object, object]] = {
        "gobgpd": ({**shown["gobgpd"], "lost": 0}, _well(shown["gobgpd"]["api"])),
        "configuration": (shown["configuration"]["refused"], ""),
        "peers": (up, settings.peers),
        "missing peers": (shown["missing_peers"], {}),
        "announced": (shown["announced"], len(own)),
        "paths": ({one["prefix"] for one in shown["paths"]}, own),
        "learned": (shown["learned"], learned),
        "VIPs": (
            {one["vip"]: one["serving"] for one in shown["vips"] if one["state"] == "announced"},
            served,
        ),
        "routes": (
            shown["routes"],
            {
                "in_step": True,
                "installed": learned - left_out,
                "beyond_maximum": left_out,
                "stale": 0,
                "refused": 0,
                "refusals": {},
                "unreachable": 0,
                "next_hops": {},
            },
        ),
    }
    for name, (is_, should) in looks.items():
        if is_ != should:
            yield f"the speaker's {name}: {is_}, should be {should}"


def _well(api: str) -> dict[str, object]:
    return {"api": api, "connected": True, "in_step": True, "trouble": "", "lost": 0}


def usages(soak: Soak, names: Mapping[str, object]) -> dict[tuple[int, str], tuple[int, int]]:
    """Descriptors and KiB of the processes of these names, everywhere."""
    return {(number, name): node.usage(name) for number, node in soak.nodes.items() for name in names}
