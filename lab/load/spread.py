"""Many short TCP connections: which pods answer, how often, and whether they see who asked."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from lab.load.common import Poll, addresses, dial, greeting, say, why

if TYPE_CHECKING:
    import argparse
    import socket

STALLED = 10.0  # seconds without any answer


class Spread:
    """Connections from all sources in turn, so many at a time."""

    def __init__(self, target: str, port: int, sources: list[str]) -> None:
        self._target, self._port, self._sources = target, port, sources
        self._poll = Poll()
        self._open: dict[int, tuple[socket.socket, str]] = {}
        self.begun = 0
        self.pods: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.wrong_source = 0

    def run(self, count: int, at_once: int) -> None:
        """Makes `count` connections; those that are stalled at last have failed."""
        moved = time.monotonic()
        while (self.begun < count or self._open) and time.monotonic() < moved + STALLED:
            while self.begun < count and len(self._open) < at_once:
                self._begin()
            for number in self._poll.wait(moved + STALLED):
                self._hear(number)
                moved = time.monotonic()
        self.failed["stalled"] += len(self._open) + count - self.begun

    def _begin(self) -> None:
        source = self._sources[self.begun % len(self._sources)]
        self.begun += 1
        try:
            made = dial(self._target, self._port, source)
        except OSError as error:
            self.failed[why(error)] += 1
            return
        self._open[made.fileno()] = made, source
        self._poll.watch(made.fileno())

    def _hear(self, number: int) -> None:
        made, source = self._open[number]
        try:
            pod, client = greeting(made.recv(256))
        except BlockingIOError:
            return
        except OSError as error:
            self.failed[why(error)] += 1
        else:
            self.pods[pod] += 1
            self.wrong_source += bool(source) and client != source
        del self._open[number]
        made.close()


def spread(arguments: argparse.Namespace) -> None:
    """Makes the connections and says who answered."""
    load = Spread(arguments.target, arguments.port, addresses(arguments.sources))
    start = time.monotonic()
    load.run(arguments.count, arguments.at_once)
    say(
        {
            "pods": load.pods,
            "failed": +load.failed,
            "wrong_source": load.wrong_source,
            "seconds": time.monotonic() - start,
        }
    )
