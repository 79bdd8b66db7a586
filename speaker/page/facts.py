"""What the page shows, taken from the speaker at one moment, and no more of it than is shown."""

from __future__ import annotations

import heapq
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speaker.answers import local, order
from speaker.anycast import show
from speaker.anycast.judge import Standing
from speaker.commands.peers import is_well, rows_of
from speaker.exports import Audience
from speaker.page import strip
from speaker.peers import name_of
from speaker.policy import policies
from speaker.status import document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from speaker.anycast.judge import Verdict
    from speaker.bgp import LocalPath
    from speaker.history import Change, History
    from speaker.reconcile import Speaker
    from speaker.reload import Reload

# How many of each are shown: what is not well first.
PEERS, VIPS, PATHS, CHANGES = 200, 100, 50, 25
# Peers whose names stand behind a path.
NAMED = 8


@dataclass(frozen=True, slots=True)
class Facts:
    """`document` is the status socket's, with the VIPs that are shown; rows are dictionaries of the same fields."""

    now: float
    node: str
    began: float
    document: Mapping[str, Any]
    peers: Sequence[Mapping[str, Any]]
    peers_total: int
    peers_up: int
    window: int
    standings: Mapping[str, int]
    paths: Sequence[Mapping[str, Any]]
    changes: Sequence[Change]


def facts(
    speaker: Speaker, reload: Reload, passwords: Mapping[str, str], history: History, now: float | None = None
) -> Facts:
    """All of it."""
    now = time.time() if now is None else now
    found = document(speaker, reload, passwords)
    verdicts = speaker.anycast.verdicts
    chosen = heapq.nsmallest(VIPS, verdicts.values(), key=_need)
    found["vips"] = [
        {**row, "total": len(verdict.endpoints)}
        for row, verdict in zip(
            show.vips(speaker.anycast, speaker.daemon.table, [one.vip for one in chosen], show.LISTED),
            chosen,
            strict=True,
        )
    ]
    rows = rows_of(found)
    up = sum(is_well(row) for row in rows)
    shown = sorted(rows, key=lambda row: (is_well(row), row["peer"]))[:PEERS]
    drawn, window = _with_strips(shown, history, now)
    standings = dict.fromkeys((one.value for one in Standing), 0)
    for verdict in verdicts.values():
        standings[verdict.standing.value] += 1
    return Facts(
        now=now,
        node=socket.gethostname(),
        began=history.began,
        document=found,
        peers=drawn,
        peers_total=len(rows),
        peers_up=up,
        window=window,
        standings=standings,
        paths=_paths(speaker),
        changes=history.changes(CHANGES),
    )


def _need(verdict: Verdict) -> tuple[bool, bool, int, int]:
    """Those that want attention first, then in the order of their addresses."""
    return (
        verdict.standing is Standing.ANNOUNCED,
        len(verdict.serving) == len(verdict.endpoints),
        verdict.vip.version,
        int(verdict.vip),
    )


def _with_strips(
    rows: Sequence[Mapping[str, Any]], history: History, now: float
) -> tuple[list[Mapping[str, Any]], int]:
    states = []
    for row in rows:
        name = (row["address"] or row["peer"]) if row.get("dynamic") else row["peer"]
        uptime = float(row["uptime"]) if is_well(row) else None
        states.append(strip.since(history.turns(name), now, uptime))
    window = strip.window(now, [history.began, *(one[0][0] for one in states if one)])
    return [
        {**row, "spans": strip.spans(one, now, window)} for row, one in zip(rows, states, strict=True)
    ], window


def _paths(speaker: Speaker) -> list[dict[str, Any]]:
    wanted = heapq.nsmallest(PATHS, speaker.wanted(), key=_shortest)
    audience = Audience(policies(speaker.config), speaker.daemon.peers)
    descriptions = {peer.key: peer.description for peer in speaker.config.peers}
    return [
        {**local(speaker, path), **_told(audience, path, lambda key: descriptions.get(key, ""))}
        for path in wanted
    ]


def _told(audience: Audience, path: LocalPath, word: Callable[[str], str]) -> dict[str, Any]:
    allowed = audience.of(path)
    told = [status for status in allowed if status.established]
    names = [word(status.peer.key) or name_of(status) for status in told[:NAMED]]
    version = path.prefix.version
    return {
        "told": len(told),
        "allowed": len(allowed),
        "version": version,
        "of": len(audience.speaking(version)),
        "names": names,
    }


def _shortest(path: LocalPath) -> tuple[int, int, int]:
    """Subnets before single addresses."""
    version, address, length = order(path.prefix)
    return length == path.prefix.max_prefixlen, version, address
