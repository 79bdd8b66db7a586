"""Samples as percentiles and as a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Row = Mapping[str, object]
SHOWN = (("p50", 0.50), ("p90", 0.90), ("p99", 0.99))


def percentile(samples: Sequence[float], part: float) -> float:
    """The smallest sample that so large a part of them does not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, -(-int(part * 1000) * len(ordered) // 1000) - 1)]


def times(what: str, seconds: Sequence[float]) -> Row:
    """A row of a table of times, in milliseconds."""
    if not seconds:
        return {"what": what, "runs": 0}
    shown = {name: round(1000 * percentile(seconds, part), 1) for name, part in SHOWN}
    return {"what": what, "runs": len(seconds), **shown, "max": round(1000 * max(seconds), 1)}


def table(rows: Sequence[Row]) -> list[str]:
    """Rows with the same keys as lines of a Markdown table."""
    heads = list(dict.fromkeys(key for row in rows for key in row))
    lines = [heads, ["---"] * len(heads), *([str(row.get(key, "")) for key in heads] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]
