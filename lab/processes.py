"""Long-running programs in namespaces: started detached, found by their pid file, ended within a bound."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab import netns
from lab.errors import LabError
from lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

START_SECONDS = 20.0
TERM_SECONDS = 5.0
KILL_SECONDS = 5.0
PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class Program:
    """A program that belongs into a namespace; `directory` gets its pid file and its log."""

    name: str
    namespace: str
    argv: tuple[str, ...]
    directory: Path
    socket: Path | None = None  # left by one that was killed, and in the way of the next
    awaited: bool = False  # the next program is not started before the socket is there

    @property
    def log(self) -> Path:
        """Where its stdout and stderr go."""
        return self.directory / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """Where its process id is kept, for later commands."""
        return self.directory / f"{self.name}.pid"

    def start(self) -> int:
        """Starts it in a session of its own; returns its process id."""
        if self.pid() is not None:
            raise LabError(f"{self.name} already runs in {self.namespace}")
        executable = shutil.which("ip")
        if executable is None:
            raise LabError("ip is not installed; install it with: apt-get install iproute2")
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self.log), append, PRIVATE),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        argv = netns.inside(self.namespace, self.argv)
        if self.socket is not None:
            self.socket.unlink(missing_ok=True)
        pid = os.posix_spawn(executable, argv, os.environ, file_actions=files, setsid=True)
        self.pid_file.touch(PRIVATE)
        self.pid_file.write_text(f"{pid}\n")
        if self.awaited and self.socket is not None:
            until(self.socket.exists, bool, seconds=START_SECONDS, what=f"{self.socket}", interval=0.02)
        return pid

    def pid(self) -> int | None:
        """Its process id while it runs, or None. A stranger with the same id is not taken for it."""
        try:
            pid = int(self.pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if is_running(pid) and pid in netns.processes(self.namespace) else None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal and, for one that ends it, waits until it has ended."""
        pid = self.pid()
        if pid is None:
            raise LabError(f"{self.name} does not run in {self.namespace}")
        os.kill(pid, number)
        if number in {signal.SIGTERM, signal.SIGKILL}:
            until(
                lambda: is_running(pid),
                lambda running: not running,
                seconds=TERM_SECONDS,
                what=f"{self.name} in {self.namespace} ended by {number.name}",
                interval=0.01,
            )

    def last_words(self, lines: int) -> list[str]:
        """The end of its log."""
        try:
            return self.log.read_text(errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []


def is_running(pid: int) -> bool:
    """Whether the process lives; our own ended children are reaped by asking."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def end_all(namespaces: Sequence[str]) -> None:
    """Ends every process in these namespaces: TERM, then KILL for those that stay."""
    if _end(namespaces, signal.SIGTERM, TERM_SECONDS):
        left = _end(namespaces, signal.SIGKILL, KILL_SECONDS)
        if left:
            raise LabError(f"processes {sorted(left)} do not end; look at them with: ps -fp {min(left)}")


def _end(namespaces: Sequence[str], number: signal.Signals, seconds: float) -> set[int]:
    """Signals all, waits for their end at most `seconds`; returns those that are left."""
    deadline = time.monotonic() + seconds
    told: set[int] = set()
    while True:
        found = {pid for namespace in namespaces for pid in netns.processes(namespace)}
        left = {pid for pid in found if pid != os.getpid() and is_running(pid)}
        for pid in left - told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        told |= left
        # Our own children stay in the process table until they are asked for.
        left |= {pid for pid in told if is_running(pid)}
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(0.05)
