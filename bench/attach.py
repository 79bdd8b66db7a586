"""ADD and DEL of one pod at a time: anypod beside the reference bridge + host-local, call by call in turn.

    sudo python -m bench.attach

Once with neither masquerading, once with both. Absolute times are this machine's and this hour's; the ratio of medians
is what it is for.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.node import node
from bench.options import parser
from bench.results import compared, keep, show
from bench.side import INTERPRETER, OURS, REFERENCE, Interpreter, in_turn, ours, theirs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bench.calls import Cost
    from bench.node import Node
    from bench.results import Row
    from bench.side import Side

    Costs = dict[tuple[str, str], list[Cost]]

COMMAND = "sudo bench/run.sh attach"
BOUNDS = {
    ("ADD", False): ("add", "ADD, neither masquerading", 1.2),
    ("DEL", False): ("del", "DEL, neither masquerading", 1.1),
    ("ADD", True): ("add-masquerade", "ADD, both masquerading", 0.6),
    ("DEL", True): ("del-masquerade", "DEL, both masquerading", 0.35),
}


def measure(sides: Sequence[Side], rounds: int, place: Node) -> Costs:
    """What calls took, of each verb and side. Each ADD is into a namespace of its own, made before."""
    costs: Costs = defaultdict(list)
    pods = iter(place.pods(len(sides) * (rounds + 2)))
    for number, order in in_turn(sides, rounds):
        for side in order:
            pod = next(pods)
            add = side.add(f"bench{number}", pod)
            delete = side.delete(f"bench{number}", pod)
            if number >= 0:
                costs["ADD", side.name].append(add)
                costs["DEL", side.name].append(delete)
    return costs


def walls(costs: Sequence[Cost]) -> list[float]:
    """Milliseconds from spawn to exit."""
    return [cost.wall for cost in costs]


def rows(arguments: argparse.Namespace, masquerade: bool) -> list[Row]:
    """Both verbs, on a node of their own."""
    with node("attach") as place:
        conf = {"ipMasq": masquerade}
        sides = [side(arguments, place.directory, conf) for side in (ours, theirs)]
        costs = measure([*sides, Interpreter()], arguments.rounds, place)
    timed, used = [], []
    for verb in ("ADD", "DEL"):
        key, what, bound = BOUNDS[verb, masquerade]
        mine, other = costs[verb, OURS], costs[verb, REFERENCE]
        timed.append(compared(key, what, walls(mine), walls(other), bound=bound, command=COMMAND))
        mine_cpu, other_cpu = ([cost.cpu for cost in each] for each in (mine, other))
        what = f"processor time, {what}"
        used.append(compared(f"{key}-cpu", what, mine_cpu, other_cpu, command=COMMAND))
    return [*timed, *used, *([] if masquerade else [floor(costs)])]


def floor(costs: Costs) -> Row:
    """What is gone before a plugin in Python has done anything, beside the whole of the peer's ADD."""
    mine, other = walls(costs["ADD", INTERPRETER]), walls(costs["ADD", REFERENCE])
    what = f"{INTERPRETER}, beside the peer's ADD"
    return replace(compared("interpreter", what, mine, other, command=COMMAND), samples={})


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
