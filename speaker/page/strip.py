"""A peer's session over time, drawn as a bar. Pure.

State is told by height, too: a session that was there fills the bar, one that was not is a low bar, what nobody knows
is a line.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from speaker.commands.output import count, duration
from speaker.page.html import Html, el

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from speaker.history import Turn

    # From when to when, and whether the session was there; None: nobody knows.
    Span = tuple[float, float, bool | None]

# Seconds that a bar may stand for: the shortest that has room for what is known.
WINDOWS = (600, 3600, 6 * 3600, 24 * 3600)
WIDTH, HEIGHT = 240, 16
# What is too short to be seen is drawn so wide.
NARROWEST = 1.5
_SHAPES = {True: ("up", 0, HEIGHT), False: ("down", HEIGHT - 6, 6), None: ("unknown", HEIGHT - 2, 2)}


def window(now: float, known: Iterable[float]) -> int:
    """How many seconds to show, where these are the moments from which on something is known."""
    age = now - min(known, default=now)
    return next((one for one in WINDOWS if age <= one), WINDOWS[-1])


def since(turns: Sequence[Turn], now: float, uptime: float | None) -> list[tuple[float, bool | None]]:
    """Turns as moments and states; `uptime` of the session that is there: it may be older than the speaker."""
    found = [(turn.at, turn.up) for turn in turns]
    if uptime is None:
        return found
    if not found or found[-1][1] is not True:
        return [*found, (now, True)] if found else [(now - uptime, True)]
    began = now - uptime
    if len(found) == 1 or found[-2][1] is None:
        found[-1] = (min(began, found[-1][0]), True)
        found = [one for one in found[:-1] if one[0] < found[-1][0]] + found[-1:]
    return found


def spans(states: Sequence[tuple[float, bool | None]], now: float, seconds: float) -> list[Span]:
    """The window, cut where the state changes."""
    begin = now - seconds
    points = [(begin, None), *states]
    ends = [at for at, _ in points[1:]] + [now]
    cut = [
        (max(begin, min(start, now)), min(max(end, begin), now), up)
        for (start, up), end in zip(points, ends, strict=True)
    ]
    return [one for one in cut if one[1] > one[0]]


def draw(parts: Sequence[Span], seconds: float) -> Html:
    """The bar, with the same in words."""
    if not parts:
        return Html("")
    begin = parts[-1][1] - seconds
    shapes: dict[str, list[str]] = {}
    for start, end, up in parts:
        kind, top, height = _SHAPES[up]
        wide = max((end - start) / seconds * WIDTH, NARROWEST)
        left = min((start - begin) / seconds * WIDTH, WIDTH - wide)
        shapes.setdefault(kind, []).append(f"M{left:.1f} {top}h{wide:.1f}v{height}h-{wide:.1f}z")
    said = words(parts, seconds)
    return el(
        "svg",
        el("title", said),
        *(
            el("path", class_=kind, d="".join(shapes[kind]))
            for kind in ("up", "unknown", "down")
            if kind in shapes
        ),
        class_="strip",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label=said,
    )


def words(parts: Sequence[Span], seconds: float) -> str:
    """What the bar shows, for who does not see it."""
    known = sum(end - start for start, end, up in parts if up is not None)
    up_for = sum(end - start for start, end, up in parts if up)
    ends = sum(before[2] is True and after[2] is False for before, after in pairwise(parts))
    share = f"up {100 * up_for / known:.1f} % of {duration(known)}" if known else "nothing known"
    return f"last {duration(seconds)}: {share}, ended {count(ends, 'time')}"
