"""Another program, run within bounds: how long, how much it may write, and what it inherits.

By C modules alone: to import `subprocess` takes longer than all else that a CNI call does.
"""

from __future__ import annotations

import posix
from _signal import (  # type: ignore[import-not-found]
    SIG_BLOCK,
    SIG_DFL,
    SIG_SETMASK,
    SIGKILL,
    pthread_sigmask,
    signal,
    valid_signals,
)
from fcntl import F_DUPFD_CLOEXEC, fcntl
from select import POLLIN, POLLOUT, poll
from time import monotonic, sleep

from cni.errors import DECODING_FAILURE, IO_FAILURE, TRY_AGAIN_LATER, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

MAX_OUTPUT = 1 << 20
# Of what it writes on stderr, the end is kept: the reason stands there.
KEPT_STDERR = 16 << 10
CHUNK = 1 << 16
# A program that is being replaced can't be started while it is written. libcni tries for five seconds too.
ETXTBSY = 26
BUSY_TRIES = 25
BUSY_SECONDS = 0.2
REAP_SECONDS = 2.0
PR_SET_PDEATHSIG = 1
PIPE_BUF = 4096
# In the child: where the failure of execve is told, closed by its success. Then the end of all descriptors.
STATUS_FD = 3
END_OF_FDS = 1 << 20


class Ended:
    """How a program ended: exit status, or the negative number of the signal that ended it."""

    __slots__ = ("status", "stderr", "stdout")

    def __init__(self, status: int, stdout: bytes, stderr: bytes) -> None:
        self.status = status
        self.stdout = stdout
        self.stderr = stderr


def run(path: str, environ: Mapping[bytes, bytes], stdin: bytes, seconds: float) -> Ended:
    """Runs a program to its end; what it left on stderr goes to ours.

    CniError 11 when it is not done after `seconds`, 6 when it writes more than 1 MiB, 5 when it can't be
    started. When it is left by an exception, the program and all of its process group have been killed.
    """
    deadline = monotonic() + seconds
    tries = BUSY_TRIES
    while True:
        child = _Child()
        try:
            child.start(path, environ)
            status = child.talk(stdin, deadline)
        except OSError as error:
            if error.errno != ETXTBSY or tries == 0 or monotonic() > deadline:
                raise _unstarted(path, seconds, error) from None
            tries -= 1
        else:
            return Ended(status, bytes(child.stdout), bytes(child.stderr))
        finally:
            child.end()
            _pass_on(child.stderr)
        sleep(BUSY_SECONDS)


def _unstarted(path: str, seconds: float, error: OSError) -> CniError:
    if isinstance(error, TimeoutError):
        return CniError(
            TRY_AGAIN_LATER, f"{path} was not done within {seconds:.0f} s and was ended; try again later"
        )
    return CniError(IO_FAILURE, f"{path} can't be run: {error.strerror}")


def _pass_on(text: bytes | bytearray) -> None:
    """Writes to our own stderr as much as its reader takes without a wait."""
    ready = poll()
    ready.register(2, POLLOUT)
    try:
        while text and ready.poll(0) == [(2, POLLOUT)]:
            text = text[posix.write(2, text[:PIPE_BUF]) :]
    except OSError:
        return  # nobody reads it


