"""UDP: questions of one datagram, and flows that keep their ports and a connection id, as QUIC's do."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING

from lab.load.common import Poll, addresses, family_of, say

if TYPE_CHECKING:
    import argparse

PATIENCE = 2.0  # seconds for an answer
AT_ONCE = 200  # questions on their way


def _open(target: str, port: int, source: str) -> socket.socket:
    made = socket.socket(family_of(target), socket.SOCK_DGRAM)
    made.setblocking(False)
    if source:
        made.bind((source, 0))
    made.connect((target, port))
    return made


class Flows:
    """UDP sockets, each with an id that it says and wants to hear again."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._where = arguments.target, arguments.port
        self._sources = addresses(arguments.sources)
        self._poll = Poll()
        self._sockets: dict[int, tuple[socket.socket, str, str]] = {}  # with its id and source
        self.pods: dict[str, str] = {}  # by id
        self.counts: Counter[str] = Counter()

    def open(self, name: str) -> socket.socket:
        """A flow of that id."""
        source = self._sources[len(self.pods) % len(self._sources)]
        made = _open(*self._where, source)
        self._sockets[made.fileno()] = made, name, source
        self._poll.watch(made.fileno())
        self.pods[name] = ""
        return made

    def close(self, number: int) -> None:
        """Ends a flow; which pod it had stays known."""
        made, _, _ = self._sockets.pop(number)
        made.close()

    def say(self, made: socket.socket, name: str) -> None:
        """Sends its id; an ICMP error of an earlier datagram is an answer that is missing."""
        self.counts["sent"] += 1
        for _ in range(2):
            with contextlib.suppress(OSError):
                made.send(name.encode())
                return

    def hear(self, until: float) -> list[int]:
        """Answers that come until then, as the descriptors of their flows; reports those of another pod."""
        heard = []
        for number in self._poll.wait(until):
            made, name, source = self._sockets[number]
            try:
                pod, client, same = made.recv(256).decode().split(" ")
            except OSError:
                self.counts["refused"] += 1
                continue
            self.counts["answered"] += 1
            self.counts["wrong_source"] += bool(source) and client != source
            self.counts["wrong_id"] += same != name
            if self.pods[name] not in {"", pod}:
                self.counts["moved"] += 1
                say({"event": "moved", "at": time.monotonic(), "from": self.pods[name], "to": pod})
            self.pods[name] = pod
            heard.append(number)
        return heard

    def report(self, event: str) -> None:
        """How many flows each pod has, and the counts."""
        pods = Counter(pod for pod in self.pods.values() if pod)
        say({"event": event, "pods": pods, "counts": +self.counts})

    def hold(self, count: int, interval: float) -> None:
        """Keeps so many flows, each says its id every `interval` seconds, until stdin ends."""
        flows = [(self.open(f"id{number}"), f"id{number}") for number in range(count)]
        spacing, turn, told = interval / count, 0, False
        start = time.monotonic()
        while not self._poll.stopped:
            due = start + turn * spacing
            if time.monotonic() >= due:
                self.say(*flows[turn % count])
                turn += 1
            self.hear(due)
            if not told and all(self.pods.values()):
                told = True
                self.report("held")
            while self._poll.lines:
                self.report(self._poll.lines.pop())
        self.report("end")

    def ask(self, count: int) -> None:
        """So many questions, each from a port of its own."""
        asked = 0
        heard = time.monotonic()
        while (asked < count or self._sockets) and time.monotonic() < heard + PATIENCE:
            while asked < count and len(self._sockets) < AT_ONCE:
                asked += 1
                self.say(self.open(f"q{asked}"), f"q{asked}")
            for number in self.hear(heard + PATIENCE):
                self.close(number)
                heard = time.monotonic()
        self.counts["lost"] = count - self.counts["answered"]
        self.report("end")


def flows(arguments: argparse.Namespace) -> None:
    """Keeps flows."""
    Flows(arguments).hold(arguments.count, arguments.interval)


def ask(arguments: argparse.Namespace) -> None:
    """Asks questions."""
    Flows(arguments).ask(arguments.count)
