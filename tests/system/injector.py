"""Runs a program and strikes at one of its system calls: kills it there, or makes that call fail.

A seccomp filter hands the wanted system calls to the tracer (ptrace(2), seccomp(2)), before
the kernel works on them; all others run at full speed. So a walk over every call of a
program costs little more than its runs do. Registers are those of x86-64.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

SUPPORTED = platform.machine() == "x86_64"
SECONDS = 90
PIPE_BYTES = 1 << 20

_TRACEME, _CONT, _GETREGS, _SETREGS = 0, 7, 12, 13
_SETOPTIONS, _SYSCALL_INFO = 0x4200, 0x420E
# Trace fork, vfork, clone and exec; tell of seccomp; let no tracee outlive the tracer.
_OPTIONS = 2 | 4 | 8 | 0x10 | 0x80 | 0x100000
_EVENT_EXEC, _EVENT_SECCOMP = 4, 7
_WALL = 0x40000000
_PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _MODE_FILTER = 22, 36, 2
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06
_RET_TRACE, _RET_ALLOW = 0x7FF00000, 0x7FFF0000
_FILTER = struct.Struct("=HBBI")
_SECCOMP_INFO = struct.Struct("=24xQ6Q")
_REGISTERS = 27 * 8
_RAX, _ORIG_RAX = 10, 15
_OPENAT = 257

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]


class SystemCall(NamedTuple):
    """A system call about to be made; `child`: not by the program itself but by one that it started."""

    number: int
    arguments: tuple[int, ...]
    child: bool
    path: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Where to strike: at the `count`th call with that number, of the program or of its children."""

    number: int
    count: int
    child: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """A program with its environment, and what stands on its stdin."""

    argv: tuple[str, ...]
    env: dict[str, str]
    stdin: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended; `hit`: the wanted call came. A status below zero is a signal's number."""

    status: int
    stdout: bytes
    stderr: bytes
    hit: bool


@dataclass
class _Tracer:
    """Follows one program and all that it starts, to their ends."""

    main: int
    on_call: Callable[[int, SystemCall], None]
    known: set[int] = field(default_factory=set)
    started: bool = False
    status: int = 0

    def follow(self) -> None:
        others = _children() - {self.main}
        os.waitpid(self.main, 0)
        self.known.add(self.main)
        _ptrace(_SETOPTIONS, self.main, _OPTIONS)
        _ptrace(_CONT, self.main, 0)
        alive = {self.main}
        # One that it was just about to start is not known yet when it is killed.
        while alive or _children() - others:
            pid, status = os.waitpid(-1, _WALL)
            if os.WIFSTOPPED(status):
                alive.add(pid)
                self._stopped(pid, status)
                continue
            alive.discard(pid)
            if pid == self.main:
                self.status = os.waitstatus_to_exitcode(status)

    def _stopped(self, pid: int, status: int) -> None:
        event, number = status >> 16, os.WSTOPSIG(status)
        if event == _EVENT_EXEC:
            self.started = True
        if event == _EVENT_SECCOMP and self.started:
            self.on_call(pid, _system_call(pid, pid != self.main))
        passed = number
        if event or (number == signal.SIGSTOP and pid not in self.known):
            passed = 0
        self.known.add(pid)
        _ptrace(_CONT, pid, passed)


def _children() -> set[int]:
    """The processes that this one has to wait for."""
    pid = os.getpid()
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return {int(child) for child in file.read().split()}


def _ptrace(request: int, pid: int, data: object, address: int = 0) -> None:
    # A tracee that was killed meanwhile (ESRCH) tells of its end by itself.
    if _libc.ptrace(request, pid, address, data) == -1 and ctypes.get_errno() != 3:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}: {os.strerror(ctypes.get_errno())}")


def _system_call(pid: int, child: bool) -> SystemCall:
    info = ctypes.create_string_buffer(88)
    _ptrace(_SYSCALL_INFO, pid, info, len(info))
    number, *arguments = _SECCOMP_INFO.unpack_from(info.raw)
    path = _text(pid, arguments[1]) if number == _OPENAT else ""
    return SystemCall(number, tuple(arguments), child, path)


