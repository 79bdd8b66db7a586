"""One run: two namespaces, the sender in one and a contestant in the other; how long, and what it cost."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.routes import contestants, sender
from lab import netns
from lab.daemons import FRR_PARENTS, FRR_USER
from lab.errors import LabError
from lab.processes import end_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.routes.contestants import Contestant
    from lab.processes import Program

SETTLE = 4.0  # seconds between the session and the first UPDATE: what a start brings along is over
ANSWER = 150.0  # seconds
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Result:
    """Seconds until the last route was there, and gone again; processor seconds and peak MiB of each program."""

    seconds: float
    taken: float  # until TCP had taken the sender's last byte
    withdrawn: float
    cpu: dict[str, float]
    memory: dict[str, float]


def _json(process: subprocess.Popen[str], line: str = "") -> object:
    assert process.stdin is not None and process.stdout is not None  # noqa: PT018, S101 - pipes, as asked for
    if line:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    ready, _, _ = select.select([process.stdout], [], [], ANSWER)
    answer = process.stdout.readline() if ready else ""
    if not answer:
        raise LabError(f"no answer from {process.args!r}")
    return json.loads(answer)


@contextlib.contextmanager
def _helper(namespace: str, *argv: str) -> Iterator[subprocess.Popen[str]]:
    command = netns.inside(namespace, [sys.executable, "-m", *argv])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def namespaces() -> Iterator[tuple[str, str]]:
    """The sender's and the receiver's, with a link between them."""
    names = f"anypod-routes{os.getpid()}-tx", f"anypod-routes{os.getpid()}-rx"
    try:
        for name in names:
            netns.add(name)
        left, right = names
        subprocess.run(
            ["ip", "-n", left, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", right],
            check=True,
        )
        for name, address in ((left, sender.ADDRESS), (right, contestants.ADDRESS)):
            subprocess.run(["ip", "-n", name, "address", "add", f"{address}/24", "dev", "wire"], check=True)
            subprocess.run(["ip", "-n", name, "link", "set", "wire", "up"], check=True)
        yield names
    finally:
        end_all([name for name in names if name in netns.names()])
        for name in names:
            netns.delete(name)


@contextlib.contextmanager
def _place(namespace: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="anypod-routes-") as directory:
        for parent in FRR_PARENTS if FRR_PARENTS[0].is_dir() else ():
            own = parent / namespace
            own.mkdir(parents=True)
            shutil.chown(own, FRR_USER, FRR_USER)
        try:
            yield Path(directory)
        finally:
            for parent in FRR_PARENTS:
                shutil.rmtree(parent / namespace, ignore_errors=True)


@contextlib.contextmanager
def _ended(names: Sequence[str]) -> Iterator[None]:
    try:
        yield
    finally:
        end_all(names)


def _cpu(pids: dict[str, int]) -> dict[str, float]:
    found = {}
    for name, pid in pids.items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found[name] = (int(fields[11]) + int(fields[12])) / TICKS
    return found


def _peak(pids: dict[str, int]) -> dict[str, float]:
    found = {}
    for name, pid in pids.items():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        found[name] = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    return found


def _start(programs: Sequence[Program]) -> dict[str, int]:
    return {program.name: program.start() for program in programs}


def _last_words(program: Program) -> str:
    """Why it ended: a Go program's panic, else its last line."""
    lines = program.last_words(100)
    return next((line for line in lines if line.startswith("panic:")), lines[-1] if lines else "")


def run(contestant: Contestant, count: int, command: tuple[str, ...] = ()) -> Result:
    """One race over so many paths."""
    with namespaces() as (left, right), _place(right) as place:
        with _helper(left, "bench.routes.sender", str(count)) as peer, _ended([left, right]):
            programs = contestant.programs(right, place, command)
            pids = _start(programs)
            time.sleep(SETTLE)
            for program in programs:
                if program.pid() is None:
                    raise LabError(f"{program.name} has ended: {_last_words(program)}")
            _json(peer)
            time.sleep(SETTLE)
            with _helper(right, "bench.routes.counter") as counter:
                base = _json(counter)
                assert isinstance(base, int)  # noqa: S101
                before = _cpu(pids)
                sent = _json(peer, "send")
                there = _json(counter, str(base + count))
                after = _cpu(pids)
                withdrawn = _json(peer, "withdraw")
                gone = _json(counter, str(base))
                memory = _peak(pids)
        assert isinstance(sent, dict) and isinstance(withdrawn, dict)  # noqa: PT018, S101
        if not isinstance(there, float) or not isinstance(gone, float):
            raise LabError(f"{contestant.name}: not all routes came and went")
        cpu = {name: after[name] - before[name] for name in pids}
        return Result(
            there - sent["start"], sent["taken"] - sent["start"], gone - withdrawn["start"], cpu, memory
        )
