"""The sections of the page, each from the facts. Pure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from speaker.commands.output import NOTHING, count, duration
from speaker.page import strip
from speaker.page.html import Html, el, join, more, table
from speaker.page.parts import LISTED, cut, number, small, tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from speaker.history import Change
    from speaker.page.facts import Facts

    Row = Mapping[str, Any]

# Endpoints of one VIP that are shown.
ENDPOINTS = 8
# A preference of gobgpd's own choice: no other path for the prefix takes the place of this node's.
HIGHEST = 0xFFFFFFFF


def all_of(facts: Facts) -> list[Html]:
    """Every section that has something to say."""
    found = (peers(facts), vips(facts), drains(facts), announced(facts), left_out(facts), changes(facts))
    return [one for one in found if one]


def _section(title: str, *parts: object) -> Html:
    return el("section", el("h2", title), *parts)


def peers(facts: Facts) -> Html:
    """Who this node speaks BGP with, and how that went."""
    if not facts.peers:
        return _section("Peers", el("p", "None is configured.", class_="dim"))
    heads = ("Peer", "AS", "State", f"Last {_window(facts.window)}", "Received", "Told", "Ended")
    rows = [
        (
            join([row["peer"], el("small", row["description"]) if row["description"] else ""]),
            row["asn"] or NOTHING,
            _state(row),
            strip.draw(row["spans"], facts.window),
            _received(row),
            number(row["advertised"]),
            number(row["flaps"]),
        )
        for row in facts.peers
    ]
    return _section(
        "Peers",
        table("Peers of this node", heads, rows),
        more(len(facts.peers), facts.peers_total, "peers"),
    )


def _window(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds < 3600 else f"{seconds // 3600} h"


def _state(row: Row) -> Html:
    up = row["state"] == "established"
    words = f"for {duration(row['uptime'])}" if up else cut(row["trouble"])
    return join([tag(row["state"]), el("small", words) if words else ""])


def _received(row: Row) -> Html:
    received, accepted = row["received"], row["accepted"]
    left = (received or 0) - (accepted or 0)
    return join([number(received), el("small", f"{left:,} not taken") if left > 0 else ""])


def vips(facts: Facts) -> Html:
    """Virtual IPs, their endpoints and how healthy those are."""
    rows = facts.document["vips"]
    if not rows:
        return Html("")
    heads = ("Address", "Pool", "State", "Serving", "Endpoints")
    cells = [
        (
            row["vip"],
            row["pool"] or NOTHING,
            join([tag(row["state"]), *small(row["reason"]), *_unsaid(row)]),
            f"{row['serving']} of {row['total']}",
            _endpoints(row),
        )
        for row in rows
    ]
    total = sum(facts.standings.values())
    return _section(
        "Virtual IPs",
        table("Virtual IPs of this node", heads, cells),
        more(len(rows), total, "virtual IPs: anypod vips"),
    )


def _unsaid(row: Row) -> list[Html]:
    """What gobgpd has not followed yet."""
    if row["announced"] is (row["state"] != "withdrawn"):
        return []
    return small("not yet told to gobgpd" if not row["announced"] else "gobgpd still has it")


def _endpoints(row: Row) -> Html:
    ends = sorted(
        row["endpoints"], key=lambda one: one["health"] in {"up", "adopted"} and not one["unreachable"]
    )
    shown = ends[:ENDPOINTS]
    return join(
        [
            el("ul", *(el("li", *_endpoint(one)) for one in shown), class_="ends"),
            more(len(shown), row["total"], "endpoints"),
        ]
    )


def _endpoint(one: Row) -> Iterator[object]:
    health = one["health"]
    kind, sign = ("bad", "✗") if health == "down" else ("warn", "?") if health == "unknown" else ("ok", "✓")
    if one["unreachable"]:
        kind, sign = "bad", "✗"
    if not one["check"]:
        health = "not checked"
    yield el("span", sign, class_=kind, aria_hidden="true")
    yield " "
    yield cut(one["pod"])
    yield " "
    yield el("code", one["address"])
    yield el(
        "span", f" {health}" + (f", drain: {one['drain']}" if one["drain"] != "serving" else ""), class_=kind
    )
    yield from small(one["unreachable"] or one["error"] or "")


def drains(facts: Facts) -> Html:
    """What is being emptied."""
    rows = facts.document["drains"]
    if not rows:
        return Html("")
    cells = [
        (
            "this node" if one["scope"] == "node" else f"{one['scope']} {cut(one['name'])}",
            "done" if one["done"] else one["phase"],
            duration(one["seconds_left"]) if one["seconds_left"] else NOTHING,
        )
        for one in rows[:LISTED]
    ]
    return _section(
        "Drains",
        table("Drains", ("What", "Phase", "Time left"), cells),
        more(len(cells), len(rows), "drains"),
    )


def announced(facts: Facts) -> Html:
    """What is told to whom."""
    if not facts.paths:
        return _section("Announced", el("p", "Nothing.", class_="dim"))
    cells = [
        (
            el("code", one["prefix"]),
            one["announcement"],
            _told(one),
            el("span", _attributes(one) or NOTHING, class_="dim"),
        )
        for one in facts.paths
    ]
    return _section(
        "Announced",
        table("What is announced to whom", ("Prefix", "By", "Told to", "With"), cells),
        more(len(cells), facts.document["announced"], "prefixes: anypod routes announced"),
    )


def _told(one: Row) -> Html:
    if not one["in_gobgpd"]:
        return el("span", "! not in gobgpd yet", class_="warn")
    if not one["told"]:
        why = "no session of those that may hear it" if one["allowed"] else "no peer may hear it"
        return join([el("span", "✗ nobody", class_="bad"), el("small", why)])
    rest = one["told"] - len(one["names"])
    names = ", ".join(map(str, one["names"])) + (f" and {rest} more" if rest > 0 else "")
    speaking = f"IPv{one['version']} {'peer' if one['of'] == 1 else 'peers'}"
    whole = f"all {speaking}" if one["told"] == one["of"] > 1 else f"{one['told']} of {one['of']} {speaking}"
    return join([f"{whole} ", el("span", cut(names), class_="dim")])


def _attributes(one: Row) -> str:
    said = [
        ("next hop", one["next_hop"]),
        ("communities", " ".join([*one["communities"], *one["large_communities"]])),
        ("local preference", one["local_pref"] if one["local_pref"] != HIGHEST else None),
        ("MED", one["med"]),
        ("bandwidth", one["link_bandwidth"]),
    ]
    return ", ".join(f"{name} {value}" for name, value in said if value not in {None, ""})


def left_out(facts: Facts) -> Html:
    """Learned routes that are not in the kernel, and why."""
    routes = facts.document["routes"]
    lines = [(prefix, why) for prefix, why in routes["refusals"].items()]
    lines += [
        (hop, f"next hop unreachable, for {count(number, 'prefix', 'prefixes')}")
        for hop, number in routes["next_hops"].items()
    ]
    if routes["stale"]:
        lines.append(("stale", f"{count(routes['stale'], 'route')} kept from before a loss or a restart"))
    if routes["beyond_maximum"]:
        lines.append(("accept.maximum", f"{count(routes['beyond_maximum'], 'prefix', 'prefixes')} left out"))
    if not lines:
        return Html("")
    cells = [(el("code", what), cut(why)) for what, why in lines[:LISTED]]
    total = routes["refused"] + routes["unreachable"] + bool(routes["stale"]) + bool(routes["beyond_maximum"])
    return _section(
        "Learned, and not as it should be",
        table("Learned routes with trouble", ("What", "Why"), cells),
        more(len(cells), total, "of these"),
    )


def changes(facts: Facts) -> Html:
    """What happened last, and why."""
    if not facts.changes:
        return Html("")
    cells = [(_when(one, facts.now), _event(one), _fields(one)) for one in facts.changes]
    return _section(
        "Last changes", table("Last changes, the newest first", ("When", "What", "Details"), cells)
    )


def _when(one: Change, now: float) -> Html:
    today = time.gmtime(one.at)
    return el(
        "span",
        el("time", time.strftime("%H:%M:%S", today), datetime=time.strftime("%Y-%m-%dT%H:%M:%SZ", today)),
        el("span", f" {duration(max(0.0, now - one.at))} ago", class_="dim"),
        class_="nowrap",
    )


def _event(one: Change) -> Html:
    sign, kind = {"error": ("✗ ", "bad"), "warning": ("! ", "warn")}.get(one.level, ("", None))
    return el("span", f"{sign}{one.event}", class_=kind)


def _fields(one: Change) -> Html:
    plain: Sequence[tuple[str, str]] = [pair for pair in one.fields if pair[0] != "reason"]
    reason = next((value for key, value in one.fields if key == "reason"), "")
    said = join((join([el("span", f"{key} ", class_="dim"), cut(value)]) for key, value in plain), " · ")
    return join([said, *small(reason)])
