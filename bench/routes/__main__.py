"""Learned routes: how fast they are written, and how long it takes from a peer's first update to the last one.

    sudo python -m bench.routes [--prefix DIR] [--json FILE] [--quick]

Ours and the peer's turns alternate. Each has namespaces of its own; nothing of them is left.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.results import Row, compared, keep, show
from bench.routes import kernel, race
from bench.routes.contestants import ANYPOD, BIRD, ZEBRA
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.routes.race import Result

COMMAND = "sudo python -m bench.routes"
MANY = 100_000
WITHIN = {10_000: 1.0, MANY: 8.0}  # seconds


def kernel_rows(rounds: int) -> list[Row]:
    """The speaker's code from a list of routes to the kernel's last answer, beside `ip -batch`."""
    turns: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        for who, found in turns.items():
            found.append(kernel.turn(who, MANY, f"anypod-routes{os.getpid()}-k"))

    def rates(who: str, key: str) -> list[float]:
        return [MANY / one[key] for one in turns[who]]

    def row(key: str, what: str, of: str, bound: float | None) -> Row:
        ours, theirs = rates("ours", of), rates("theirs", of)
        return compared(
            f"routes-{MANY}-{key}",
            what,
            ours,
            theirs,
            peer_name="ip -batch",
            unit="routes/s",
            bound=bound,
            at_least=True,
            command=COMMAND,
        )

    return [
        row("to-kernel", f"{MANY} learned routes to the kernel", "add", 0.6),
        row("to-kernel-processor", f"{MANY} learned routes to the kernel, by processor time", "cpu", None),
        row("from-kernel", f"{MANY} learned routes out of the kernel", "remove", None),
    ]


def path_rows(count: int, rounds: int, command: tuple[str, ...]) -> list[Row]:
    """From the first update to the last route, and the way back, for each who does it."""
    found: dict[str, list[Result]] = {}
    for _ in range(rounds):
        for contestant in (ANYPOD, BIRD):
            found.setdefault(contestant.name, []).append(race.run(contestant, count, command))

    def row(key: str, what: str, unit: str, of: Callable[[Result], float], bound: float | None = None) -> Row:
        samples = {name: [of(one) for one in some] for name, some in found.items()}
        middle = median(samples[ANYPOD.name])
        what = f"{count} paths, {what} (BIRD 2: {median(samples[BIRD.name]):.3g} {unit})"
        key = f"paths-{count}-{key}"
        return Row(key, what, unit, middle, bound=bound, runs=rounds, command=COMMAND, samples=samples)

    ours = found[ANYPOD.name]
    parts = [
        Row(
            f"paths-{count}-{name}-{key}",
            f"{count} paths, {what} of {name}",
            unit,
            median(getattr(one, of)[name] for one in ours),
            runs=rounds,
            command=COMMAND,
        )
        for name in ("gobgpd", "speaker")
        for key, what, unit, of in (
            ("processor", "processor time", "s", "cpu"),
            ("memory", "peak memory", "MiB", "memory"),
        )
    ]
    return [
        row("end-to-end", "first update to last route", "s", lambda one: one.seconds, WITHIN[count]),
        row("processor", "processor time", "s", lambda one: sum(one.cpu.values())),
        row("withdrawn", "taken back, to the last route gone", "s", lambda one: one.withdrawn),
        row("sent", "until TCP had taken all", "ms", lambda one: 1000 * one.taken),
        *parts,
    ]


def try_zebra() -> None:
    """Says whether that pairing runs here."""
    try:
        result = race.run(ZEBRA, 10_000)
    except LabError as error:
        print(f"{ZEBRA.name} does not run: {error}", flush=True)
    else:
        print(f"{ZEBRA.name}: 10000 paths in {result.seconds:.2f} s", flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--prefix",
        type=Path,
        default=Path(os.environ.get("ANYPOD_PREFIX", "/")),
        help="where anypod is installed",
    )
    parser.add_argument("--json", default="", help="a file for the numbers")
    parser.add_argument("--quick", action="store_true", help="few rounds, to try it")
    given = parser.parse_args()
    command = (str(given.prefix / "usr/local/bin/anypod"),)
    rows = kernel_rows(2 if given.quick else 7)
    for count in WITHIN:
        rows += path_rows(count, 1 if given.quick else 5, command)
    try_zebra()
    show(rows)
    keep(given.json, rows)


if __name__ == "__main__":
    main()
