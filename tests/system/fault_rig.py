"""A node whose calls meet single system calls that fail, and what may come of it."""

from __future__ import annotations

import errno
import json
import time
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from tests.system import injector, syscalls
from tests.system.crash_rig import CONTAINER, Scene, Walk, starting
from tests.system.crowd import spread
from tests.system.verdict import complaint
from tests.system.view import View, difference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.system.injector import Ended, Step, SystemCall
    from tests.system.view import Shown

# A call that waits for a lock waits longer, and here nobody else has one.
SLOW = 15.0
READING = syscalls.one_of("pread64 recvfrom recvmsg")


class Place(Enum):
    """Where in a call's life a system call is made."""

    START = "the interpreter's start"
    CALL = "the call"
    ANSWER = "the answer"


@dataclass(frozen=True, slots=True)
class Fault:
    """A system call that fails."""

    step: Step
    errno: int
    place: Place

    def __str__(self) -> str:
        return f"{errno.errorcode[self.errno]} for {syscalls.name(self.step)} in {self.place.value}"

    def complaint(self, verb: str, ended: Ended) -> str:
        """What is wrong with the answer. An interpreter that does not come up, or has no stdout, can't answer."""
        if ended.status and self.place is not Place.CALL:
            return ""
        return complaint(verb, ended)

    def kind(self, ended: Ended) -> str:
        """For the statistics."""
        if not ended.hit:
            return "missed"
        return f"failure in {self.place.value}" if ended.status else "success"


def faults(calls: list[SystemCall], classes: dict[int, Callable[[SystemCall], bool]]) -> list[Fault]:
    """Each call of a recorded run with each error that its class has."""
    early = set(syscalls.steps(starting(calls)))
    answer = set(syscalls.steps(calls, syscalls.answers))

    def place(step: Step) -> Place:
        return Place.START if step in early else Place.ANSWER if step in answer else Place.CALL

    return [
        Fault(step, number, place(step))
        for number, wanted in classes.items()
        for step in syscalls.steps(calls, wanted)
    ]


def matters(call: SystemCall) -> bool:
    """Not the reading of modules, nor what a start always does."""
    if call.path:
        return "/python3" not in call.path and ".so" not in call.path
    return call.number in READING or syscalls.changes(call)


def narrowed(wanted: Callable[[SystemCall], bool]) -> Callable[[SystemCall], bool]:
    return lambda call: matters(call) and wanted(call)


class FaultWalk(Walk):
    """Lets one system call after the other fail; each time the answer and the node must be in order."""

    def fail(self, scenes: list[Scene], faults: list[Fault], seconds: float) -> Counter[str]:
        """How many answers there were of each kind."""
        return sum(spread(self._fail, scenes, faults, seconds), Counter[str]())

    def _fail(self, scene: Scene, faults: Iterator[Fault]) -> Counter[str]:
        view = View(scene.node)
        expected = self.expected(scene, view)
        counts: Counter[str] = Counter()
        for fault in faults:
            self.prepare(scene)
            begun = scene.snapshot(view)
            began = time.monotonic()
            ended = injector.strike(scene.launch(self.verb), fault.step, injector.failing(fault.errno))
            took = time.monotonic() - began
            counts[fault.kind(ended)] += 1
            trouble = fault.complaint(self.verb, ended) or (f"took {took:.0f} s" if took > SLOW else "")
            if fault.place is not Place.ANSWER:
                trouble = trouble or self._not_whole(ended, begun, expected, view)
            self.clean(scene)
            trouble = trouble or difference(expected, scene.snapshot(view))
            assert not trouble, f"{self.verb} with {fault}: {trouble}\n{ended}"
        view.close()
        scene.close()
        return counts

    def _not_whole(self, ended: Ended, begun: Shown, expected: Shown, view: View) -> str:
        """What a call did only half: a success is all of it, a failed ADD nothing that belongs to the pod."""
        now = view.snapshot()
        if self.verb == "DEL":
            return "" if ended.status else difference(expected, now)
        if ended.status:
            parts = ("state", *view.pods)
            return difference({one: begun[one] for one in parts}, {one: now[one] for one in parts})
        shown = "\n".join(now[view.pods[1]])
        addresses = [one["address"] for one in json.loads(ended.stdout)["ips"]]
        missing = [one for one in addresses if one not in shown]
        held = [one for one in now["state"] if CONTAINER in one.split()]
        if missing or len(held) < 1 + len(addresses):
            return f"success, but {missing} missing in the pod, and in the state {held}"
        return ""
