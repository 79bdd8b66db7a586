"""The plugin with all its modules loaded, which forks for each call. Run by the installation's interpreter.

Arguments: the directory of the installed modules, a directory that may be written to, and a file that stands in
for the kernel's boot id, or nothing. Requests come as pickles on stdin: the executable, or nothing for a fork;
the environment; what is on the call's stdin. Answers go as pickles to stdout: exit status, stdout, stderr.

It is process 1 of a namespace of processes and sees every file system read-only but for that directory, so that
no mutated path, name or number reaches the machine.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import posix
import signal
import sys
from typing import NoReturn

SECONDS = 90
CLONE_NEWNS, CLONE_NEWPID = 0x20000, 0x20000000
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, RDONLY = 442, -100, 0x8000, 1
BOOT_ID = "/proc/sys/kernel/random/boot_id"

libc = ctypes.CDLL(None, use_errno=True)


def must(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def set_read_only(path: str, to: int, flags: int) -> None:
    attributes = (ctypes.c_ulonglong * 4)(to * RDONLY, (1 - to) * RDONLY, 0, 0)
    size = ctypes.sizeof(attributes)
    must(
        libc.syscall(MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, ctypes.byref(attributes), size),
        f"mount_setattr {path}",
    )


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    must(
        libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, None),
        f"mount {target}",
    )


def confine(writable: str, boot: str) -> None:
    """Namespaces of mounts and processes of its own; this process goes on as the first of the latter."""
    must(libc.unshare(CLONE_NEWNS | CLONE_NEWPID), "unshare")
    child = os.fork()
    if child:
        # The end of its requests ends it, and whatever runs in its namespace.
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0x7F)
    libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    # Namespaces of pods that come later are seen; nothing that is mounted here is seen outside.
    mount("none", "/", None, MS_REC | MS_SLAVE)
    mount("proc", "/proc", "proc", 0)
    mount(writable, writable, None, MS_BIND)
    if boot:
        mount(boot, BOOT_ID, None, MS_BIND)
    set_read_only("/", 1, AT_RECURSIVE)
    set_read_only(writable, 0, 0)
    # For the sysctls of this namespace's network.
    set_read_only("/proc", 0, 0)


def load(site: str) -> None:
    """All modules of the plugin, and so of the libraries that it uses."""
    sys.path.insert(0, site)
    for entry in sorted(os.listdir(f"{site}/cni")):
        name, dot, kind = entry.partition(".")
        if dot and kind == "py" and name != "__init__":
            __import__(f"cni.{name}")
    for name in ("subprocess", "shutil", "json", "os", "socket", "ipaddress", "encodings.ascii"):
        __import__(name)


def memory(content: bytes = b"") -> int:
    """A file that is nowhere: it takes any amount, and needs no reader."""
    fd = os.memfd_create("anypod-test")
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def become(environment: dict[bytes, bytes], ends: tuple[int, int, int]) -> NoReturn:
    """In the forked child: what a new process has, and then the plugin's main function."""
    for place, end in enumerate(ends):
        os.dup2(end, place)
    os.closerange(3, 64)
    for name in list(posix.environ):
        posix.unsetenv(name)
    for holder in (posix.environ, os.environ._data):  # type: ignore[attr-defined]
        holder.clear()
        holder.update(environment)
    for name, value in environment.items():
        posix.putenv(name, value)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    from cni.main import main

    main()


def execute(environment: dict[bytes, bytes], ends: tuple[int, int, int], plugin: str) -> NoReturn:
    """In the forked child: the executable itself, as a runtime starts it."""
    for place, end in enumerate(ends):
        os.dup2(end, place)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.alarm(SECONDS)
    os.execve(plugin, [plugin], environment)  # noqa: S606


def content(fd: int) -> bytes:
    os.lseek(fd, 0, os.SEEK_SET)
    with os.fdopen(fd, "rb") as file:
        return file.read()


def serve(plugin: str, environment: dict[bytes, bytes], stdin: bytes) -> tuple[int, bytes, bytes]:
    ends = (memory(stdin), memory(), memory())
    child = os.fork()
    if child == 0:
        try:
            if plugin:
                execute(environment, ends, plugin)
            become(environment, ends)
        except BaseException:  # noqa: BLE001 - `main` never returns and never raises
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(99)
    status = -1
    while True:
        # Orphans come here too.
        pid, found = os.waitpid(-1, 0)
        if pid == child:
            status = os.waitstatus_to_exitcode(found)
            break
    os.close(ends[0])
    return status, content(ends[1]), content(ends[2])


def main(site: str, writable: str, boot: str = "") -> None:
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    confine(writable, boot)
    load(site)
    while True:
        try:
            request = pickle.load(requests)  # noqa: S301 - from the test
        except EOFError:
            return
        pickle.dump(serve(*request), answers)
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
