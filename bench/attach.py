"""ADD and DEL of one pod at a time: anypod beside the reference bridge + host-local, call by call in turn.

    sudo python -m bench.attach

Once with neither masquerading, once with both. Absolute times are this machine's and this hour's; the ratio of medians
is what it is for.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from bench.node import node
from bench.options import parser
from bench.results import compared, keep, show
from bench.side import OURS, REFERENCE, in_turn, ours, theirs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bench.node import Node
    from bench.results import Row
    from bench.side import Side

COMMAND = "sudo bench/run.sh attach"
BOUNDS = {
    ("ADD", False): ("add", "ADD, neither masquerading", 1.2),
    ("DEL", False): ("del", "DEL, neither masquerading", 1.1),
    ("ADD", True): ("add-masquerade", "ADD, both masquerading", 0.6),
    ("DEL", True): ("del-masquerade", "DEL, both masquerading", 0.35),
}
Times = dict[tuple[str, str], list[float]]


def measure(sides: Sequence[Side], rounds: int, place: Node) -> Times:
    """Milliseconds of each verb and side. Each ADD is into a namespace of its own, made before."""
    times: Times = defaultdict(list)
    pods = iter(place.pods(len(sides) * (rounds + 2)))
    for number, order in in_turn(sides, rounds):
        for side in order:
            pod = next(pods)
            add = side.add(f"bench{number}", pod)
            delete = side.delete(f"bench{number}", pod)
            if number >= 0:
                times["ADD", side.name].append(add.wall)
                times["DEL", side.name].append(delete.wall)
    return times


def rows(arguments: argparse.Namespace, masquerade: bool) -> list[Row]:
    """Both verbs, on a node of their own."""
    with node("attach") as place:
        conf = {"ipMasq": masquerade}
        sides = [side(arguments, place.directory, conf) for side in (ours, theirs)]
        times = measure(sides, arguments.rounds, place)
    found = []
    for verb in ("ADD", "DEL"):
        key, what, bound = BOUNDS[verb, masquerade]
        found.append(
            compared(key, what, times[verb, OURS], times[verb, REFERENCE], bound=bound, command=COMMAND)
        )
    return found


def main() -> None:
    """Measures in namespaces of its own and removes them."""
    options = parser(__doc__, rounds=100, quick=10)
    options.add_argument("--only", choices=["plain", "masquerade"], help="one of the two")
    arguments = options.parse_args()
    for kind in ("plain", "masquerade"):
        if arguments.only in (None, kind):
            found = rows(arguments, masquerade=kind == "masquerade")
            show(found)
            keep(arguments.json, found)


if __name__ == "__main__":
    main()
