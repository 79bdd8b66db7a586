"""Runs the fuzzer's cases on a node of its own, and says what an answer or a leftover has against it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cni.link import link_delete
from tests.system import fuzz_case
from tests.system.fuzz_case import Case, Ground
from tests.system.fuzz_state import damage
from tests.system.verdict import complaint
from tests.system.view import View, held
from tests.system.zygote import Zygote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.injector import Ended
    from tests.system.plugin_node import Node

# Every so many cases, the executable itself is run.
EXECUTED = 50
SLOW = 30.0
# A longer variable is more than execve(2) takes.
MAX_VARIABLE = 100_000
REFERENCE_IPAM = Path("/usr/lib/cni/static")


def ground(node: Node, home: Path) -> Ground:
    """Makes what the cases point at. Everything that may be written to is below `home`."""
    (home / "file").write_text("nameserver 10.0.0.10\n")
    os.mkfifo(home / "fifo")
    (home / "loop").symlink_to("loop")
    commands = home / "commands"
    commands.mkdir()
    if REFERENCE_IPAM.exists():
        (commands / "static").symlink_to(REFERENCE_IPAM)
    pods = [f"/run/netns/{pod}" for pod in node.pods]
    own = (
        f"/run/netns/{node.name}",
        "/proc/self/ns/net",
        "/proc/1/ns/net",
        "/proc/self/ns/mnt",
        "/proc/self/fd/0",
    )
    odd = (
        str(home / "file"),
        str(home / "fifo"),
        str(home / "loop"),
        str(home),
        "/dev/null",
        "/run/netns/none",
        "x",
    )
    texts = (
        "",
        " ",
        "/",
        "/run/netns/../netns/none",
        "/" + "x" * 300,
        "/run/" + "y" * 5000,
        "/a\udcff",
        "/\u00e9",
    )
    paths = [str(node.state)] * 4 + [
        *(
            str(home / name)
            for name in ("other", "deep/er/still", "sp ace", "\u00e9", "file", "fifo", "loop", "z" * 300)
        ),
        *(f"{node.state}{end}" for end in ("/", "/.", "/../other", "//", "\n", "/state.db")),
        *(
            "/proc/x",
            "/sys",
            "/",
            "/dev/null",
            "/dev/zero",
            "/usr/x",
            "relative",
            "",
            "/" + "p/" * 700,
            "/\x00x",
        ),
    ]
    return Ground(node.state, pods[0], (*pods, *pods, *own, *odd, *texts), paths, commands)


@dataclass
class Fuzzer:
    """One node with two pods, and the plugin beside it."""

    node: Node
    home: Path
    seed: int
    ground: Ground = field(init=False)
    view: View = field(init=False)
    zygote: Zygote = field(init=False)
    counts: Counter[str] = field(default_factory=Counter)
    bridge: list[str] = field(default_factory=list)

    def work(self, numbers: Iterator[int]) -> Counter[str]:
        """Plays the cases of these numbers; AssertionError shows the first that fails, whole."""
        self.ground = ground(self.node, self.home)
        self.view = View(self.node)
        self.zygote = Zygote(self.node.plugin, self.home)
        self.plain("ADD")
        self.plain("DEL")
        shutil.copytree(self.node.state, self.home / "pristine")
        for number in numbers:
            case = fuzz_case.make(self.seed, number, self.ground)
            trouble = self.play(case)
            assert not trouble, f"{trouble}\n{shown(self.seed, case)}"
        self.zygote.close()
        self.view.close()
        return self.counts

    def play(self, case: Case) -> str:
        """What is wrong with the case's answer, or with what it left behind."""
        if case.attached:
            self.plain("ADD")
        if case.damage:
            case.what.append(damage(case.damage, self.ground.state))
        before = self.traces(case) if case.attached else {}
        started = time.monotonic()
        ended = self.call(case)
        took = time.monotonic() - started
        verb = case.verb if case.verb in fuzz_case.VERBS else "another verb"
        self.counts[f"{verb} {'failed' if ended.status else 'succeeded'}"] += 1
        trouble = complaint(case.verb, ended) or (f"took {took:.0f} s" if took > SLOW else "")
        if not trouble and case.verb == "ADD" and not ended.status:
            trouble = self.deleted(case)
        elif not trouble and case.verb not in ("DEL", "GC") and not case.damage:
            # A damaged state file may be rebuilt by the call.
            trouble = changed(before, self.traces(case))
        trouble = self.clean(case) or trouble
        return f"{trouble}\n{ended}" if trouble else ""

    def deleted(self, case: Case) -> str:
        """Undoes an ADD with what it was called with."""
        ended = self.zygote.call(case.env | {b"CNI_COMMAND": b"DEL"}, case.stdin)
        return f"the DEL of it failed: {ended}" if ended.status or ended.stdout else ""

    def plain(self, verb: str) -> None:
        """A call that nothing is wrong with, and that must succeed."""
        stdin = json.dumps(fuzz_case.plain(self.ground)).encode()
        ended = self.zygote.call(fuzz_case.environment(self.ground, verb), stdin)
        assert ended.status == 0, (verb, ended)

    def call(self, case: Case) -> Ended:
        runnable = all(len(one) < MAX_VARIABLE for one in (*case.env.values(), case.stdin))
        if case.number % EXECUTED or not runnable:
            return self.zygote.call(case.env, case.stdin)
        self.counts["run by the executable"] += 1
        # A zygote sees the machine through its own namespaces, so the executable does, too.
        return self.zygote.execute(case.env, case.stdin)

    def clean(self, case: Case) -> str:
        """Puts the node back to where it began; what was left although a plain DEL ran."""
        if case.damage:
            shutil.rmtree(self.ground.state, ignore_errors=True)
            shutil.copytree(self.home / "pristine", self.ground.state)
        if case.attached or case.damage:
            self.plain("DEL")
        left = changed({}, self.traces(case))
        if left:
            self.plain("DEL")
        for other in self.elsewhere(case):
            shutil.rmtree(other)
        # A mutated netconf gave the bridge addresses, and they would be in the way of the next.
        bridge = self.view.addresses(self.node.name, "cni0")
        self.bridge = self.bridge or bridge
        kept = ("lo", "cni0") if bridge == self.bridge else ("lo",)
        for link in self.view.links(self.node.name):
            if link.name not in kept:
                with suppress(OSError):
                    self.view.request(self.node.name, link_delete(link.index))
        return f"left behind: {left}" if left else ""

    def elsewhere(self, case: Case) -> list[Path]:
        """The state directory that the netconf names, where it is another one of ours."""
        named = case.conf().get("stateDir")
        if not isinstance(named, str) or "\x00" in named or not named.startswith(f"{self.home}/"):
            return []
        path = Path(os.path.normpath(named))
        return [path] if path != self.ground.state and os.path.isfile(f"{path}/state.db") else []

    def traces(self, case: Case) -> dict[str, list[str]]:
        """What belongs to attachments: of the node's own part, bridges and sets of subnets, nothing."""
        found = {
            pod: [link.name for link in self.view.links(pod) if link.name != "lo"] for pod in self.node.pods
        }
        links = self.view.links(self.node.name)
        found["links"] = [f"{one.name} {one.alias}" for one in links if one.kind in ("veth", "ifb")]
        found["elements"] = self.view.elements()
        if not case.damage:
            found["state"] = held(self.ground.state)
        # A new state file begins with the links that stand, so for a pod that is attached it tells of that.
        if not case.damage and not case.attached:
            for other in self.elsewhere(case):
                # Where SQLite can't open it, the plugin can't either.
                with suppress(OSError, ValueError, sqlite3.Error):
                    found[str(other)] = held(other)
        return {place: sorted(what) for place, what in found.items() if what}


def changed(before: dict[str, list[str]], after: dict[str, list[str]]) -> str:
    """How the traces differ; empty where they don't."""
    return "" if before == after else f"{before} became {after}"


def shown(seed: int, case: Case) -> str:
    """The whole case, as text that Python reads back."""
    again = f"ANYPOD_FUZZ_SEED={seed} ANYPOD_FUZZ_CASES={case.number}-{case.number}"
    return (
        f"repeat it with {again}\nmade by: {', '.join(case.what)}\nenv = {case.env!r}\nstdin = {case.stdin!r}"
    )
