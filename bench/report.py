"""What results.json says, written into the pages between their markers, and drawn.

python -m bench.report
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.plots import PLOTS, sign
from bench.results import TIMES, Row
from bench.scale.page import TABLES as SCALE
from bench.topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.topics import Topic

SOURCE = Path(__file__).resolve().parent.parent
RESULTS = SOURCE / "bench/results.json"
PAGES = tuple(
    SOURCE / name for name in ("docs/performance.md", "docs/scale.md", "docs/anycast.md", "README.md")
)
DRAWINGS = SOURCE / "docs/performance"
MARKED = re.compile(r"(<!-- made from results\.json: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def load(file: Path) -> dict[str, Any]:
    """The content of a results file; nothing where there is none yet."""
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def merged(
    held: Mapping[str, Any], topic: Topic, rows: Mapping[str, Any], machine: Mapping[str, object]
) -> dict[str, Any]:
    """With a topic's rows in place of its older ones."""
    topics = dict(held.get("topics", {})) | {topic.name: {"measured": machine["date"], "rows": dict(rows)}}
    ordered = {known.name: topics[known.name] for known in TOPICS if known.name in topics}
    return {"machine": dict(machine), "topics": ordered}


def rows(held: Mapping[str, Any], table: str = "") -> dict[str, Row]:
    """Of all topics, or of those of one table, in their order."""
    names = {field.name for field in fields(Row)}
    topics = held.get("topics", {})
    return {
        key: Row(**{name: value for name, value in row.items() if name in names})
        for topic in TOPICS
        if topic.name in topics and table in ("", topic.table)
        for key, row in topics[topic.name]["rows"].items()
    }


def number(value: float) -> str:
    """Three digits that count: 0.57, 23.3, 1,234; of a small count none behind the point."""
    if abs(value) >= 100 or value in range(10):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def unit(row: Row) -> str:
    """Of what the target is for."""
    return TIMES if row.ratio else row.unit


def table(held: Mapping[str, Any], name: str) -> str:
    """A table of docs/performance.md."""
    found = rows(held, name).values()
    if not found:
        return "Not measured yet."
    lines = ["| what | anypod | beside it | ratio | target | |", "|---|---|---|---|---|---|"]
    for row in found:
        peer = "" if row.peer is None else f"{number(row.peer)} {row.unit}, {row.peer_name}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f} {TIMES}"
        bound = "" if row.bound is None else f"{sign(row)} {row.bound:g} {unit(row)}"
        verdict = {True: "reached", False: "**missed**", None: ""}[row.holds]
        cells = [row.what, f"{number(row.ours)} {row.unit}", peer, ratio, bound, verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verdicts(held: Mapping[str, Any]) -> str:
    """How many targets are reached, and which are not."""
    bounded = [row for row in rows(held).values() if row.bound is not None]
    missed = [row for row in bounded if not row.holds]
    if not bounded:
        return "No target was measured."
    lines = [
        f"{len(bounded) - len(missed)} of {len(bounded)} targets are reached{'. Missed:' if missed else '.'}"
    ]
    lines += [""] if missed else []
    for row in missed:
        lines.append(
            f"- {row.what}: {number(row.value)} {unit(row)}, target {sign(row)} {row.bound:g} {unit(row)}"
        )
    return "\n".join(lines)


def machine(held: Mapping[str, Any]) -> str:
    """What it was measured on."""
    found = held.get("machine")
    if not found:
        return "Not measured yet."
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    return (
        f"Measured on {found['date']}: {found['processors']} processors ({found['processor']}), "
        f"{found['memory-gib']} GiB of memory, Linux {found['kernel']}, {found['distribution']}, "
        f"Python {found['python']}. Peers: {packages}."
    )


def filled(page: str, held: Mapping[str, Any]) -> str:
    """A page with everything between its markers made anew."""

    def made(found: re.Match[str]) -> str:
        special = ({"machine": machine, "verdicts": verdicts} | SCALE).get(found[2])
        text = special(held) if special else table(held, found[2])
        return f"{found[1]}\n{text}\n\n{found[3]}"

    return MARKED.sub(made, page)


def place(file: Path, text: str) -> None:
    """Whole or not at all, and the owner's who has the tree: benchmarks run as root."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    owner = file.parent.stat()
    os.chown(new, owner.st_uid, owner.st_gid)
    new.replace(file)


def write_pages() -> None:
    """Pages and drawings; files that are right already are left alone."""
    held = load(RESULTS)
    texts = {page: filled(page.read_text(), held) for page in PAGES}
    texts |= {DRAWINGS / name: draw(rows(held)) for name, draw in PLOTS.items()}
    for file, text in texts.items():
        if not file.exists() or file.read_text() != text:
            place(file, text)
            print(f"written: {file.relative_to(SOURCE)}")


if __name__ == "__main__":
    write_pages()
