"""[announce] and [[announcement]] of a configuration as typed values."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from speaker.bgp import Attributes
from speaker.config.lists import communities
from speaker.settings import Announce, Announcement

if TYPE_CHECKING:
    from speaker.bgp import Address
    from speaker.config.checks import Checks

RESERVED = ("subnets", "prefixes", "hosts")


def announce(item: dict[str, Any], items: list[dict[str, Any]], checks: Checks) -> Announce:
    """All that is announced."""
    hops = _next_hops("announce", item, checks)
    attributes, prepend = _attributes("announce", item, checks), item["prepend"]
    subnets = checks.subnets("announce.subnets", item["subnets"])
    plain = checks.prefixes("announce.prefixes", item["prefixes"])
    others = tuple(announcement(f"announcement[{i}]", one, hops, checks) for i, one in enumerate(items))
    checks.once("announcement[{}].name", [one.name for one in others])
    if plain:
        others = (Announcement("prefixes", plain, attributes, hops, prepend), *others)
    return Announce(
        subnets=Announcement("subnets", subnets, attributes, hops, prepend),
        hosts=_hosts(item["hosts"], Announcement("hosts", (), attributes, hops, prepend), checks),
        others=others,
        transit=item["transit"],
    )


def _hosts(item: dict[str, Any], general: Announcement, checks: Checks) -> Announcement:
    """What is said of single pod addresses, in place of what is said in general."""
    own, attributes = _attributes("announce.hosts", item, checks), general.attributes
    if "communities" in item:
        attributes = replace(attributes, communities=own.communities, large_communities=own.large_communities)
    if own.local_pref is not None:
        attributes = replace(attributes, local_pref=own.local_pref)
    if own.med is not None:
        attributes = replace(attributes, med=own.med)
    return replace(general, attributes=attributes, prepend=item.get("prepend", general.prepend))


def announcement(key: str, item: dict[str, Any], hops: tuple[Address, ...], checks: Checks) -> Announcement:
    """A table with prefixes, and all that is said of them; `hops` count where it names no next hop."""
    if item["name"] in RESERVED:
        checks.add(f"{key}.name", item["name"], "is what [announce] stands for; write another name")
    own = _next_hops(key, item, checks)
    versions = {hop.version for hop in own}
    return Announcement(
        name=checks.name(f"{key}.name", item["name"]),
        prefixes=checks.prefixes(f"{key}.prefixes", item["prefixes"]),
        attributes=_attributes(key, item, checks),
        next_hops=(*own, *(hop for hop in hops if hop.version not in versions)),
        prepend=item["prepend"],
        peers=frozenset(peer_key(name) for name in item["peers"]) or None,
    )


def _next_hops(key: str, item: dict[str, Any], checks: Checks) -> tuple[Address, ...]:
    return tuple(
        checks.next_hop(f"{key}.next-hop-ipv{version}", item[f"next-hop-ipv{version}"], version)
        for version in (4, 6)
        if item[f"next-hop-ipv{version}"]
    )


def _attributes(key: str, item: dict[str, Any], checks: Checks) -> Attributes:
    small, large = communities(checks, f"{key}.communities", item.get("communities", []))
    return Attributes(small, large, item.get("local-preference"), item.get("med"))


def peer_key(name: str) -> str:
    """The key of the peer that is meant: an address may be written in several ways."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
