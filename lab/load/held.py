"""TCP connections that live: each says something every now and then, and one that breaks is told of at once.

With a life, each ends after about so long and another takes its place, as clients of a service do.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.load.common import Poll, addresses, dial, greeting, say, why

if TYPE_CHECKING:
    import argparse
    import socket

PATIENCE = 3.0  # seconds for an answer, and for a new connection
AT_ONCE = 200  # that are being made at a time
WORD = b"0123456789abcdef"


@dataclass(slots=True)
class Connection:
    """One of them. Times are monotonic; `waits` since when for an answer, 0: for none."""

    socket: socket.socket
    end: float
    waits: float
    pod: str = ""  # until it has said its name


class Held:
    """All of them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._where = arguments.target, arguments.port
        self._sources = addresses(arguments.sources)
        self._interval, self._life, self._missing = arguments.interval, arguments.life, arguments.count
        self._poll = Poll()
        self._open: dict[int, Connection] = {}
        self._due: list[tuple[float, int, Connection]] = []
        self._number = 0
        self._young = 0
        self._random = random.Random(1)  # noqa: S311
        self._counts: Counter[str] = Counter()

    def run(self) -> None:
        """Holds them until stdin ends; a word on stdin asks for a report."""
        told = False
        while not self._poll.stopped:
            while self._missing and self._young < AT_ONCE:
                self._begin()
            if not (told or self._missing or self._young):
                told = True
                self._report("held")
            for number in self._poll.wait(self._due[0][0] if self._due else time.monotonic() + 1.0):
                self._hear(self._open[number])
            self._tick()
            while self._poll.lines:
                self._report(self._poll.lines.pop())
        self._report("end")

    def _report(self, event: str) -> None:
        pods = Counter(one.pod for one in self._open.values() if one.pod)
        say({"event": event, "pods": pods, "counts": self._counts})

    def _begin(self) -> None:
        self._missing -= 1
        self._counts["begun"] += 1
        now = time.monotonic()
        try:
            made = dial(*self._where, self._sources[self._counts["begun"] % len(self._sources)])
        except OSError as error:
            self._tell("", why(error))
            return
        life = self._life * self._random.uniform(0.5, 1.0) if self._life else float("inf")
        one = self._open[made.fileno()] = Connection(made, now + life, now)
        self._young += 1
        self._poll.watch(made.fileno())
        self._look_at(one, now + PATIENCE)

    def _look_at(self, one: Connection, at: float) -> None:
        self._number += 1
        heapq.heappush(self._due, (at, self._number, one))

    def _hear(self, one: Connection) -> None:
        try:
            data = one.socket.recv(256)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(one, why(error))
            return
        if not data:
            self._lose(one, "closed")
            return
        one.waits = 0.0
        if not one.pod:
            one.pod, _ = greeting(data)
            self._young -= 1
            self._look_at(one, time.monotonic() + self._interval * self._random.random())

    def _tick(self) -> None:
        """Does what is due: words, ends, and losing patience."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, _, one = heapq.heappop(self._due)
            if one.socket.fileno() < 0:
                continue
            if one.waits and now >= one.waits + PATIENCE:
                self._lose(one, "silent")
            elif one.pod and not one.waits and now >= one.end:
                self._close(one)
                self._counts["ended"] += 1
                self._missing += 1
            elif one.pod:
                self._speak(one, now)

    def _speak(self, one: Connection, now: float) -> None:
        """A word, unless the last one has no answer yet."""
        if not one.waits:
            try:
                one.socket.send(WORD)
            except OSError as error:
                self._lose(one, why(error))
                return
            one.waits = now
        later = now + self._interval
        self._look_at(one, min(later, one.end) if now < one.end else later)

    def _lose(self, one: Connection, reason: str) -> None:
        self._close(one)
        self._tell(one.pod, reason)

    def _tell(self, pod: str, reason: str) -> None:
        """A connection broke, or without a pod was never made; with a life another is begun for it."""
        event = "broken" if pod else "failed"
        self._counts[event] += 1
        self._missing += bool(self._life)
        say({"event": event, "at": time.monotonic(), "pod": pod, "why": reason})

    def _close(self, one: Connection) -> None:
        self._young -= not one.pod
        del self._open[one.socket.fileno()]
        one.socket.close()


def hold(arguments: argparse.Namespace) -> None:
    """Holds connections."""
    Held(arguments).run()
