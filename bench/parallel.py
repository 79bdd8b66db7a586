"""Sixteen pods at a time, as when a node comes up: anypod beside the reference bridge + host-local, in turn.

sudo python -m bench.parallel
"""

from __future__ import annotations

import json
import time
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

COMMAND = "sudo bench/run.sh parallel"
AT_A_TIME = 16
ROWS = {
    ("ADD", False): ("add-parallel", "neither masquerading", 1.2),
    ("ADD", True): ("add-parallel-masquerade", "both masquerading", 2.0),
    ("DEL", False): ("del-parallel", "neither masquerading", None),
    ("DEL", True): ("del-parallel-masquerade", "both masquerading", None),
}
Rates = dict[tuple[str, str], list[float]]


def together(side: Side, verb: str, pods: Sequence[str]) -> float:
    """All calls started at once; pods per second until the last has ended."""
    started = time.perf_counter()
    running = [side.start(verb, pod, pod) for pod in pods]
    ended = [one.finish() for one in running]
    rate = len(pods) / (time.perf_counter() - started)
    for pod, (_, output) in zip(pods, ended, strict=True):
        if verb == "ADD":
            side.results[pod] = json.loads(output)
        else:
            del side.results[pod]
    return rate


def measure(sides: Sequence[Side], rounds: int, place: Node) -> Rates:
    """Pods per second of each verb and side. The namespaces are made before each round, and used once."""
    rates: Rates = defaultdict(list)
    for number, order in in_turn(sides, rounds, warm_up=1):
        for side in order:
            pods = place.pods(AT_A_TIME)
            for verb in ("ADD", "DEL"):
                rate = together(side, verb, pods)
                if number >= 0:
                    rates[verb, side.name].append(rate)
        place.remove_pods()
    return rates


def rows(arguments: argparse.Namespace, masquerade: bool) -> list[Row]:
    """Both verbs, on a node of their own."""
    with node("par") as place:
        conf = {"ipMasq": masquerade}
        sides = [side(arguments, place.directory, conf) for side in (ours, theirs)]
        rates = measure(sides, arguments.rounds, place)
    found = []
    for verb in ("ADD", "DEL"):
        key, how, bound = ROWS[verb, masquerade]
        mine, other = rates[verb, OURS], rates[verb, REFERENCE]
        what = f"{AT_A_TIME} {verb}s at a time, {how}"
        found.append(
            compared(key, what, mine, other, unit="pods/s", bound=bound, at_least=True, command=COMMAND)
        )
    return found


def main() -> None:
    """Measures in namespaces of its own and removes them."""
    arguments = parser(__doc__, rounds=15, quick=2).parse_args()
    for masquerade in (False, True):
        found = rows(arguments, masquerade)
        show(found)
        keep(arguments.json, found)


if __name__ == "__main__":
    main()
