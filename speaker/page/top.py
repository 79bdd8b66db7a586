"""The top of the page: what somebody should look at, and how much there is of everything. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from speaker.commands.output import count
from speaker.commands.vips import is_well as vip_is_well
from speaker.page.html import Html, el
from speaker.page.parts import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from speaker.page.facts import Facts


def troubles(facts: Facts) -> list[Html]:
    """What somebody should look at, a line for each."""
    return [el("span", cut(line)) for line in _troubles(facts)]


def _troubles(facts: Facts) -> Iterator[str]:
    document = facts.document
    if document["configuration"]["refused"]:
        yield f"configuration refused: {document['configuration']['refused']}"
    gobgpd = document["gobgpd"]
    if not (gobgpd["connected"] and gobgpd["in_step"]):
        yield f"gobgpd: {gobgpd['trouble'] or 'not yet as configured'}"
    for row in facts.peers:
        if row["state"] != "established":
            yield f"peer {_called(row)} {row['state']}{_because(row['trouble'])}"
    for row in document["vips"]:
        yield from _vip_troubles(row)
    yield from _route_troubles(document["routes"])


def _vip_troubles(row: Mapping[str, Any]) -> Iterator[str]:
    down = sum(one["health"] == "down" or bool(one["unreachable"]) for one in row["endpoints"])
    if not vip_is_well(row):
        yield f"virtual IP {row['vip']} {row['state']}{_because(row['reason'])}"
    elif down:
        yield f"virtual IP {row['vip']}: {down} of its {count(row['total'], 'endpoint')} down"


def _route_troubles(routes: Mapping[str, Any]) -> Iterator[str]:
    for key, words in (
        ("refused", "routes refused by the kernel"),
        ("unreachable", "next hops unreachable"),
        ("beyond_maximum", "learned prefixes beyond accept.maximum"),
    ):
        if routes[key]:
            yield f"{routes[key]:,} {words}"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _called(row: Mapping[str, Any]) -> str:
    return f"{row['peer']} ({row['description']})" if row["description"] else str(row["peer"])


def tiles(facts: Facts) -> Html:
    """How much there is of everything."""
    document = facts.document
    gobgpd, standings, routes = document["gobgpd"], facts.standings, document["routes"]
    well = gobgpd["connected"] and gobgpd["in_step"]
    vips = sum(standings.values())
    others = ", ".join(f"{number:,} {state}" for state, number in standings.items() if number)
    boxes = (
        ("gobgpd", "in step" if well else "not in step", f"lost {count(gobgpd['lost'], 'time')}", well),
        (
            "peers",
            f"{facts.peers_up:,} / {facts.peers_total:,}",
            "established",
            facts.peers_up == facts.peers_total,
        ),
        ("virtual IPs", f"{vips:,}", others or "none here", standings["announced"] == vips),
        ("announced", f"{document['announced']:,}", "prefixes", True),
        ("learned", f"{document['learned']:,}", f"{routes['installed']:,} in the kernel", routes["in_step"]),
    )
    return el(
        "ul",
        *(
            el(
                "li",
                el("span", title),
                el("b", value if good else f"{value} !", class_="num" if good else "num bad"),
                el("span", words),
            )
            for title, value, words, good in boxes
        ),
        class_="tiles",
    )