def _text(pid: int, address: int) -> str:
    """A string in the memory of a stopped process."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        # To the end of its page: what is behind may not be mapped.
        return memory.read(4096 - address % 4096).partition(b"\0")[0].decode(errors="replace")


def kill(pid: int) -> None:
    """Ends the process before the call that it is about to make."""
    os.kill(pid, signal.SIGKILL)


def failing(number: int) -> Callable[[int], None]:
    """Makes the call fail with that errno, without being made."""

    def fail(pid: int) -> None:
        registers = (ctypes.c_longlong * (_REGISTERS // 8))()
        _ptrace(_GETREGS, pid, registers)
        registers[_ORIG_RAX], registers[_RAX] = -1, -number
        _ptrace(_SETREGS, pid, registers)

    return fail


def _become_subreaper() -> None:
    """Orphans of what this process runs become its children, so that it can wait for them."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, None, 0, 0)


def _program(numbers: Collection[int] | None) -> bytes:
    """A filter that hands these system calls to the tracer; None: all of them."""
    if numbers is None:
        return _FILTER.pack(_RETURN, 0, 0, _RET_TRACE)
    wanted = sorted(numbers)
    jumps = [_FILTER.pack(_EQUALS, len(wanted) - place, 0, one) for place, one in enumerate(wanted)]
    ends = (_FILTER.pack(_RETURN, 0, 0, _RET_ALLOW), _FILTER.pack(_RETURN, 0, 0, _RET_TRACE))
    return b"".join([_FILTER.pack(_LOAD, 0, 0, 0), *jumps, *ends])


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _become(launch: Launch, ends: tuple[int, int, int], code: bytes | None) -> NoReturn:
    """In the forked child: takes the pipes' ends, gives itself to the tracer, and runs the program."""
    try:
        for place, end in enumerate(ends):
            os.dup2(end, place)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if code is not None:
            _libc.ptrace(_TRACEME, 0, 0, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            program = _Program(len(code) // _FILTER.size, code)
            if _libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
                os._exit(125)
        os.execve(launch.argv[0], launch.argv, launch.env)  # noqa: S606
    finally:
        os._exit(126)


def _pipe(content: bytes = b"") -> tuple[int, int]:
    out, into = os.pipe2(os.O_CLOEXEC)
    # F_SETPIPE_SZ: nobody reads or writes the other end while the program runs.
    import fcntl

    fcntl.fcntl(into, 1031, PIPE_BYTES)
    if content:
        assert os.write(into, content) == len(content)
    return out, into


def _drained(end: int) -> bytes:
    with os.fdopen(end, "rb") as file:
        return file.read()


def _execute(
    launch: Launch, code: bytes | None, on_call: Callable[[int, SystemCall], None]
) -> tuple[int, bytes, bytes]:
    (stdin, given), (out, stdout), (err, stderr) = _pipe(launch.stdin), _pipe(), _pipe()
    os.close(given)
    pid = os.fork()
    if pid == 0:
        _become(launch, (stdin, stdout, stderr), code)
    for end in (stdin, stdout, stderr):
        os.close(end)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        if code is None:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        else:
            tracer = _Tracer(pid, on_call)
            tracer.follow()
            status = tracer.status
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return status, _drained(out), _drained(err)


def _overdue(*_: object) -> NoReturn:
    raise TimeoutError(f"the program did not end within {SECONDS} s")


def run(launch: Launch) -> Ended:
    """Runs the program undisturbed. TimeoutError past 90 s, here and below."""
    signal.signal(signal.SIGALRM, _overdue)
    return Ended(*_execute(launch, None, lambda _pid, _call: None), hit=False)


def record(launch: Launch) -> tuple[Ended, list[SystemCall]]:
    """Runs the program; every system call that it and its children made, in order."""
    signal.signal(signal.SIGALRM, _overdue)
    _become_subreaper()
    calls: list[SystemCall] = []
    ended = _execute(launch, _program(None), lambda _pid, call: calls.append(call))
    return Ended(*ended, hit=False), calls


def strike(launch: Launch, step: Step, act: Callable[[int], None]) -> Ended:
    """Runs the program and acts on the process that is about to make the wanted call."""
    signal.signal(signal.SIGALRM, _overdue)
    _become_subreaper()
    seen = 0

    def on_call(pid: int, call: SystemCall) -> None:
        nonlocal seen
        if call.child == step.child:
            seen += 1
            if seen == step.count:
                act(pid)

    ended = _execute(launch, _program({step.number}), on_call)
    return Ended(*ended, hit=seen >= step.count)
