"""What virtual IPs cost the speaker, and how long it takes until a rack has them.

    sudo python -m bench.vips [--json FILE] [--quick] [--prefix /] [ITEM…]

Items: steps (a pod comes and goes), restored, unchanged, idle. The racks are BIRD and FRR; gobgpd and speaker run in
network namespaces of their own, which are removed afterwards.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bench.results import Row, keep, percentile, show
from bench.vips import rest
from bench.vips.crowd import crowd
from bench.vips.restored import restored
from bench.vips.steps import STEPS, Times, way
from lab.installed import PLUGIN, Installation
from lab.topology import RackKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMAND = "sudo python -m bench.vips"
MANY, PODS, CHECKED = 10_000, 1_000, 250
MS = 1000.0


def steps(given: argparse.Namespace, installed: Installation) -> list[Row]:
    """ADD and DEL, until the rack's kernel has it or has it no longer."""
    rows: list[Row] = []
    for kind in (RackKind.BIRD, RackKind.FRR):
        with way(installed, kind, f"v{os.getpid()}{kind.value}") as lab:
            added, deleted = lab.run(10 if given.quick else 100)
        for verb, times in (("ADD", added), ("DEL", deleted)):
            print(f"\n{verb}, {kind.value} as rack (ms)\n\n" + "\n".join(_table(times)), flush=True)
        rows += _rows(kind, added, deleted)
    return rows


def _table(times: Sequence[Times]) -> list[str]:
    lines = ["| until | p50 | p99 |", "|---|---|---|"]
    for step in STEPS:
        found = [MS * one.steps[step] for one in times if step in one.steps]
        if found:
            lines.append(f"| {step} | {percentile(found, 50):.1f} | {percentile(found, 99):.1f} |")
    return lines


def _rows(kind: RackKind, added: Sequence[Times], deleted: Sequence[Times]) -> list[Row]:
    rows = []
    beside = "" if kind is RackKind.BIRD else f"-{kind.value}"
    for key, what, times in (
        ("add-to", "ADD → VIP in the", added),
        ("del-from", "DEL → VIP out of the", deleted),
    ):
        found = [MS * one.steps["in the rack's kernel"] for one in times]
        for part, bound in ((50, 40.0), (99, 120.0)):
            rows.append(
                Row(
                    f"{key}-rack-p{part}{beside}",
                    f"{what} rack's kernel ({kind.value}), p{part}",
                    "ms",
                    percentile(found, part),
                    bound=bound if key == "add-to" and not beside else None,
                    runs=len(found),
                    command=f"{COMMAND} steps",
                    samples={"anypod": found},
                )
            )
    after = [MS * (one.steps["in the rack's kernel"] - one.steps["answered"]) for one in added]
    what = f"the same from ADD's answer on ({kind.value}), p50"
    rows.append(
        Row(f"answer-to-rack-p50{beside}", what, "ms", percentile(after, 50), command=f"{COMMAND} steps")
    )
    return rows


def back(given: argparse.Namespace, installed: Installation) -> list[Row]:
    """Gobgpd killed and started."""
    with crowd(f"v{os.getpid()}back", installed.anypod, MANY) as stage:
        stage.configure()
        stage.fill(PODS)
        stage.start()
        found = restored(stage, 3 if given.quick else 10)
    what = "10,000 VIPs in gobgpd's table after its restart"
    return [_median("vips-10000-restored", what, "s", found, 0.7, "restored")]


def unchanged(given: argparse.Namespace, installed: Installation) -> list[Row]:
    """Comparisons that find nothing."""
    with crowd(f"v{os.getpid()}same", installed.anypod, MANY) as stage:
        stage.configure(86400)
        stage.fill(PODS)
        stage.start()
        found = rest.unchanged(stage, 5 if given.quick else 40)
    what = "a comparison that finds nothing, 10,000 VIPs and 1,000 pods, processor time"
    return [_median("reconcile-unchanged", what, "ms", found, 20.0, "unchanged")]


def idle(given: argparse.Namespace, installed: Installation) -> list[Row]:
    """With health checks."""
    with crowd(f"v{os.getpid()}idle", installed.anypod, CHECKED) as stage:
        used, resident, share = rest.resting(stage, CHECKED, 5 if given.quick else 60)
    what = "idle speaker, 250 pods, 50 checks a second (tcp, http, grpc)"
    return [
        _median("idle-cpu", what, "% of a core", [used], 3.0, "idle"),
        _median("idle-memory", f"{what}, resident", "MiB", [resident], 80.0, "idle"),
        _median("idle-memory-share", f"{what}, proportional set size", "MiB", [share], None, "idle"),
    ]


def _median(key: str, what: str, unit: str, found: list[float], bound: float | None, item: str) -> Row:
    command, samples = f"{COMMAND} {item}", {"anypod": found}
    return Row(
        key, what, unit, percentile(found, 50), bound=bound, runs=len(found), command=command, samples=samples
    )


ITEMS: dict[str, Callable[[argparse.Namespace, Installation], list[Row]]] = {
    "steps": steps,
    "restored": back,
    "unchanged": unchanged,
    "idle": idle,
}


def main() -> None:
    """Measures what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("items", nargs="*", metavar="ITEM", help=f"of {', '.join(ITEMS)}; none: all")
    parser.add_argument("--prefix", type=Path, default=Path(os.environ.get("ANYPOD_PREFIX") or "/"))
    parser.add_argument("--quick", action="store_true", help="few rounds, for trying")
    parser.add_argument("--json", default="", help="the file to keep the results in")
    given = parser.parse_args()
    if unknown := [item for item in given.items if item not in ITEMS]:
        parser.error(f"no such item: {', '.join(unknown)}; there are {', '.join(ITEMS)}")
    installed = Installation(given.prefix / PLUGIN, (str(given.prefix / "usr/local/bin/anypod"),))
    for item in given.items or ITEMS:
        rows = ITEMS[item](given, installed)
        show(rows)
        keep(given.json, rows)


if __name__ == "__main__":
    main()
