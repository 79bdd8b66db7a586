"""What the status socket answers to those who ask for more than the document: whole lists, and all about a prefix.

A question is one line of JSON. Lists are told in parts, so that no answer keeps the loop busy for long.
"""

from __future__ import annotations

import asyncio
import json
from ipaddress import ip_network
from itertools import islice
from typing import TYPE_CHECKING, Any

from speaker.anycast import show
from speaker.exports import Audience
from speaker.kernel.leftout import Fates
from speaker.peers import name_of
from speaker.policy import policies
from speaker.prefixes import inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from speaker.bgp import Destination, LearnedPath, LocalPath, Prefix
    from speaker.reconcile import Speaker

# Seconds within which a question has to come; who asks nothing gets the document then.
HEARING = 0.2
# Things in one answer, and more than any list has.
PART = 2000
MOST = 1 << 40


async def heard(reader: asyncio.StreamReader) -> bytes:
    """The line that a reader sent; empty for none."""
    try:
        async with asyncio.timeout(HEARING):
            line = await reader.readline()
    except (TimeoutError, ValueError, OSError):
        return b""
    return line if line.endswith(b"\n") else b""


def is_list(line: bytes) -> bool:
    """Whether a question is for a list."""
    return b'"list"' in line


def answer(speaker: Speaker, line: bytes) -> dict[str, Any]:
    """The answer to a question; one that is not understood is answered so."""
    try:
        question = json.loads(line)
        if "explain" in question:
            return _about(speaker, ip_network(question["explain"]))
        listing = _LISTS[question["list"]]
        start = int(question.get("from", 0))
        within = ip_network(question["within"]) if question.get("within") else None
        if not 0 <= start <= MOST:
            raise ValueError(start)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        return {"mistake": f"a question that is not known here: {type(error).__name__}"}
    return {"list": question["list"], **listing(speaker, start, within)}


# ---- lists


def _part(
    things: Sequence[Any], prefix_of: Callable[[Any], Prefix], start: int, within: Prefix | None
) -> tuple[list[Any], dict[str, Any]]:
    """The things of one part; how many there are, and where the next part begins, None after the last."""
    some = list(islice(things, start, start + PART))
    after = start + PART if start + PART < len(things) else None
    if within is not None:
        some = [one for one in some if inside(prefix_of(one), (within,))]
    return some, {"total": len(things), "next": after}


def _announced(speaker: Speaker, start: int, within: Prefix | None) -> dict[str, Any]:
    wanted = sorted(speaker.wanted(), key=lambda path: order(path.prefix))
    some, rest = _part(wanted, lambda path: path.prefix, start, within)
    return {"items": [local(speaker, path) for path in some], **rest}


def _learned(speaker: Speaker, start: int, within: Prefix | None) -> dict[str, Any]:
    table = [entry for entry in speaker.daemon.table.values() if entry.learned]
    some, rest = _part(table, lambda entry: entry.prefix, start, within)
    fates = _fates(speaker)
    return {"items": [_destination(fates, entry) for entry in some], **rest}


def _vips(speaker: Speaker, start: int, within: Prefix | None) -> dict[str, Any]:
    vips = list(speaker.anycast.verdicts)
    some, rest = _part(vips, ip_network, start, within)
    return {"items": show.vips(speaker.anycast, speaker.daemon.table, some), **rest}


_LISTS = {"announced": _announced, "learned": _learned, "virtual-ips": _vips}


def order(prefix: Prefix) -> tuple[int, int, int]:
    """Sorts prefixes as people do."""
    return prefix.version, int(prefix.network_address), prefix.prefixlen


# ---- one thing


def local(speaker: Speaker, path: LocalPath) -> dict[str, Any]:
    """A path that should be announced."""
    entry, given = speaker.daemon.table.get(path.prefix), path.attributes
    return {
        "prefix": str(path.prefix),
        "next_hop": "" if path.next_hop.is_unspecified else str(path.next_hop),
        "announcement": _name(speaker, path.prefix),
        "in_gobgpd": entry is not None and entry.ours == path,
        "communities": [f"{number >> 16}:{number & 0xFFFF}" for number in sorted(given.communities)],
        "large_communities": [":".join(map(str, one)) for one in sorted(given.large_communities)],
        "local_pref": given.local_pref,
        "med": given.med,
        "link_bandwidth": given.link_bandwidth,
    }


def _name(speaker: Speaker, prefix: Prefix) -> str:
    """What the configuration calls the announcement that a prefix is of."""
    announce = speaker.config.announce
    for one in (announce.subnets, *announce.others):
        if prefix in one.prefixes:
            return one.name
    verdict = speaker.anycast.verdicts.get(prefix.network_address)
    if verdict is not None and prefix.prefixlen == prefix.max_prefixlen:
        return verdict.pool.announcement.name if verdict.pool else "virtual-ip"
    return announce.hosts.name


def _fates(speaker: Speaker) -> Fates:
    announced = {path.prefix for path in speaker.wanted()}
    return Fates(speaker.config, speaker.routes, announced, speaker.anycast.fallbacks())


def _destination(fates: Fates, entry: Destination) -> dict[str, Any]:
    verdict = fates.of(entry)
    return {
        "prefix": str(entry.prefix),
        "state": verdict.state,
        "reason": verdict.reason,
        "fix": verdict.fix,
        "paths": [_path(path) for path in entry.learned],
    }


def _path(path: LearnedPath) -> dict[str, Any]:
    return {
        "next_hop": str(path.next_hop),
        "interface": path.interface,
        "peer": path.peer,
        "local_pref": path.local_pref,
        "as_path_length": path.as_path_length,
        "med": path.med,
        "external": path.external,
        "stale": path.stale,
    }


def _about(speaker: Speaker, prefix: Prefix) -> dict[str, Any]:
    """All that the speaker knows of a prefix, and of those around it, the longest first."""
    around = [prefix.supernet(new_prefix=length) for length in range(prefix.prefixlen, -1, -1)]
    wanted = {path.prefix: path for path in speaker.wanted()}
    table, fates = speaker.daemon.table, _fates(speaker)
    return {
        "explain": str(prefix),
        "announced": [
            {**local(speaker, wanted[one]), "told": _told(speaker, wanted[one])}
            for one in around
            if one in wanted
        ],
        "learned": [_destination(fates, table[one]) for one in around if one in table and table[one].learned],
        "foreign": [str(one) for one in around if one in table and table[one].foreign],
        "pool": next(_pools(speaker, prefix), None),
        "virtual_ips": show.vips(
            speaker.anycast,
            table,
            [prefix.network_address] if prefix.network_address in speaker.anycast.verdicts else [],
        ),
    }


def _pools(speaker: Speaker, prefix: Prefix) -> Iterator[dict[str, Any]]:
    for pool in speaker.config.anycast.pools:
        if inside(prefix, pool.announcement.prefixes):
            yield {
                "name": pool.announcement.name,
                "prefixes": [str(one) for one in pool.announcement.prefixes],
                "min_endpoints": pool.min_endpoints,
            }


def _told(speaker: Speaker, path: LocalPath) -> list[dict[str, Any]]:
    """For each peer, whether the policies let it hear of a path, and whether its session is there to tell it by."""
    peers = speaker.daemon.peers
    allowed = {id(status) for status in Audience(policies(speaker.config), peers).of(path)}
    return [
        {"peer": name_of(status), "established": status.established, "allowed": id(status) in allowed}
        for status in peers
    ]
