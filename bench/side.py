"""One of those that are compared: the plugins of a conflist, run in order as a runtime runs them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.calls import Cost, Running, dumped, environment

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

OURS = "anypod"
REFERENCE = "bridge + host-local"
VERSION = "1.0.0"
# That of the plugin's first line, and no wrapper that may stand before it in PATH.
IDLE = ["/usr/bin/python3", "-I", "-S", "-c", "pass"]
INTERPRETER = "python3 -I -S -c pass"
T = TypeVar("T")


@dataclass
class Side:
    """The executables with their netconfs. The costs are those of its calls, what is between them left out."""

    name: str
    plugins: Sequence[tuple[Path, dict[str, Any]]]
    # What the runtime remembers of each container: the last result of ADD.
    results: dict[str, Any] = field(default_factory=dict)

    def start(self, verb: str, container: str, pod: str, index: int = 0) -> Running:
        """Starts one plugin of the list."""
        executable, conf = self.plugins[index]
        if container in self.results:
            conf = conf | {"prevResult": self.results[container]}
        path = str(executable.parent)
        return Running([str(executable)], environment(verb, container, pod, path), dumped(conf))

    def add(self, container: str, pod: str) -> Cost:
        """ADD, each plugin with the result of the one before."""
        total = Cost()
        for index in range(len(self.plugins)):
            cost, output = self.start("ADD", container, pod, index).finish()
            self.results[container] = json.loads(output)
            total += cost
        return total

    def delete(self, container: str, pod: str) -> Cost:
        """DEL in reverse order, each plugin with the last result."""
        total = Cost()
        for index in reversed(range(len(self.plugins))):
            total += self.start("DEL", container, pod, index).finish()[0]
        self.results.pop(container, None)
        return total


class Interpreter(Side):
    """An interpreter that does nothing: what no plugin in Python can do without. It has no DEL of its own."""

    def __init__(self) -> None:
        super().__init__(INTERPRETER, [])

    def start(self, _verb: str, _container: str, _pod: str, _index: int = 0) -> Running:
        """Starts it."""
        return Running(IDLE, {})

    def add(self, container: str, pod: str) -> Cost:
        """In the place of an ADD."""
        return self.start("ADD", container, pod).finish()[0]

    def delete(self, _container: str, _pod: str) -> Cost:
        """Nothing."""
        return Cost()


def ours(arguments: argparse.Namespace, directory: Path, conf: dict[str, Any]) -> Side:
    """Ours, with a bridge, a state directory and a subnet of its own; `conf` goes before."""
    own = {
        "type": "anypod",
        "name": "ours",
        "bridge": "ours0",
        "stateDir": f"{directory}/anypod",
        "ipam": {"type": "host-local", "subnet": "10.244.1.0/24"},
    }
    return Side(OURS, [(Path(arguments.plugin), _common() | own | conf)])


def theirs(arguments: argparse.Namespace, directory: Path, conf: dict[str, Any]) -> Side:
    """The reference plugins bridge and host-local, the same way."""
    ipam = {"type": "host-local", "subnet": "10.244.2.0/24", "dataDir": f"{directory}/host-local"}
    own = {"type": "bridge", "name": "theirs", "bridge": "theirs0", "ipam": ipam}
    return Side(REFERENCE, [(Path(arguments.reference, "bridge"), _common() | own | conf)])


def _common() -> dict[str, Any]:
    return {"cniVersion": VERSION, "isDefaultGateway": True}


def shuffled(sides: Sequence[T], rounds: int, warm_up: int = 2) -> Iterator[tuple[int, Sequence[T]]]:
    """As `in_turn`, for many: nobody always follows the same one, and finds what that left in the caches."""
    chance = random.Random(1)  # noqa: S311 - the same order in each run
    for number in range(-warm_up, rounds):
        yield number, chance.sample(sides, len(sides))


def in_turn(sides: Sequence[T], rounds: int, warm_up: int = 2) -> Iterator[tuple[int, Sequence[T]]]:
    """Rounds, the order exchanged each time. The first have numbers below 0: they set up the node and do not count."""
    for number in range(-warm_up, rounds):
        yield number, sides if number % 2 else sides[::-1]
