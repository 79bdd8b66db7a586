"""A node whose calls are struck at single system calls, and what has to be as before after a clean-up."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cni.link import link_delete
from tests.system import injector, syscalls
from tests.system.crowd import WORKERS, spread
from tests.system.injector import Launch
from tests.system.plugin_node import Node, run
from tests.system.view import View, difference, enter_namespace
from tests.system.zygote import Zygote, encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from tests.system.injector import Ended, Step, SystemCall
    from tests.system.view import Shown

CONTAINER = "struck"
RUNS = 3
# What GC leaves alone.
VALID = {"cni.dev/valid-attachments": [{"containerID": "warm", "ifname": "eth0"}]}


@dataclass
class Scene:
    """One attachment on one node: the pod `warm` stands all the time, `CONTAINER` comes and goes."""

    node: Node
    conf: dict[str, Any]
    env: dict[str, str] = field(default_factory=dict)
    # A folder in which something else keeps what it gave the pod.
    watched: Path | None = None
    _zygote: Zygote | None = None

    @property
    def pod(self) -> str:
        return self.node.pods[1]

    def launch(self, verb: str) -> Launch:
        environment = self.node.environment(verb, CONTAINER, self.pod) | self.env
        conf = self.conf | (VALID if verb == "GC" else {})
        return Launch((str(self.node.plugin),), environment, json.dumps(conf).encode())

    def call(self, verb: str) -> Ended:
        """A call that must succeed."""
        ended = injector.run(self.launch(verb))
        assert ended.status == 0, (verb, ended)
        return ended

    def warm_up(self) -> None:
        """Makes the network known to the node. By a process that is not in its namespace."""
        for verb in ("ADD", "DEL"):
            launch = self.launch(verb)
            answer = self.node.call(launch.env, launch.stdin)
            assert answer.status == 0, answer

    def snapshot(self, view: View) -> Shown:
        """What stands, with what is kept elsewhere."""
        watched = sorted(one.name for one in self.watched.iterdir()) if self.watched else []
        return view.snapshot() | {"watched": watched}

    def quick(self, verb: str) -> None:
        """The same by a fork (zygote_main.py), where it is not the start of the executable that matters."""
        if self._zygote is None:
            self._zygote = Zygote(self.node.plugin, self.node.state.parent)
        launch = self.launch(verb)
        ended = self._zygote.call(encoded(launch.env), launch.stdin)
        assert ended.status == 0, (verb, ended)

    def close(self) -> None:
        """At the end of a walk."""
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    def record(self, verb: str) -> list[SystemCall]:
        """The system calls of a call that must succeed."""
        ended, calls = injector.record(self.launch(verb))
        assert ended.status == 0, (verb, ended)
        return calls


def starting(calls: list[SystemCall]) -> list[SystemCall]:
    """Those that the interpreter makes before the plugin reads its stdin: the same for every call."""
    stdin = (syscalls.NUMBERS["read"], 0)
    first = next(place for place, one in enumerate(calls) if (one.number, one.arguments[0]) == stdin)
    return calls[:first]


def own_steps(calls: list[SystemCall]) -> list[Step]:
    """Every system call of the plugin itself from the reading of its stdin on."""
    early = set(syscalls.steps(starting(calls)))
    return [step for step in syscalls.steps(calls) if step not in early and not step.child]


@contextmanager
def stage(plugin: Path, factory: pytest.TempPathFactory, **keys: object) -> Iterator[list[Scene]]:
    """A node for each worker with two namespaces for pods, and their netconf with these keys."""
    nodes: list[Node] = []
    try:
        for _ in range(WORKERS):
            nodes.append(Node(plugin, factory.mktemp("node") / "state"))
            nodes[-1].up()
            nodes[-1].pod()
            nodes[-1].pod()
        yield [Scene(node, node.conf(**keys)) for node in nodes]
    finally:
        for node in nodes:
            node.down()


@dataclass
class Walk:
    """Strikes a verb at one step after the other; each time the node must be in order after the clean-up.

    `prepare` brings it to where the verb starts, `clean` is what must put all in order.
    """

    verb: str
    prepare: Callable[[Scene], object]
    clean: Callable[[Scene], object]

    def record(self, scene: Scene, seconds: float) -> list[SystemCall]:
        """The verb's system calls where nothing strikes.

        The fewest of some runs: now and then one has to split a page of the state file.
        """

        def work(one: Scene, _: Iterator[None]) -> list[SystemCall]:
            enter_namespace(one.node.name)
            runs = []
            for _turn in range(RUNS):
                self.prepare(one)
                runs.append(one.record(self.verb))
                self.clean(one)
            one.close()
            return min(runs, key=len)

        (calls,) = spread(work, [scene], [None], seconds)
        return calls

    def kill(self, scenes: list[Scene], steps: list[Step], seconds: float) -> Counter[str]:
        """How many were killed, and how many ended before their step came."""
        return sum(spread(self._kill, scenes, steps, seconds), Counter[str]())

    def _kill(self, scene: Scene, steps: Iterator[Step]) -> Counter[str]:
        view = View(scene.node)
        expected = self.expected(scene, view)
        counts: Counter[str] = Counter()
        for step in steps:
            self.prepare(scene)
            ended = injector.strike(scene.launch(self.verb), step, injector.kill)
            counts["killed" if ended.hit else "missed"] += 1
            self.clean(scene)
            left = difference(expected, scene.snapshot(view))
            assert not left, f"{self.verb} killed at {syscalls.name(step)}, then cleaned up:\n{left}\n{ended}"
        view.close()
        scene.close()
        return counts

    def expected(self, scene: Scene, view: View) -> Shown:
        """What stands after a verb that nothing strikes, and the clean-up."""
        self.prepare(scene)
        scene.call(self.verb)
        self.clean(scene)
        return scene.snapshot(view)


def nothing(_scene: Scene) -> None:
    """There is nothing to do before."""


def add(scene: Scene) -> None:
    """The pod is attached."""
    scene.quick("ADD")


def delete(scene: Scene) -> None:
    """The pod is gone."""
    scene.call("DEL")


def collect(scene: Scene) -> None:
    """The pod is gone, by a GC that the runtime runs instead of a DEL."""
    scene.call("GC")


def make_bare(scene: Scene) -> None:
    """The node is as no pod ever was on it. The caller is in its namespace."""
    view = View(scene.node)
    for link in view.links(scene.node.name):
        if link.name != "lo":
            view.request(scene.node.name, link_delete(link.index))
    if view.rules():
        run("nft", "flush", "ruleset")
    view.close()
    for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path("/proc/sys/net", key).write_text("0")
    shutil.rmtree(scene.node.state, ignore_errors=True)


def del_add_del(scene: Scene) -> None:
    """What a runtime does when the container is to be started again, and its end."""
    delete(scene)
    scene.quick("ADD")
    scene.quick("DEL")
