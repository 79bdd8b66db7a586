"""The plots of docs/performance.md and README.md, each from the rows of results.json. Pure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from bench.results import TIMES, percentile
from bench.svg import Drawing, Scale

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.results import Row

    Rows = Mapping[str, Row]

TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
HELD = "-held-"
# Longer words are written smaller, to fit into their column.
LABEL = 52
SERIES = ("ours", "peer")


def cost(row: Row, value: float) -> float:
    """A ratio so that less is better: of rates, how long one takes."""
    return 1 / value if row.at_least else value


def sign(row: Row) -> str:
    """Of the row's target."""
    return "≥" if row.at_least else "≤"


def ratios(rows: Rows) -> str:
    """A line for each row with a peer and a target: where it is, and where it was to be."""
    shown = [row for row in rows.values() if row.ratio and row.bound]
    places = [cost(row, value) for row in shown for value in (row.ratio or 1, row.bound or 1)]
    low = max([tick for tick in TICKS if tick <= min([*places, 0.5])] or TICKS[:1])
    high = min([tick for tick in TICKS if tick >= max([*places, 2])] or TICKS[-1:])
    drawing = Drawing(900, 118 + 26 * len(shown), "anypod beside its peers")
    x, bottom = Scale(low, high, 410, 720, logarithmic=True), 74 + 26 * len(shown)
    drawing.text(16, 26, "What anypod takes, in what its peer takes: further left is better", "title")
    for tick in TICKS:
        if low <= tick <= high:
            drawing.line(x(tick), 52, x(tick), bottom, "axis" if tick == 1 else "grid")
            drawing.text(x(tick), bottom + 16, f"{tick:g} {TIMES}", "small", "middle")
    for number, row in enumerate(shown):
        _ratio(drawing, x, 74 + 26 * number, row)
    _verdict_legend(drawing, bottom + 36)
    return drawing.svg()


def _ratio(drawing: Drawing, x: Scale, y: float, row: Row) -> None:
    ratio, bound = row.ratio or 1, row.bound or 1
    look = "good" if row.holds else "bad"
    drawing.text(396, y + 4, row.what, "label" if len(row.what) > LABEL else "", "end")
    drawing.line(x(1), y, x(cost(row, ratio)), y, look, 3)
    drawing.dot(x(cost(row, ratio)), y, look, 6)
    drawing.line(x(cost(row, bound)), y - 9, x(cost(row, bound)), y + 9, "target", 2)
    drawing.text(736, y + 4, f"{ratio:.2f} {TIMES}", look)
    drawing.text(790, y + 4, f"target {sign(row)} {bound:g}", "small")


def _verdict_legend(drawing: Drawing, y: float) -> None:
    drawing.dot(20, y - 4, "good", 6)
    drawing.text(32, y, "target reached", "small")
    drawing.dot(136, y - 4, "bad", 6)
    drawing.text(148, y, "missed", "small")
    drawing.line(214, y - 12, 214, y + 4, "target")
    drawing.text(
        222, y, "the target. Of rates (≥), the time for one is drawn. The scale is logarithmic.", "small"
    )


def held(rows: Rows) -> str:
    """Time of ADD and DEL against the number of allocations held."""
    drawing = Drawing(900, 330, "Time against the number of allocations held")
    drawing.text(16, 26, "Milliseconds of one call against the number of allocations held", "title")
    for left, verb in ((70, "ADD"), (500, "DEL")):
        points = _points(rows, f"{verb.lower()}{HELD}")
        if points:
            _panel(drawing, left, verb, points)
    _series_legend(drawing, 318, next(iter(_points(rows, f"add{HELD}").values()), None))
    return drawing.svg()


def _points(rows: Rows, prefix: str) -> dict[int, Row]:
    sizes = {key.removeprefix(prefix): row for key, row in rows.items() if key.startswith(prefix)}
    return {int(size): row for size, row in sizes.items() if size.isdigit()}


def _panel(drawing: Drawing, left: float, verb: str, points: dict[int, Row]) -> None:
    values = [value for row in points.values() for value in (row.ours, row.peer or row.ours)]
    y = Scale(min(5, *values), max(500, *values), 270, 60, logarithmic=True)
    # None held has no logarithm: it is drawn where one would be.
    x = Scale(1, max(*points, 10), left + 20, left + 340, logarithmic=True)
    for tick in (5, 10, 20, 50, 100, 200, 500):
        drawing.line(left, y(tick), left + 360, y(tick), "grid")
        drawing.text(left - 8, y(tick) + 4, f"{tick}", "small", "end")
    for size in points:
        drawing.text(x(max(size, 1)), 290, f"{size:,}", "small", "middle")
    drawing.text(left, 50, verb)
    drawing.curve([(x(max(size, 1)), y(row.peer or 0)) for size, row in points.items()], "peer")
    drawing.curve([(x(max(size, 1)), y(row.ours)) for size, row in points.items()], "ours")


def _series_legend(drawing: Drawing, y: float, row: Row | None) -> None:
    for left, look, words in ((20, "ours", "anypod"), (110, "peer", row.peer_name if row else "peer")):
        drawing.dot(left, y - 4, look, 5)
        drawing.text(left + 12, y, words, "small")


def distribution(rows: Rows) -> str:
    """Each call of the one-pod benchmark as a dot, and the medians."""
    shown = [rows[key] for key in ("add", "del", "add-masquerade", "del-masquerade") if key in rows]
    samples = [percentile(values, 98) for row in shown for values in row.samples.values()]
    drawing = Drawing(900, 108 + 66 * len(shown), "Distribution of ADD and DEL")
    drawing.text(16, 26, "Each call of ADD and DEL, in milliseconds, and the medians", "title")
    x, bottom = Scale(0, 10 * (1 + max([*samples, 10]) // 10), 220, 830), 56 + 66 * len(shown)
    step = 10 if x.high <= 120 else 20
    for tick in range(0, int(x.high) + 1, step):
        drawing.line(x(tick), 44, x(tick), bottom, "grid")
        drawing.text(x(tick), bottom + 16, f"{tick}", "small", "middle")
    for number, row in enumerate(shown):
        top = 68 + 66 * number
        drawing.text(206, top + 17, row.what, anchor="end")
        for index, (look, values) in enumerate(zip(SERIES, row.samples.values(), strict=False)):
            _strip(drawing, x, top + 26 * index, values, look)
    _series_legend(drawing, bottom + 40, shown[0] if shown else None)
    drawing.text(260, bottom + 40, "The slowest of each hundred are drawn at the edge.", "small")
    return drawing.svg()


def _strip(drawing: Drawing, x: Scale, y: float, values: Sequence[float], look: str) -> None:
    # Spread over a few lines, the same in each drawing.
    dots = [(x(value), y - 6 + number * 7 % 13) for number, value in enumerate(values)]
    drawing.cloud(dots, look, 2.5, 0.45)
    middle = median(values)
    drawing.line(x(middle), y - 10, x(middle), y + 10, look, 3)
    drawing.text(840, y + 4, f"{middle:.1f}", look)


# Each file of docs/performance/.
PLOTS: dict[str, Callable[[Rows], str]] = {
    "ratios.svg": ratios,
    "held.svg": held,
    "distribution.svg": distribution,
}
