"""A command of the operator's that says by its exit status whether a pod serves.

It runs in a session of its own, as the speaker's user and without its capabilities, with no shell, no input and a
small environment. When it ends, or has to, everything that it started is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from speaker.anycast.probes.errors import ProbeFailedError, from_os, shortened

if TYPE_CHECKING:
    from speaker.anycast.health import Target

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Bytes of output; who writes more is killed.
LIMIT = 65536
# Seconds until what was killed is gone: longer only if the kernel holds it.
DYING = 1.0

_PR_SET_CHILD_SUBREAPER, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 36, 47, 4

# The sessions of commands that have not ended.
_running: set[int] = set()


async def ask_command(target: Target) -> None:
    """Runs it once. ProbeFailedError where the endpoint does not serve, NoVerdictError if it can't be started."""
    environment = {
        "PATH": PATH,
        "ANYPOD_VIP": str(target.vip),
        "ANYPOD_ADDRESS": str(target.address),
        "ANYPOD_POD": target.pod,
    }
    _prepare()
    reader, writer = os.pipe()
    os.set_blocking(reader, False)  # this end only: the command's has to wait
    try:
        try:
            process = _start(target.check.argv, environment, writer)
        finally:
            os.close(writer)
        _running.add(process.pid)
        try:
            output = await _until_it_ends(process.pid, reader)
        finally:
            await _end(process)
    finally:
        os.close(reader)
    if process.returncode != 0:
        raise ProbeFailedError(_in_words(process.returncode, output))


def _start(argv: tuple[str, ...], environment: dict[str, str], output: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise type(said := from_os(error))(f"{argv[0]} can't be run: {said}") from None


async def _until_it_ends(pid: int, reader: int) -> bytes:
    """What it wrote. Not until its output ends, which a child of its could hold open."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    output = bytearray()

    def read() -> None:
        piece = _read(reader)
        output.extend(piece or b"")
        if piece == b"":
            loop.remove_reader(reader)
        elif len(output) > LIMIT and not ended.done():
            ended.set_exception(ProbeFailedError(f"more than {LIMIT} bytes of output"))

    loop.add_reader(reader, read)
    try:
        await _gone(pid, ended)
    finally:
        loop.remove_reader(reader)
    output.extend(_read(reader) or b"")
    return bytes(output)


def _read(reader: int) -> bytes | None:
    """What is there: nothing at the end, None before more comes."""
    try:
        return os.read(reader, LIMIT)
    except BlockingIOError:
        return None


async def _gone(pid: int, ended: asyncio.Future[None]) -> None:
    """Waits until a child has ended, which is not yet reaped: its number stands for nothing else meanwhile."""
    loop = asyncio.get_running_loop()
    descriptor = os.pidfd_open(pid)
    try:
        loop.add_reader(descriptor, lambda: None if ended.done() else ended.set_result(None))
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DYING):
                await _gone(process.pid, asyncio.get_running_loop().create_future())
        process.poll()
    finally:
        _running.discard(process.pid)
        await _end_orphans()


@cache
def _prepare() -> None:
    """Once in a process."""
    prctl = ctypes.CDLL(None).prctl
    zero = ctypes.c_ulong(0)
    # What a command started and left is handed to this process, which can kill it then.
    prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), zero, zero, zero)
    # The unit gives the speaker capabilities that its children would inherit.
    prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL), zero, zero, zero)


async def _end_orphans() -> None:
    """Kills and reaps what commands left that have ended. The children of an orphan are handed over after its death."""
    loop = asyncio.get_running_loop()
    end = loop.time() + DYING
    while (left := _orphans()) and loop.time() < end:
        for pid in left:
            _kill(pid)
        await asyncio.sleep(0.005)


def _kill(pid: int) -> None:
    """Once more has to be asked for, for only what has died can be reaped."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, os.WNOHANG)


def _orphans() -> list[int]:
    """Children of this process in a session that is neither this process's nor a running command's."""
    pid = os.getpid()
    try:
        children = [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        ]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return []
    kept = {os.getsid(0), *_running}
    return [child for child in children if _session(child) not in kept]


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


def _in_words(status: int, output: bytes) -> str:
    if status < 0:
        return f"killed by signal {-status}"
    lines = output.decode("utf-8", "replace").split("\n")
    first = next((line for line in lines if line.strip()), "")
    return shortened(f"exit status {status}: {first}" if first else f"exit status {status}")
