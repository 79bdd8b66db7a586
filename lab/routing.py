"""What is observed of routing: a member's kernel routes, and the sessions of its gobgpd."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from lab.commands import attempt, run

if TYPE_CHECKING:
    from lab.topology import Address, Prefix

ESTABLISHED = 6  # the state's number in gobgp's JSON (apipb.PeerState.SessionState)


@dataclass(frozen=True, slots=True)
class Route:
    """A kernel route; `gateways` has its next hops, none for a connected or unreachable one."""

    prefix: Prefix
    kind: str  # "unicast", "unreachable", …
    protocol: str
    gateways: frozenset[Address]


@dataclass(frozen=True, slots=True)
class Session:
    """A BGP session as a gobgpd sees it."""

    remote: str
    asn: int
    established: bool


def routes(namespace: str, version: int) -> tuple[Route, ...]:
    """The main table of a namespace for IP version 4 or 6, in the kernel's order."""
    document = json.loads(run(["ip", "-n", namespace, f"-{version}", "-j", "route", "show"]) or "[]")
    return tuple(_route(entry, version) for entry in document)


def gateways(namespace: str, prefix: Prefix) -> frozenset[Address]:
    """The next hops that a kernel has for exactly this prefix; empty when there is no such route."""
    found = (route.gateways for route in routes(namespace, prefix.version) if route.prefix == prefix)
    return frozenset().union(*found)


def weights(namespace: str, prefix: Prefix) -> dict[Address, int]:
    """The same with their shares of the traffic: the weights of the kernel, each at least 1."""
    argv = ["ip", "-n", namespace, f"-{prefix.version}", "-j", "route", "show", str(prefix)]
    found = {}
    for entry in json.loads(run(argv) or "[]"):
        for hop in entry.get("nexthops") or [entry]:
            gateway = hop.get("gateway") or hop.get("via", {}).get("host")
            if gateway:
                found[ip_address(gateway)] = int(hop.get("weight", 1))
    return found


def route_table(namespace: str, version: int) -> list[str]:
    """The table as `ip route` prints it, for a person."""
    argv = ["ip", "-n", namespace, f"-{version}", "route", "show"]
    return [
        line.rstrip().replace("\t", "    ")
        for line in run(argv).splitlines()
        if not line.startswith("fe80::")
    ]


def _route(entry: dict[str, Any], version: int) -> Route:
    destination = str(entry["dst"])
    if destination == "default":
        destination = "0.0.0.0/0" if version == 4 else "::/0"
    hops = entry.get("nexthops") or [entry]
    found = [hop.get("gateway") or hop.get("via", {}).get("host") for hop in hops]
    return Route(
        ip_network(destination),
        str(entry.get("type", "unicast")),
        str(entry.get("protocol", "")),
        frozenset(ip_address(gateway) for gateway in found if gateway),
    )


def sessions(api: str) -> tuple[Session, ...]:
    """All sessions of the gobgpd behind this API address; () while it does not answer."""
    done = attempt(["gobgp", "--target", api, "neighbor", "-j"])
    if done.status != 0:
        return ()
    try:
        document = json.loads(done.stdout or "[]")
    except ValueError:
        return ()  # before the speaker has configured it, gobgp writes a sentence
    return tuple(_session(entry) for entry in document or [])


def _session(entry: dict[str, Any]) -> Session:
    conf, state = entry.get("conf", {}), entry.get("state", {})
    established = state.get("session_state") in {ESTABLISHED, "ESTABLISHED"}
    return Session(str(conf.get("neighbor_address", "")), int(conf.get("peer_asn", 0)), established)


def learned(api: str, prefix: Prefix) -> int:
    """How many paths the gobgpd behind this API address has for exactly this prefix."""
    family = "ipv4" if prefix.version == 4 else "ipv6"
    done = attempt(["gobgp", "--target", api, "global", "rib", "-a", family, "-j"])
    try:
        document = json.loads(done.stdout or "{}") if done.status == 0 else {}
    except ValueError:
        return 0
    paths = document.get(str(prefix), []) if isinstance(document, dict) else []
    return len(paths)
