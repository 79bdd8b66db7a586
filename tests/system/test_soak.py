"""Minutes of restarts, flaps, edits and pod churn from a printed seed; then everything is as it should be.

ANYPOD_SOAK_SECONDS says how long (600), ANYPOD_SOAK_SEED repeats what a seed has done.
"""

from __future__ import annotations

import heapq
import os
import random
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.soak_rig import VERSIONS, Soak

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.system.soak_rig import BirdRack, FrrRack, Node

SECONDS = float(os.environ.get("ANYPOD_SOAK_SECONDS", "600"))
SEED = int(os.environ.get("ANYPOD_SOAK_SEED", str(time.time_ns() % 10**9)))
MOST_PODS = 2
GRACE_SECONDS = 2.0  # the last session's lines
QUIET_SECONDS = 6.0
WITNESS = 3  # this node's processes live through it all
GROWTH = {"speaker": 4 << 10, "gobgpd": 12 << 10}  # KiB
ENDS = (signal.SIGTERM, signal.SIGKILL)


class Chaos:
    """One thing after the other, several at a time; nothing is done twice to what is down already."""

    def __init__(self, soak: Soak, seed: int) -> None:
        self.soak = soak
        self.random = random.Random(seed)  # noqa: S311
        self.journal: list[str] = []
        self._began = time.monotonic()
        self._later: list[tuple[float, int, str, Callable[[], object]]] = []
        self._count = 0
        self._actions: dict[Callable[[], None], int] = {
            self.restart_speaker: 3,
            self.restart_gobgpd: 2,
            self.freeze_gobgpd: 1,
            self.restart_rack: 1,
            self.flap_link: 3,
            self.edit: 5,
            self.break_file: 1,
            self.churn_pods: 8,
            self.churn_rack: 3,
            self.flush_routes: 2,
        }

    def run(self, seconds: float) -> None:
        """Does things for so long, then ends what is still going on."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            self._due(now)
            [action] = self.random.choices(list(self._actions), list(self._actions.values()))
            action()
            time.sleep(self.random.uniform(0.1, 1.5))
        while self._later:
            time.sleep(0.05)
            self._due(time.monotonic())

    def _due(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            _, _, key, action = heapq.heappop(self._later)
            self._note(f"{key} back")
            action()

    def _note(self, text: str) -> None:
        self.journal.append(f"{time.monotonic() - self._began:8.2f} {text}")

    def _do(
        self, key: str, what: str, action: Callable[[], object], back: Callable[[], object], most: float
    ) -> None:
        """Does something to `key` that is taken back within `most` seconds, unless something is done to it."""
        if any(key == other for _, _, other, _ in self._later):
            return
        self._note(f"{key}: {what}")
        action()
        self._count += 1
        at = time.monotonic() + self.random.uniform(0, most)
        heapq.heappush(self._later, (at, self._count, key, back))

    def _node(self, *, witness: bool = True) -> Node:
        return self.random.choice([node for n, node in self.soak.nodes.items() if witness or n != WITNESS])

    def _rack(self) -> FrrRack | BirdRack:
        return self.random.choice(list(self.soak.racks.values()))

    # ---- what happens

    def restart_speaker(self) -> None:
        node, number = self._node(witness=False), self.random.choice(ENDS)
        member = node.member
        self._do(
            f"speaker {node.number}",
            number.name,
            lambda: member.kill("speaker", number),
            member.start_speaker,
            3,
        )

    def restart_gobgpd(self) -> None:
        node, number = self._node(witness=False), self.random.choice(ENDS)
        member = node.member
        self._do(
            f"gobgpd {node.number}",
            number.name,
            lambda: member.kill("gobgpd", number),
            member.start_gobgpd,
            3,
        )

    def freeze_gobgpd(self) -> None:
        node = self._node(witness=False)
        process = node.member.processes.get("gobgpd")
        if process is not None:
            self._do(
                f"gobgpd {node.number}",
                "frozen",
                lambda: process.send_signal(signal.SIGSTOP),
                lambda: process.send_signal(signal.SIGCONT),
                self.random.choice((2, 13)),
            )

    def restart_rack(self) -> None:
        rack = self._rack()
        self._do(f"rack {rack.number}", "killed", rack.end, rack.restart, 5)

    def flap_link(self) -> None:
        rack, node = self._rack(), self._node()
        device = f"node{node.number}"
        self._do(
            f"link of {device} to rack {rack.number}",
            "down",
            lambda: rack.ip("link", "set", device, "down"),
            lambda: rack.ip("link", "set", device, "up"),
            3,
        )

    def edit(self) -> None:
        node = self._node()
        match self.random.choice(("extra", "med", "rack")):
            case "extra":
                node.extra = not node.extra
            case "med":
                node.med = self.random.randrange(100)
            case _:
                node.racks ^= {self.random.choice((1, 2))}
        self._note(f"edit of node {node.number}: racks {node.racks}, extra {node.extra}, med {node.med}")
        self._write(node)

    def _write(self, node: Node) -> None:
        node.write()
        if node.number == WITNESS and self.random.random() < 0.5:  # one that has just been started dies of it
            node.member.processes["speaker"].send_signal(signal.SIGHUP)

    def break_file(self) -> None:
        """Only while a speaker runs: none starts with such a file."""
        node = self._node()
        if "speaker" in node.member.processes:
            self._do(
                f"speaker {node.number}",
                "its file is broken",
                lambda: node.member.config.write_text("[bgp]\nasn = 'none'\n"),
                lambda: self._write(node),
                2,
            )

    def churn_pods(self) -> None:
        node = self._node()
        if len(node.pods) < MOST_PODS and self.random.random() < 0.6:
            self._count += 1
            host = self.random.randrange(1, 250)
            six = self.random.random() < 0.5
            pod = f"2001:db8:{node.number}::{host}" if six else f"198.51.{100 + node.number}.{host}"
            self._note(f"pod {pod}")
            if pod not in node.pods.values():
                node.hold(f"c{self._count}", pod)
        elif node.pods:
            container = self.random.choice(sorted(node.pods))
            self._note(f"no pod {node.pods[container]}")
            node.release(container)

    def churn_rack(self) -> None:
        rack = self._rack()
        if not any(key == f"rack {rack.number}" for _, _, key, _ in self._later):
            one = self.random.choice(("10.200.0.0/16", f"10.20{rack.number}.0.0/16"))
            self._note(f"rack {rack.number}: {one}")
            rack.toggle(one)

    def flush_routes(self) -> None:
        node = self._node()
        version = self.random.choice(("-4", "-6"))
        self._note(f"flush {version} at node {node.number}")
        node.member.ip(version, "route", "flush", "proto", "177")


@pytest.fixture
def soak(tmp_path: Path) -> Iterator[Soak]:
    soak = Soak(tmp_path)
    try:
        soak.up()
        yield soak
    finally:
        soak.close()


@pytest.mark.timeout(SECONDS + 400)
def test_after_minutes_of_trouble_everything_is_as_it_should_be(soak: Soak) -> None:
    print(f"repeat with ANYPOD_SOAK_SEED={SEED}")
    chaos = Chaos(soak, SEED)
    witness = soak.nodes[WITNESS]
    soak.settle()
    try:
        chaos.run(SECONDS / 3)
        soak.settle()
        before = {name: usage(witness, name) for name in GROWTH}
        chaos.run(SECONDS * 2 / 3)
        soak.settle()
        after = {name: usage(witness, name) for name in GROWTH}
    except BaseException:
        print("\n".join(chaos.journal))
        raise
    print(f"descriptors and KiB: {before}, then {after}")
    for name, most in GROWTH.items():
        assert abs(after[name][0] - before[name][0]) <= 2, (name, before, after)
        assert after[name][1] - before[name][1] <= most, (name, before, after)
    for node in soak.nodes.values():
        assert "Traceback" not in node.member.log.read_text()
    time.sleep(GRACE_SECONDS)
    explained(witness)
    sizes = [node.member.log.stat().st_size for node in soak.nodes.values()]
    time.sleep(QUIET_SECONDS)
    assert [node.member.log.stat().st_size for node in soak.nodes.values()] == sizes


def usage(node: Node, name: str) -> tuple[int, int]:
    """Descriptors without those of BGP sessions, and resident KiB."""
    descriptors, memory = node.usage(name)
    return descriptors - (node.member.established() if name == "gobgpd" else 0), memory


def told(node: Node, comes: str, goes: str) -> set[str]:
    """What there is according to the log, read from its beginning: prefixes or peers."""
    found: set[str] = set()
    for event, name in re.findall(r'event="?([^"=]+?)"? (?:prefix|peer)=(\S+)', node.member.log.read_text()):
        if re.fullmatch(comes, event):
            found.add(name)
        elif re.fullmatch(goes, event):
            found.discard(name)
    return found


def explained(node: Node) -> None:
    """The log accounts for every route, announcement and session."""
    assert told(node, "route (added|changed)", "route removed") == {str(one) for one in node.kernel()}
    announced = {str(one) for version in VERSIONS for one in node.announced(version)}
    assert told(node, "announced", "withdrawn") == announced
    assert told(node, "peer up", "peer (down|gone|removed|replaced)") == node.peers
