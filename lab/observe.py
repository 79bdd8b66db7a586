"""Questions that demo and tests ask a standing lab; each waits for what it expects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lab import measure, netns, routing
from lab.commands import run
from lab.errors import LabError, NotObservedError
from lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.measure import Reply
    from lab.rig import Lab
    from lab.routing import Session
    from lab.topology import Address, Prefix

SESSION_SECONDS = 45.0  # gobgpd dials 5 to 9 seconds after a peer is added, and both ends do
ROUTE_SECONDS = 20.0
REPLY_SECONDS = 15.0
PLAIN_DEVICES = frozenset({"loopback", "veth", "bridge"})


def sessions_up(lab: Lab, router: str) -> tuple[Session, ...]:
    """Waits until every session of an anypod router is established; returns them."""
    expected = {str(peering.remote) for peering in lab.topology.peerings(router)}
    api = lab.place(router).api
    try:
        return until(
            lambda: routing.sessions(api),
            lambda seen: {s.remote for s in seen if s.established} >= expected,
            seconds=SESSION_SECONDS,
            what=f"BGP sessions of {router} with {', '.join(sorted(expected))}",
            interval=0.25,
        )
    except NotObservedError as error:
        raise NotObservedError("\n".join([str(error), *last_words(lab, [router])])) from None


def route_via(
    lab: Lab, member: str, prefix: Prefix, gateways: Iterable[Address], seconds: float = ROUTE_SECONDS
) -> None:
    """Waits until a member's kernel has exactly these next hops for a prefix; no next hops mean no route."""
    wanted = frozenset(gateways)
    namespace = lab.namespace(member)
    hops = " and ".join(sorted(map(str, wanted)))
    until(
        lambda: routing.gateways(namespace, prefix),
        lambda seen: seen == wanted,
        seconds=seconds,
        what=f"{member}: route to {prefix} via {hops}" if wanted else f"{member}: no route to {prefix}",
    )


def reply(namespace: str, address: str, *, source: str = "", seconds: float = REPLY_SECONDS) -> Reply:
    """Asks the echo server at `address` until it answers; returns what it saw."""
    return until(
        lambda: measure.ask(namespace, address, source=source, timeout=0.5),
        lambda seen: not seen.error,
        seconds=seconds,
        what=f"answer from {address}",
    )


def only_plain_devices(namespace: str) -> dict[str, str]:
    """The devices that are up, which must all be loopback, veth or bridge: nothing that could encapsulate."""
    found = netns.devices(namespace)
    other = {name: kind for name, kind in found.items() if kind not in PLAIN_DEVICES}
    if other:
        raise LabError(f"{namespace} has devices that are neither loopback, veth nor bridge: {other}")
    return found


def no_address_translation(namespace: str) -> None:
    """Refuses a chain of type nat in a namespace's nftables."""
    document: dict[str, Any] = json.loads(run(netns.inside(namespace, ["nft", "-j", "list", "ruleset"])))
    chains = [item["chain"] for item in document["nftables"] if "chain" in item]
    nat = [f"{chain['table']}/{chain['name']}" for chain in chains if chain.get("type") == "nat"]
    if nat:
        raise LabError(f"{namespace} translates addresses, in the nftables chains {', '.join(nat)}")


def last_words(lab: Lab, routers: Iterable[str], lines: int = 6) -> list[str]:
    """The end of the logs of these routers' programs, and which do not run."""
    found = []
    for router in routers:
        for program in lab.programs(router):
            running = "runs" if program.pid() is not None else "DOES NOT RUN"
            found.append(f"{router} {program.name} {running}; its log ends:")
            found += [f"    {line}" for line in program.last_words(lines)]
    return found
