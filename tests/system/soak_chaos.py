"""What happens to the nodes and racks of the soak: one thing after the other, several at a time, from a seed."""

from __future__ import annotations

import heapq
import random
import signal
import subprocess
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from tests.system.soak_edits import EDITS, SECRETS
from tests.system.soak_pods import INSIDE, OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.system.soak_racks import BirdRack, FrrRack
    from tests.system.soak_rig import Node, Soak

MOST_PODS = 12
WITNESS = 3  # this node's processes live through it all
ENDS = (signal.SIGTERM, signal.SIGKILL)


class Flap(NamedTuple):
    """A node's own end of its link to a rack goes down or up, `at` in seconds since 1970."""

    at: float
    node: int
    rack: int
    up: bool


class Chaos:
    """Nothing is done twice to what is down already."""

    def __init__(self, soak: Soak, seed: int) -> None:
        self.soak = soak
        self.random = random.Random(seed)  # noqa: S311
        self.journal: list[str] = []
        self.flushers: set[int] = set()  # processes that took routes out of a kernel
        self.flaps: list[Flap] = []
        self._later: list[tuple[float, int, str, Callable[[], object]]] = []
        self._count = 0
        self._actions: dict[Callable[[], None], int] = {
            self.restart_speaker: 3,
            self.restart_gobgpd: 2,
            self.freeze_gobgpd: 1,
            self.restart_rack: 1,
            self.flap_link: 3,
            self.edit: 6,
            self.change_password: 1,
            self.break_file: 1,
            self.churn_pods: 10,
            self.turn_server: 3,
            self.churn_rack: 3,
            self.flush_routes: 2,
            self.ask: 3,
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
        self.journal.append(f"{datetime.now(UTC):%H:%M:%S.%f} {text}")  # as the speakers' logs have it

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

    # ---- restarts and links

    def restart_speaker(self) -> None:
        node, number = self._node(witness=False), self.random.choice(ENDS)
        self._do(
            f"speaker {node.number}",
            number.name,
            lambda: node.end_speaker(number),
            node.start_speaker,
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
        began = time.time()

        def freeze(running: subprocess.Popen[bytes]) -> None:
            running.send_signal(signal.SIGSTOP)

        def thaw(running: subprocess.Popen[bytes]) -> None:
            running.send_signal(signal.SIGCONT)
            node.freezes.append((began, time.time()))

        if process is not None:
            most = self.random.choice((2, 13))
            self._do(f"gobgpd {node.number}", "frozen", lambda: freeze(process), lambda: thaw(process), most)

    def restart_rack(self) -> None:
        rack = self._rack()
        self._do(f"rack {rack.number}", "killed", rack.end, rack.restart, 5)

    def flap_link(self) -> None:
        """At the rack's end the node loses the carrier, at its own the kernel loses routes without a word."""
        rack, node = self._rack(), self._node()
        here = self.random.random() < 0.4
        member, device = (node.member, f"rack{rack.number}") if here else (rack, f"node{node.number}")

        def turn(state: str) -> None:
            if here:
                self.flaps.append(Flap(time.time(), node.number, rack.number, state == "up"))
            member.ip("link", "set", device, state)

        self._do(
            f"link of node {node.number} to rack {rack.number}",
            f"down at the {'node' if here else 'rack'}",
            lambda: turn("down"),
            lambda: turn("up"),
            3,
        )

    def flush_routes(self) -> None:
        """Of learned ones, of VIPs, or what the routes of VIPs lead to."""
        node = self._node()
        version = self.random.choice(("-4", "-6"))
        words = self.random.choice(
            (
                (version, "route", "flush", "proto", "177"),
                (version, "route", "flush", "proto", "177"),
                (version, "route", "flush", "proto", "178"),
                ("nexthop", "flush", "proto", "178"),
            )
        )
        self._note(f"{' '.join(words)} at node {node.number}")
        argv = ["ip", "-n", node.member.ns, *words]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            self.flushers.add(process.pid)  # the kernel tells whose hand it was

    # ---- configurations

    def edit(self) -> None:
        node = self._node()
        settings = node.settings
        text = self.random.choice(EDITS)(settings, self.random)
        self._note(f"edit of node {node.number}: {text}")
        self._write(node)

    def _write(self, node: Node) -> None:
        node.write()
        if node.number == WITNESS and self.random.random() < 0.5:  # one that has just been started dies of it
            node.member.processes["speaker"].send_signal(signal.SIGHUP)

    def break_file(self) -> None:
        node = self._node()
        if node.has_read():
            self._do(
                f"speaker {node.number}",
                "its file is broken",
                lambda: node.member.config.write_text("[bgp]\nasn = 'none'\n"),
                lambda: self._write(node),
                2,
            )

    def change_password(self) -> None:
        """At one end first, and then at the other."""
        rack, node = self._rack(), self._node()
        secret = self.random.choice(SECRETS)

        def at_node() -> None:
            node.settings.sides[rack.number].password = secret
            self._write(node)

        def at_rack() -> None:
            rack.agree(node.number, secret)

        first, second = at_node, at_rack
        if self.random.random() < 0.5:
            first, second = second, first
        self._do(f"password of node {node.number} and rack {rack.number}", f"'{secret}'", first, second, 4)

    # ---- pods, racks' prefixes, onlookers

    def churn_pods(self) -> None:
        node = self._node()
        pods = node.pods
        if len(pods.names) < MOST_PODS and self.random.random() < 0.55:
            kind = self.random.choice((INSIDE, INSIDE, OUTSIDE, "invented"))
            if kind == "invented":
                host = self.random.randrange(1, 250)
                six = self.random.random() < 0.5
                pod = f"2001:db8:{node.number}::{host}" if six else f"198.51.{100 + node.number}.{host}"
                if all(pod not in held for held in node.settings.addresses.values()):
                    self._note(f"node {node.number}: {pods.invent(pod)} {pod}")
            else:
                vips = [vip for vip in node.settings.vips if kind == INSIDE and self.random.random() < 0.5]
                container = pods.add(kind, *vips)
                self._note(f"node {node.number}: {container} {node.settings.addresses[container]} {vips}")
        elif pods.names:
            container = self.random.choice(pods.names)
            first = self.random.random() < 0.3
            self._note(f"node {node.number}: no {container}{', its namespace first' if first else ''}")
            pods.remove(container, namespace_first=first)

    def turn_server(self) -> None:
        """What listens in a pod with VIPs ends, or begins again."""
        node = self._node()
        if node.settings.endpoints:
            container = self.random.choice(list(node.settings.endpoints))
            listens = node.pods.turn(container)
            self._note(f"node {node.number}: {container} {'serves' if listens else 'does not serve'}")

    def remove_pods(self) -> None:
        """All of them, everywhere."""
        for node in self.soak.nodes.values():
            for container in node.pods.names:
                node.pods.remove(container)

    def churn_rack(self) -> None:
        rack = self._rack()
        one = self.random.choice(("10.200.0.0/16", f"10.20{rack.number}.0.0/16"))
        self._note(f"rack {rack.number}: {one}")
        rack.toggle(one)

    def ask(self) -> None:
        """A look at the metrics and the status of a node, as monitoring does."""
        node = self._node()
        self._note(f"node {node.number} is asked")
        speaks = node.speaks()
        shown, values = node.status(), node.metrics()
        if speaks:
            assert shown["asn"] == 65000 + node.number, shown
            assert values["anypod_passes_total"] > 0, values
