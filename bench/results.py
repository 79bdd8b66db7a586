"""What a benchmark found: rows of results.json, which `docs/performance.md` and the plots are made from."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMES = "×"
NUMBERS = re.compile(r"\[([-+.e\d\s,]+)\]")


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, beside whom, and what it was to be.

    `bound` limits `value`: the ratio to the peer where there is one, else `ours`. From above, or with `at_least` from
    below. No bound: shown for comparison.
    """

    key: str
    what: str
    unit: str
    ours: float
    peer_name: str = ""
    peer: float | None = None
    bound: float | None = None
    at_least: bool = False
    runs: int = 1
    command: str = ""
    # Each measurement, for plots and for doubts; the unit is the row's.
    samples: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours by the peer's; None without a peer."""
        return None if self.peer is None else self.ours / self.peer

    @property
    def value(self) -> float:
        """What the bound is for."""
        return self.ours if self.ratio is None else self.ratio

    @property
    def holds(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def compared(  # noqa: PLR0913 - a row has as many parts
    key: str,
    what: str,
    ours: Sequence[float],
    peer: Sequence[float],
    *,
    peer_name: str = "bridge + host-local",
    unit: str = "ms",
    bound: float | None = None,
    at_least: bool = False,
    command: str = "",
) -> Row:
    """A row of the medians of interleaved measurements."""
    return Row(
        key,
        what,
        unit,
        median(ours),
        peer_name,
        median(peer),
        bound,
        at_least,
        len(ours),
        command,
        {"anypod": list(ours), peer_name: list(peer)},
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many of them do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, ceil(len(ranked) * percent / 100) - 1)]


def keep(path: str, rows: Sequence[Row]) -> None:
    """Puts rows into the results file, each in place of an older one of its key. No file for an empty path."""
    if not path:
        return
    file = Path(path)
    held = json.loads(file.read_text()) if file.exists() else {}
    for row in rows:
        held[row.key] = asdict(row) | {"ratio": row.ratio, "holds": row.holds}
    file.write_text(written(held))


def written(held: object) -> str:
    """JSON of results as it is kept: to be read in a diff, so the numbers of a list are on one line, of 4 digits."""
    text = json.dumps(held, indent=1, ensure_ascii=False)
    return (
        NUMBERS.sub(lambda found: f"[{', '.join(_short(one) for one in found[1].split(','))}]", text) + "\n"
    )


def _short(number: str) -> str:
    return f"{float(number):.4g}"


def show(rows: Sequence[Row]) -> None:
    """The rows for a person."""
    for row in rows:
        beside = f", {row.peer_name} {row.peer:.2f} {row.unit}: {row.ratio:.2f} x" if row.peer else ""
        target = "" if row.bound is None else f" ({'>=' if row.at_least else '<='} {row.bound:g}"
        verdict = target and f"{target}: {'holds' if row.holds else 'MISSED'})"
        print(f"{row.what}: {row.ours:.2f} {row.unit}{beside}{verdict}", flush=True)
