"""A pod with a virtual IP comes and goes: until the rack's kernel follows, and where the time goes meanwhile."""

from __future__ import annotations

import json
import queue
import random
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lab import netns, observe, rig
from lab.plan import POOLS, plan
from lab.rig import Lab
from lab.runtime import Runtime
from lab.service import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.installed import Installation
    from lab.topology import RackKind

NODE, RACK, POOL, NUMBER = "node1", "rack", "plain", 16
SECONDS = 30.0
# What is told of a pod that comes, in this order; of one that goes it is "no route" instead.
STEPS = (
    "written",
    "in the node's kernel",
    "in gobgpd",
    "UPDATE at the rack",
    "in the rack's kernel",
    "answered",
)


@dataclass
class Times:
    """One call: when it began, and seconds from there to each step, the slower of both families."""

    began: float
    steps: dict[str, float] = field(default_factory=dict)


class Onlooker:
    """A process of `bench.vips.trace` in a namespace."""

    def __init__(self, step: str, namespace: str, *words: str) -> None:
        self.step = step
        argv = netns.inside(namespace, [sys.executable, "-m", "bench.vips.trace", *words])
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self.events: list[tuple[str, str, float]] = []
        self._ready: queue.Queue[None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._ready.get(timeout=SECONDS)

    def _read(self) -> None:
        for line in self._process.stdout or ():
            event = json.loads(line)
            if event["what"] == "ready":
                self._ready.put(None)
            else:
                self.events.append((event["what"], event["of"], event["at"]))

    def when(self, what: str, of: tuple[str, ...], since: float) -> float | None:
        """When all of these were told, each the first time since then; None: not yet."""
        seen: dict[str, float] = {}
        for kind, name, at in list(self.events):
            if kind == what and name in of and at >= since:
                seen.setdefault(name, at)
        return max(seen.values()) if len(seen) == len(of) else None

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


class Way:
    """A lab with onlookers at each step between plugin and rack."""

    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        self._lab = lab
        pool = lab.topology.pool(POOL)
        self.vips = tuple(str(pool.address(version, NUMBER)) for version in VERSIONS)
        node, rack = lab.namespace(NODE), lab.namespace(RACK)
        place = lab.place(NODE)
        self._runtime = Runtime(lab.installation.plugin, node, place.conflists, place.results)
        self._onlookers = {
            one.step: one
            for one in (
                Onlooker("in the node's kernel", node, "kernel"),
                Onlooker("in gobgpd", node, "daemon", place.api),
                Onlooker("UPDATE at the rack", rack, "updates", f"to-{NODE}"),
                Onlooker("in the rack's kernel", rack, "kernel"),
                Onlooker("written", node, "state", str(place.state)),
            )
        }
        for one in self._onlookers.values():
            stack.callback(one.close)
        self._asked = {"anycast": {"vips": list(self.vips)}}

    def run(self, count: int) -> tuple[list[Times], list[Times]]:
        """So many pods, each added and deleted."""
        added, deleted = [], []
        for number in range(count):
            pod, namespace = f"pod{number}", self._lab.topology.pod_namespace(f"pod{number}")
            netns.add(namespace)
            _breathe()
            began = time.monotonic()
            self._runtime.attach(pod, namespace, "pods", self._asked)
            added.append(self._times(began, "route"))
            _breathe()
            began = time.monotonic()
            self._runtime.detach(pod, namespace, "pods")
            deleted.append(self._times(began, "no route"))
            netns.delete(namespace)
        return added, deleted

    def _times(self, began: float, what: str) -> Times:
        found = Times(began, {"answered": time.monotonic() - began})
        end = began + SECONDS
        while True:
            rack = self._onlookers["in the rack's kernel"].when(what, self.vips, began)
            if rack is not None:
                break
            if time.monotonic() > end:
                raise TimeoutError(f"the rack did not follow: {what} of {self.vips}")
            time.sleep(0.005)
        found.steps["in the rack's kernel"] = rack - began
        kernel = self._onlookers["in the node's kernel"].when(what, self.vips, began)
        daemon = self._onlookers["in gobgpd"].when("path", self.vips, began)
        for step, at in (("in the node's kernel", kernel), ("in gobgpd", daemon)):
            if at is not None:
                found.steps[step] = at - began
        # Of several, the last one before what follows from it.
        for step, kind, before in (
            ("UPDATE at the rack", "update", rack),
            ("written", "state", kernel or rack),
        ):
            at = max(
                (e for k, _, e in self._onlookers[step].events if k == kind and began <= e <= before),
                default=None,
            )
            if at is not None:
                found.steps[step] = at - began
        return found


def _breathe() -> None:
    """Some time, and never the same: nothing that ticks is to be met at the same moment of its period."""
    time.sleep(random.uniform(0.4, 0.8))  # noqa: S311


@contextmanager
def way(installation: Installation, kind: RackKind, name: str) -> Iterator[Way]:
    """A lab with one rack of that kind, whose sessions are up; nothing of it stays."""
    lab = Lab(replace(plan(name, kind), pools=POOLS), installation)
    lab.up()
    try:
        with ExitStack() as stack:
            for node in lab.topology.nodes:
                observe.sessions_up(lab, node.name)
            yield Way(lab, stack)
    finally:
        rig.down(name)
