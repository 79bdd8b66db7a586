"""Requests at a fixed rate, each on a new connection: which were lost, and when. Later ones do not wait for them."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.load.common import Poll, addresses, dial, greeting, say, why

if TYPE_CHECKING:
    import argparse
    import socket

WORD = b"?"


@dataclass(slots=True)
class Request:
    """One that was begun (monotonic)."""

    socket: socket.socket
    begun: float
    pod: str = ""


class Requests:
    """All of them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._where = arguments.target, arguments.port
        self._sources = addresses(arguments.sources)
        self._rate, self._patience = arguments.rate, arguments.patience
        self._poll = Poll()
        self._open: dict[int, Request] = {}
        self._order: deque[Request] = deque()
        self._sent = 0
        self._pods: Counter[str] = Counter()
        self._lost = 0

    def run(self) -> None:
        """Goes on until stdin ends, then waits for the last answers."""
        start = time.monotonic()
        while not self._poll.stopped:
            due = start + self._sent / self._rate
            if time.monotonic() >= due:
                self._begin()
                continue
            self._hear(due)
            while self._poll.lines:
                self._report(self._poll.lines.pop())
        while self._open:
            self._hear(self._order[0].begun + self._patience if self._order else 0.0)
        self._report("end")

    def _report(self, event: str) -> None:
        say({"event": event, "pods": self._pods, "sent": self._sent, "lost": self._lost})

    def _begin(self) -> None:
        source = self._sources[self._sent % len(self._sources)]
        self._sent += 1
        now = time.monotonic()
        try:
            made = dial(*self._where, source)
        except OSError as error:
            self._lose(now, "", why(error))
            return
        one = self._open[made.fileno()] = Request(made, now)
        self._order.append(one)
        self._poll.watch(made.fileno())

    def _hear(self, until: float) -> None:
        for number in self._poll.wait(until):
            self._answer(self._open[number])
        old = time.monotonic() - self._patience
        while self._order and (self._order[0].socket.fileno() < 0 or self._order[0].begun <= old):
            one = self._order.popleft()
            if one.socket.fileno() >= 0:
                self._close(one)
                self._lose(one.begun, one.pod, "silent")

    def _answer(self, one: Request) -> None:
        """The pod's name is the first answer, its echo the second; then the request is done."""
        try:
            data = one.socket.recv(256)
            if data and not one.pod:
                one.pod, _ = greeting(data)
                one.socket.send(WORD)
                return
        except BlockingIOError:
            return
        except OSError as error:
            self._close(one)
            self._lose(one.begun, one.pod, why(error))
            return
        self._close(one)
        if data == WORD:
            self._pods[one.pod] += 1
        else:
            self._lose(one.begun, one.pod, "closed")

    def _close(self, one: Request) -> None:
        del self._open[one.socket.fileno()]
        one.socket.close()

    def _lose(self, begun: float, pod: str, reason: str) -> None:
        self._lost += 1
        say({"event": "lost", "begun": begun, "at": time.monotonic(), "pod": pod, "why": reason})


def requests(arguments: argparse.Namespace) -> None:
    """Makes requests."""
    Requests(arguments).run()
