"""Starting servers, load and instruments in namespaces, and what they say as values."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lab import netns
from lab.commands import run
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping

PORT, HTTP_PORT = 7008, 8080
SECONDS = 60.0
ROOT = str(Path(__file__).resolve().parents[2])
# Isolated: nothing of whoever starts it. So it is told where these modules are.
PROGRAM = (
    sys.executable,
    "-I",
    "-c",
    f"import sys; sys.path.insert(0, {ROOT!r}); from lab.load.programs import main; main()",
)


@dataclass(frozen=True, slots=True)
class Spread:
    """How many answers came from each pod, how many failed of what, and how many pods saw another's address."""

    pods: Mapping[str, int]
    failed: Mapping[str, int]
    wrong_source: int


def server(name: str, health: Path) -> tuple[str, ...]:
    """The command line of a pod's server."""
    ports = ("--port", str(PORT), "--http", str(HTTP_PORT))
    return (*PROGRAM, "serve", "--name", name, *ports, "--health", str(health))


def _argv(namespace: str, verb: str, target: str, sources: str, options: Mapping[str, object]) -> list[str]:
    words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    where = ["--port", str(PORT), "--sources", sources, *words]
    return netns.inside(namespace, [*PROGRAM, verb, target, *where])


def spread(namespace: str, target: str, count: int, *, sources: str = "", at_once: int = 100) -> Spread:
    """Makes `count` short TCP connections."""
    argv = _argv(namespace, "spread", target, sources, {"count": count, "at_once": at_once})
    said = json.loads(run(argv, seconds=SECONDS + count / 100).splitlines()[-1])
    return Spread(said["pods"], said["failed"], said["wrong_source"])


def ask(namespace: str, target: str, count: int, *, sources: str = "") -> Spread:
    """Asks `count` questions over UDP, each from a port of its own."""
    argv = _argv(namespace, "ask", target, sources, {"count": count})
    said = json.loads(run(argv, seconds=SECONDS + count / 100).splitlines()[-1])
    counts = said["counts"]
    failed = {kind: counts[kind] for kind in ("lost", "wrong_id", "moved") if kind in counts}
    return Spread(said["pods"], failed, counts.get("wrong_source", 0))


class Running:
    """A program that says what happens, while the body of a `with` runs. Times are monotonic ones."""

    first = ""  # the event that says that it is ready

    def __init__(self, argv: list[str]) -> None:
        self._argv = argv
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.events: list[dict[str, Any]] = []
        self.last: dict[str, Any] = {}

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._argv, stdin=pipe, stdout=pipe, text=True)
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        try:
            if self.first:
                self._answer(self.first)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: object, *_exception: object) -> None:
        try:
            if kind is None and self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()
                self.last = self._answer("end")
        finally:
            self._stop()

    def of(self, kind: str, since: float = 0.0) -> list[dict[str, Any]]:
        """The events of a kind that came since then."""
        return [event for event in list(self.events) if event["event"] == kind and event["at"] >= since]

    def report(self) -> dict[str, Any]:
        """What it says when it is asked now."""
        return self.ask("report", "report")

    def ask(self, line: str, event: str) -> dict[str, Any]:
        """Tells it a line; what it says to that."""
        assert self._process is not None  # noqa: S101
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._answer(event)

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            event = json.loads(line)
            if "at" in event:
                self.events.append(event)
            else:
                self._answers.put(event)
        self._answers.put({"event": ""})

    def _answer(self, event: str) -> dict[str, Any]:
        try:
            said = self._answers.get(timeout=SECONDS)
        except queue.Empty:
            said = {"event": ""}
        if said["event"] != event:
            seen = self.events[-1:]
            raise LabError(f"{' '.join(self._argv)}: did not say {event!r} but {said}; last event: {seen}")
        return said

    def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        process.wait(SECONDS)
        if self._reader is not None:
            self._reader.join(SECONDS)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


class Held(Running):
    """TCP connections that are held; events "broken" and "failed". With `life` seconds each is replaced."""

    first = "held"

    def __init__(
        self,
        namespace: str,
        target: str,
        count: int,
        *,
        sources: str = "",
        interval: float = 1.0,
        life: float = 0.0,
    ) -> None:
        options = {"count": count, "interval": interval, "life": life}
        super().__init__(_argv(namespace, "hold", target, sources, options))


class Flows(Running):
    """UDP flows that keep their ports and ids; events "moved"."""

    first = "held"

    def __init__(
        self, namespace: str, target: str, count: int, *, sources: str = "", interval: float = 1.0
    ) -> None:
        options = {"count": count, "interval": interval}
        super().__init__(_argv(namespace, "flows", target, sources, options))


class Requests(Running):
    """Requests at a rate; events "lost" with when each was begun."""

    def __init__(
        self, namespace: str, target: str, rate: float, *, sources: str = "", patience: float = 0.5
    ) -> None:
        super().__init__(_argv(namespace, "requests", target, sources, {"rate": rate, "patience": patience}))


class Routes(Running):
    """Changes of a namespace's routes; events "new" and "gone"."""

    first = "watching"

    def __init__(self, namespace: str) -> None:
        super().__init__(netns.inside(namespace, [*PROGRAM, "routes"]))

    def prefix(self, prefix: str, since: float = 0.0) -> list[dict[str, Any]]:
        """What happened to one prefix."""
        return [e for e in list(self.events) if e["prefix"] == prefix and e["at"] >= since]
