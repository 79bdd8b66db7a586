"""One call of a CNI plugin as a runtime makes it: spawn, netconf on stdin, wait for the exit; its time and its cost."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 60.0
PR_SET_CHILD_SUBREAPER = 36
# A netconf has to fit in before anybody reads it, and a result until somebody does.
PIPE_BYTES = 65536


class CallError(Exception):
    """A call that failed: which, and what it said."""


@dataclass(frozen=True)
class Cost:
    """What calls took: milliseconds from spawn to exit, and of the processor, those of their children included."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.cpu + other.cpu)


def adopt() -> None:
    """From now on what a call leaves running is handed to this process, for `orphans`."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, *(ctypes.c_ulong(number) for number in (1, 0, 0, 0)))


def orphans() -> Cost:
    """Waits for what calls that have ended left running; what that took of the processor."""
    cost, end = Cost(), time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            pid, _, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return cost
        if pid:
            cost += Cost(0.0, (used.ru_utime + used.ru_stime) * 1000)
        else:
            time.sleep(0.001)
    raise CallError(f"what a call left behind still runs after {SECONDS:.0f} s")


class Running:
    """A process that was just started.

    No fork of this process and no shell: posix_spawn shares its memory until the exec, so that a large caller costs a
    call nothing.
    """

    def __init__(self, argv: list[str], env: Mapping[str, str], stdin: bytes = b"") -> None:
        if len(stdin) > PIPE_BYTES:
            raise CallError(f"{argv[0]}: a netconf of {len(stdin)} bytes does not fit into a pipe")
        self._argv = argv
        self._output, output = os.pipe()
        self._errors, errors = os.pipe()
        given, write = os.pipe()
        os.write(write, stdin)
        os.close(write)
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate((given, output, errors))]
        self._started = time.perf_counter()
        try:
            self._pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)
        finally:
            for fd in (given, output, errors):
                os.close(fd)
        self._exit = os.pidfd_open(self._pid)

    def finish(self) -> tuple[Cost, bytes]:
        """Waits for the exit; cost and stdout. CallError where it failed."""
        waiting = select.poll()
        waiting.register(self._exit, select.POLLIN)
        ended = waiting.poll(SECONDS * 1000)
        if not ended:
            os.kill(self._pid, signal.SIGKILL)
        _, status, used = os.wait4(self._pid, 0)
        wall = (time.perf_counter() - self._started) * 1000
        output, errors = self._read(self._output), self._read(self._errors)
        os.close(self._exit)
        if not ended or status:
            said = (output + errors).decode(errors="replace").strip()
            raise CallError(f"{' '.join(self._argv)}: wait status {status} after {wall:.0f} ms: {said}")
        return Cost(wall, (used.ru_utime + used.ru_stime) * 1000), output

    @staticmethod
    def _read(fd: int) -> bytes:
        with open(fd, "rb") as file:
            return file.read()


def environment(verb: str, container: str, pod: str, path: str) -> dict[str, str]:
    """What a runtime says of one call; `pod` is a named network namespace, `path` where the plugins are."""
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": container,
        "CNI_NETNS": f"/run/netns/{pod}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": path,
    }


def dumped(conf: Mapping[str, Any]) -> bytes:
    """A netconf as a runtime writes it."""
    return json.dumps(conf).encode()
