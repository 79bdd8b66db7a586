"""Watching every change of a kernel's routes, so that a route that was gone for a moment is not missed."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING, Self

from lab.commands import run
from lab.waiting import until

if TYPE_CHECKING:
    from lab.topology import Prefix

MARKER = "198.18.0.1"  # a benchmarking address (RFC 2544); its route says that the monitor has come this far
SECONDS = 10.0


class RouteMonitor:
    """Collects what `ip monitor route` says of a namespace while the body of a `with` runs."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        argv = ["ip", "-n", self._namespace, "monitor", "route"]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()
        try:
            self._await_marker()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        try:
            self._await_marker()
        finally:
            self._stop()

    def removed(self, prefix: Prefix) -> list[str]:
        """The lines that say that a route to this prefix was removed."""
        return [line for line in self.lines if line.startswith("Deleted") and str(prefix) in line.split()]

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            self.lines.append(line.rstrip())

    def _await_marker(self) -> None:
        """Makes and removes the marker's route until the monitor has told of it."""
        seen = len(self.lines)

        def mark() -> bool:
            for verb in ("add", "delete"):
                run(["ip", "-n", self._namespace, "route", verb, "blackhole", MARKER])
            return any(MARKER in line for line in self.lines[seen:])

        until(mark, bool, seconds=SECONDS, what="the route monitor speaks", interval=0.05)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(SECONDS)
        if self._reader is not None:
            self._reader.join(SECONDS)
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
