"""Samples as percentiles and as a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.results import percentile

Row = Mapping[str, object]
SHOWN = {"p50": 50, "p90": 90, "p99": 99}


def times(what: str, seconds: Sequence[float]) -> Row:
    """A row of a table of times, in milliseconds."""
    if not seconds:
        return {"what": what, "runs": 0}
    shown = {name: round(1000 * percentile(seconds, part), 1) for name, part in SHOWN.items()}
    return {"what": what, "runs": len(seconds), **shown, "max": round(1000 * max(seconds), 1)}


def table(rows: Sequence[Row]) -> list[str]:
    """Rows with the same keys as lines of a Markdown table."""
    heads = list(dict.fromkeys(key for row in rows for key in row))
    lines = [heads, ["---"] * len(heads), *([str(row.get(key, "")) for key in heads] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]
