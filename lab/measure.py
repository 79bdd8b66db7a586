"""Asking the probe inside namespaces, answers as values."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lab import netns
from lab.commands import run
from lab.errors import LabError

PORT = 7007
PROBE = (sys.executable, "-I", str(Path(__file__).with_name("probe.py")))


@dataclass(frozen=True, slots=True)
class Reply:
    """What the far side saw of one datagram; `error` is "" when it answered."""

    source: str
    ttl: int
    error: str


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a trace: who answered at this TTL, and whether it was the far side itself."""

    address: str
    arrived: bool


@dataclass(frozen=True, slots=True)
class Losses:
    """What a loss meter counted; the gap is the longest time without an answer, in milliseconds."""

    sent: int
    lost: int
    longest_gap_ms: int


def server() -> tuple[str, ...]:
    """The command line of the echo server."""
    return (*PROBE, "serve", "--port", str(PORT))


def ask(namespace: str, address: str, *, source: str = "", timeout: float = 1.0) -> Reply:
    """One question from a namespace to the echo server at `address`."""
    argv = [*PROBE, "ask", address, "--port", str(PORT), "--source", source, "--timeout", str(timeout)]
    answer = _last(run(netns.inside(namespace, argv)))
    error = answer.get("error") or (f"refused by {answer['router']}" if "router" in answer else "")
    return Reply(str(answer.get("source", "")), int(answer.get("ttl", 0)), str(error))


def trace(namespace: str, address: str, *, source: str = "") -> tuple[Hop, ...]:
    """The routers on the path from a namespace to `address`, the far side last if it was reached."""
    argv = [*PROBE, "trace", address, "--port", str(PORT), "--source", source]
    hops = _last(run(netns.inside(namespace, argv)))["hops"]
    return tuple(Hop(str(h.get("router") or h.get("from") or "no answer"), "source" in h) for h in hops)


class LossMeter:
    """Counts lost questions while the body of a `with` runs; `losses` is there afterwards."""

    def __init__(self, namespace: str, address: str, *, rate: float = 50.0, seconds: float = 120.0) -> None:
        argv = [*PROBE, "loss", address, "--port", str(PORT), "--rate", str(rate), "--seconds", str(seconds)]
        self._argv = netns.inside(namespace, argv)
        self._process: subprocess.Popen[str] | None = None
        self.losses = Losses(0, 0, 0)

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._argv, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout is not None  # noqa: S101
        if not self._process.stdout.readline():
            raise LabError(f"the loss meter did not start: {' '.join(self._argv)}")
        return self

    def __exit__(self, *_exception: object) -> None:
        process = self._process
        if process is None:
            return
        try:
            stdout, _stderr = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise LabError("the loss meter did not end") from None
        counted = _last(stdout)
        self.losses = Losses(int(counted["sent"]), int(counted["lost"]), int(counted["longest_gap_ms"]))


def _last(stdout: str) -> dict[str, Any]:
    lines = stdout.splitlines()
    answer = json.loads(lines[-1]) if lines else None
    if not isinstance(answer, dict):
        raise LabError(f"the probe said nothing to be understood: {stdout[:200]!r}")
    return answer