class _Child:
    """One process of a program, and our ends of its three streams."""

    def __init__(self) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.pid = 0
        self.reaped = False
        # Our ends; those that are open stand in `_fds`. The last becomes readable when the process has ended.
        self.stdin_fd = self.stdout_fd = self.stderr_fd = self.status_fd = self.pid_fd = -1
        self._fds: list[int] = []

    def _pipe(self) -> tuple[int, int]:
        """A pipe's reading and writing end, above the numbers that the child gives away."""
        ends = posix.pipe2(posix.O_CLOEXEC)
        self._fds += ends
        for place in (-2, -1):
            if self._fds[place] <= STATUS_FD:
                low = self._fds[place]
                self._fds[place] = fcntl(low, F_DUPFD_CLOEXEC, STATUS_FD + 1)
                posix.close(low)
        return self._fds[-2], self._fds[-1]

    def start(self, path: str, environ: Mapping[bytes, bytes]) -> None:
        """Forks. No signal is heard until the number of the process is known to whoever has to kill it."""
        stdin, self.stdin_fd = self._pipe()
        self.stdout_fd, stdout = self._pipe()
        self.stderr_fd, stderr = self._pipe()
        self.status_fd, status = self._pipe()
        for fd in (self.stdin_fd, self.stdout_fd, self.stderr_fd, self.status_fd):
            posix.set_blocking(fd, False)
        parent, prctl = posix.getpid(), _prctl()
        before = pthread_sigmask(SIG_BLOCK, valid_signals())
        try:
            self.pid = posix.fork()
            if self.pid == 0:
                _become(path, environ, (stdin, stdout, stderr, status), (parent, prctl))
            self.pid_fd = posix.pidfd_open(self.pid)
            self._fds.append(self.pid_fd)
        finally:
            pthread_sigmask(SIG_SETMASK, before)
        for fd in (stdin, stdout, stderr, status):
            self._close(fd)

    def _close(self, fd: int) -> None:
        self._fds.remove(fd)
        posix.close(fd)

    def talk(self, stdin: bytes, deadline: float) -> int:
        """Feeds it and listens until it has ended; its status. Who holds its streams open is not waited for."""
        waiting = poll()
        waiting.register(self.stdin_fd, POLLOUT)
        for fd in (self.stdout_fd, self.stderr_fd, self.status_fd, self.pid_fd):
            waiting.register(fd, POLLIN)
        left = memoryview(stdin)
        ended = False
        while not ended:
            remaining = deadline - monotonic()
            if remaining <= 0:
                raise TimeoutError
            ready = [fd for fd, _ in waiting.poll(remaining * 1000)]
            # What was written before the end is in the pipes when the end is seen.
            ended = self.pid_fd in ready
            if self.stdin_fd in ready:
                left = self._feed(left)
            for fd in (self.stdout_fd, self.stderr_fd, self.status_fd) if ended else ready:
                self._take(fd, ended)
            for fd in (self.stdin_fd, self.stdout_fd, self.stderr_fd, self.status_fd):
                if fd in ready and fd not in self._fds:
                    waiting.unregister(fd)
        return self._reap()

    def _feed(self, left: memoryview) -> memoryview:
        """Writes what the pipe takes. A program that does not read all of its input may do so."""
        try:
            left = left[posix.write(self.stdin_fd, left[:CHUNK]) :] if left else left
        except BrokenPipeError:
            left = left[:0]
        except BlockingIOError:
            return left
        if not left:
            self._close(self.stdin_fd)
        return left

    def _take(self, fd: int, ended: bool) -> None:
        """Reads one piece, or, when the process has ended, what is left in the pipe."""
        if fd not in (self.stdout_fd, self.stderr_fd, self.status_fd) or fd not in self._fds:
            return
        # A grandchild may write on for ever; a pipe holds no more than this.
        for _ in range(MAX_OUTPUT // CHUNK + 1 if ended else 1):
            try:
                piece = posix.read(fd, CHUNK)
            except BlockingIOError:
                return
            if not piece:
                self._close(fd)
                return
            self._keep(fd, piece)

    def _keep(self, fd: int, piece: bytes) -> None:
        if fd == self.status_fd:
            number = int.from_bytes(piece, "little")
            raise OSError(number, posix.strerror(number))
        if fd == self.stderr_fd:
            self.stderr += piece
            del self.stderr[:-KEPT_STDERR]
            return
        self.stdout += piece
        if len(self.stdout) > MAX_OUTPUT:
            raise CniError(DECODING_FAILURE, f"it wrote more than {MAX_OUTPUT >> 20} MiB and was ended")

    def _reap(self) -> int:
        _, status = posix.waitpid(self.pid, 0)
        self.reaped = True
        return posix.waitstatus_to_exitcode(status)

    def end(self) -> None:
        """Kills what still runs and closes what is open."""
        if self.pid and not self.reaped:
            # Before its setsid the child leads no group, and has no children either.
            for kill in (posix.kill, posix.killpg):
                try:
                    kill(self.pid, SIGKILL)
                except ProcessLookupError:
                    continue
            self._wait()
        while self._fds:
            posix.close(self._fds.pop())

    def _wait(self) -> None:
        """Reaps the killed process. One that hangs in the kernel is left to init."""
        if self.pid_fd >= 0:
            ended = poll()
            ended.register(self.pid_fd, POLLIN)
            if not ended.poll(REAP_SECONDS * 1000):
                return
        self._reap()


def _prctl() -> Any:
    """How to call prctl, of which the interpreter's own modules have none; None where it can't be called."""
    try:
        import _ctypes

        address = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]
        invoke = _ctypes.call_cdeclfunction
    except (ImportError, AttributeError, OSError):  # pragma: no cover - an interpreter without the C module
        return None
    return lambda *arguments: invoke(address, arguments)


def _become(
    path: str, environ: Mapping[bytes, bytes], fds: tuple[int, ...], parent: tuple[int, Any]
) -> NoReturn:
    """In the child: becomes the program. It inherits its streams and nothing else, and dies with us."""
    status = fds[-1]
    try:
        posix.setsid()
        pid, prctl = parent
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, int(SIGKILL))
            if posix.getppid() != pid:
                posix._exit(127)
        for number, fd in enumerate(fds):
            posix.dup2(fd, number, inheritable=number != STATUS_FD)
        status = STATUS_FD
        posix.closerange(STATUS_FD + 1, END_OF_FDS)
        for number in valid_signals():
            try:
                # What is ignored stays ignored in a new program: SIGPIPE, by Python.
                signal(number, SIG_DFL)
            except OSError:
                continue  # SIGKILL and SIGSTOP
        pthread_sigmask(SIG_SETMASK, ())
        posix.execve(path, [path], environ)
    except OSError as error:
        posix.write(status, (error.errno or 0).to_bytes(4, "little"))
    finally:
        posix._exit(127)
