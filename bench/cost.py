"""What pods cost: peak memory of one ADD, and processor time of 100 pods up and down, beside the reference plugins.

sudo python -m bench.cost
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from bench.calls import Cost, Running, adopt, dumped, environment, orphans
from bench.node import node
from bench.options import parser
from bench.results import Row, compared, keep, show
from bench.side import OURS, REFERENCE, in_turn, ours, theirs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bench.node import Node
    from bench.side import Side

COMMAND = "sudo bench/run.sh cost"
# GNU time is small and forks. A process that is spawned by a large one inherits its peak, by getrusage(2).
TIME = "/usr/bin/time"
PODS = 100
MEMORY_ROUNDS = 5


def peak(side: Side, place: Node, number: int) -> float:
    """MiB of the largest process of one ADD."""
    executable, conf = side.plugins[0]
    pod, told = place.pods(1)[0], place.directory / "peak"
    argv = [TIME, "-f", "%M", "-o", str(told), str(executable)]
    container = f"peak{number}"
    Running(argv, environment("ADD", container, pod, str(executable.parent)), dumped(conf)).finish()
    side.delete(container, pod)
    return int(told.read_text()) / 1024


def up_and_down(sides: Sequence[Side], count: int, place: Node) -> list[float]:
    """Seconds of the processor that each side takes for so many pods, which stand all at once."""
    used = [Cost() for _ in sides]
    pods = [[(f"cpu{number}", pod) for number, pod in enumerate(place.pods(count))] for _ in sides]
    for number in range(count):
        for index, side in enumerate(sides):
            used[index] += side.add(*pods[index][number])
    for number in range(count):
        for index, side in enumerate(sides):
            # A DEL of ours ends before a process that it forked, which waits for the kernel.
            used[index] += side.delete(*pods[index][number]) + orphans()
    place.remove_pods()
    return [cost.cpu / 1000 for cost in used]


def memory(arguments: argparse.Namespace) -> list[Row]:
    """The bound is for our own number; the reference's is beside it."""
    with node("memory") as place:
        sides = [side(arguments, place.directory, {}) for side in (ours, theirs)]
        found: dict[str, list[float]] = {side.name: [] for side in sides}
        for number, order in in_turn(sides, MEMORY_ROUNDS):
            for side in order:
                mib = peak(side, place, number)
                if number >= 0:
                    found[side.name].append(mib)
    mine, other = found[OURS], found[REFERENCE]
    what = "peak memory of one ADD"
    bounded = Row("memory", what, "MiB", median(mine), bound=14, runs=len(mine), command=COMMAND)
    beside = compared("memory-beside", f"{what}, largest process", mine, other, unit="MiB", command=COMMAND)
    return [bounded, beside]


def processor(arguments: argparse.Namespace, masquerade: bool) -> list[Row]:
    """Of both sides, one pod of each in turn."""
    with node("cpu") as place:
        sides = [side(arguments, place.directory, {"ipMasq": masquerade}) for side in (ours, theirs)]
        up_and_down(sides, 2, place)
        taken = [up_and_down(sides, PODS, place) for _ in range(arguments.rounds)]
    mine, other = ([one[index] for one in taken] for index in (0, 1))
    key, how = ("cpu-masquerade", "both") if masquerade else ("cpu", "neither")
    what = f"processor time, {PODS} pods up and down, {how} masquerading"
    return [compared(key, what, mine, other, unit="s", bound=1.0, command=COMMAND)]


def main() -> None:
    """Measures in namespaces of its own and removes them."""
    arguments = parser(__doc__, rounds=3, quick=1).parse_args()
    adopt()
    found = memory(arguments)
    for masquerade in (False, True):
        found += processor(arguments, masquerade)
    show(found)
    keep(arguments.json, found)


if __name__ == "__main__":
    main()
