"""The page as one HTML document. Pure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from speaker.commands.output import duration
from speaker.page import sections, top
from speaker.page.html import Html, el, join
from speaker.page.parts import LISTED
from speaker.page.style import CSS, FRESH, SCRIPT, SLOW

if TYPE_CHECKING:
    from speaker.page.facts import Facts


def render(facts: Facts) -> str:
    """The whole document."""
    troubles = top.troubles(facts)
    body = (
        _header(facts),
        el("main", _note(troubles), top.tiles(facts), *sections.all_of(facts)),
        el(
            "footer",
            el(
                "p",
                f"Looks again every {FRESH} s, without scripts every {SLOW} s. Numbers for machines: /metrics.",
            ),
        ),
        el("script", Html(SCRIPT)),
    )
    title = f"{'' if not troubles else f'({len(troubles)}) '}{facts.node} · anypod"
    head = (
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", title),
        el("style", Html(CSS)),
        el("noscript", el("meta", http_equiv="refresh", content=SLOW)),
    )
    return f"<!DOCTYPE html>\n{el('html', el('head', *head), el('body', *body), lang='en')}\n"


def _header(facts: Facts) -> Html:
    document = facts.document
    loaded = document["configuration"]["loaded"]
    who = f"AS {document['asn']} · router id {document['router_id']}"
    return el(
        "header",
        el("h1", facts.node, el("small", who)),
        el(
            "p",
            f"Speaker for {duration(facts.now - facts.began)}, configuration of ",
            moment(loaded, facts.now),
            ", seen ",
            el("time", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(facts.now))),
            class_="dim",
        ),
        el(
            "p",
            "The speaker does not answer. What follows is what it last said.",
            id="stale",
            class_="note bad",
            hidden=True,
        ),
    )


def moment(at: float, now: float) -> Html:
    """How long ago, and when."""
    when = time.gmtime(at)
    return el(
        "time",
        f"{duration(max(0.0, now - at))} ago",
        datetime=time.strftime("%Y-%m-%dT%H:%M:%SZ", when),
        title=time.strftime("%Y-%m-%d %H:%M:%S UTC", when),
    )


def _note(troubles: list[Html]) -> Html:
    if not troubles:
        return el("p", "✓ Everything is as configured.", class_="note", role="status")
    lines = el("ul", *(el("li", one) for one in troubles[:LISTED]))
    rest = len(troubles) - LISTED
    return el(
        "div",
        el("strong", f"✗ {len(troubles)} to look at"),
        lines,
        join([f"… and {rest} more"] if rest > 0 else []),
        class_="note bad",
        role="status",
    )
