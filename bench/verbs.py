"""STATUS and VERSION beside an interpreter that does nothing: what the plugin adds to its start.

sudo python -m bench.verbs
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.calls import Running
from bench.node import node
from bench.options import parser
from bench.results import compared, keep, show
from bench.side import IDLE, INTERPRETER, in_turn, ours

if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND = "sudo bench/run.sh verbs"


def main() -> None:
    """Measures in namespaces of its own and removes them."""
    arguments = parser(__doc__, rounds=200, quick=20).parse_args()
    with node("verbs") as place:
        side = ours(arguments, place.directory, {"cniVersion": "1.1.0"})
        pod = place.pods(1)[0]
        side.add("pod", pod)
        result = side.results.pop("pod")  # neither verb is given one
        calls: dict[str, Callable[[], Running]] = {
            "STATUS": lambda: side.start("STATUS", "", ""),
            "VERSION": lambda: side.start("VERSION", "", ""),
            INTERPRETER: lambda: Running(IDLE, {}),
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        for number, order in in_turn(list(calls), arguments.rounds):
            for name in order:
                cost, _ = calls[name]().finish()
                if number >= 0:
                    times[name].append(cost.wall)
        side.results["pod"] = result
        side.delete("pod", pod)
    found = [
        compared(
            verb.lower(),
            verb,
            times[verb],
            times[INTERPRETER],
            peer_name=INTERPRETER,
            bound=1.5,
            command=COMMAND,
        )
        for verb in ("STATUS", "VERSION")
    ]
    show(found)
    keep(arguments.json, found)


if __name__ == "__main__":
    main()
