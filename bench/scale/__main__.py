"""One real node, gobgpd and speaker, among simulated peers, in each design of a cluster.

    sudo python -m bench.scale [--prefix /] [--runs 1] [--json FILE] [--quick] [CASE…]

A case is DESIGN-NODES or DESIGN-NODES-vips-V: `full-mesh-200`, `rack-200-vips-10`. Designs: full-mesh; rack: two
routers tell of all nodes; reflectors: two reflectors do; reflecting: the node is a reflector itself. See docs/scale.md.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench.results import keep, show
from bench.scale import measures, model
from bench.scale.designs import DESIGNS, Case
from bench.scale.page import MEASURED

CASE = re.compile(rf"({'|'.join(DESIGNS)})-(\d+)(?:-vips-(\d+))?")
PATIENCE = 120.0
ALL = [case.key for case in (*MEASURED, *model.CHECKED)]
QUICK = [name for name in ALL if name.endswith("-10") and "vips" not in name]


def main() -> None:
    """Measures case by case, each in namespaces of its own."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # what was made is removed also then
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"none: {', '.join(ALL)}")
    parser.add_argument(
        "--prefix",
        type=Path,
        default=Path(os.environ.get("ANYPOD_PREFIX") or "/"),
        help="where anypod is installed",
    )
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json", default="", help="a file for the results")
    parser.add_argument("--quick", action="store_true", help="the smallest cases alone, for trying")
    given = parser.parse_args()
    names = given.cases or (QUICK if given.quick else ALL)
    anypod = str(given.prefix / "usr/local/bin/anypod")
    for name in names:
        case = parsed(name, parser)
        found: dict[str, list[float]] = {}
        for _ in range(1 if given.quick else max(1, given.runs)):
            began = time.monotonic()
            with tempfile.TemporaryDirectory(dir="/run", prefix="anypod-scale-") as directory:
                for key, value in measures.measure(case, anypod, Path(directory), PATIENCE).items():
                    found.setdefault(key, []).append(value)
            print(f"# {name}: {time.monotonic() - began:.0f} s", flush=True)
        made = measures.rows(case, found, f"sudo python -m bench.scale {name}")
        show(made)
        keep(given.json, made)


def parsed(name: str, parser: argparse.ArgumentParser) -> Case:
    """The case of that name."""
    match = CASE.fullmatch(name)
    if not match:
        parser.error(f"no such case: {name}; write it like full-mesh-200 or rack-200-vips-10")
    return Case(match[1], int(match[2]), int(match[3] or 0))


if __name__ == "__main__":
    main()
