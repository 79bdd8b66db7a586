"""System calls of x86-64 by number (asm/unistd_64.h): names for messages, and what each class of them does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.system.injector import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.system.injector import SystemCall

NUMBERS = {
    "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8,
    "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "ioctl": 16,
    "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20, "access": 21, "pipe": 22, "mremap": 25, "dup": 32,
    "dup2": 33, "nanosleep": 35, "getpid": 39, "socket": 41, "connect": 42, "accept": 43, "sendto": 44,
    "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "shutdown": 48, "bind": 49, "listen": 50, "getsockname": 51,
    "getpeername": 52, "socketpair": 53, "setsockopt": 54, "getsockopt": 55, "clone": 56, "fork": 57,
    "vfork": 58, "execve": 59, "exit": 60, "wait4": 61, "kill": 62, "uname": 63, "fcntl": 72, "flock": 73,
    "fsync": 74, "fdatasync": 75, "truncate": 76, "ftruncate": 77, "getcwd": 79, "chdir": 80, "rename": 82,
    "mkdir": 83, "rmdir": 84, "link": 86, "unlink": 87, "symlink": 88, "readlink": 89, "chmod": 90,
    "fchmod": 91, "chown": 92, "fchown": 93, "umask": 95, "sysinfo": 99, "getuid": 102, "geteuid": 107,
    "prctl": 157, "arch_prctl": 158, "mount": 165, "gettid": 186, "futex": 202, "getdents64": 217,
    "clock_nanosleep": 230, "epoll_wait": 232, "epoll_ctl": 233, "openat": 257, "mkdirat": 258,
    "newfstatat": 262, "unlinkat": 263, "renameat": 264, "pselect6": 270, "ppoll": 271, "unshare": 272,
    "fallocate": 285, "epoll_create1": 291, "dup3": 292, "pipe2": 293, "prlimit64": 302, "setns": 308,
    "renameat2": 316, "getrandom": 318, "statx": 332, "clone3": 435, "close_range": 436, "openat2": 437,
}  # fmt: skip
NAMES = {number: name for name, number in NUMBERS.items()}


def one_of(names: str) -> frozenset[int]:
    """The numbers of these system calls, given as `read write`."""
    return frozenset(NUMBERS[one] for one in names.split())


# What changes files, links, namespaces, processes or locks.
CHANGING = one_of(
    "write pwrite64 writev sendto sendmsg connect bind setsockopt ioctl fcntl flock ftruncate truncate fallocate"
    " fsync fdatasync rename renameat renameat2 mkdir mkdirat rmdir link symlink unlink unlinkat chmod fchmod"
    " chown fchown socket socketpair pipe pipe2 dup dup2 dup3 clone clone3 fork vfork execve exit kill wait4"
    " setns unshare mount prctl close_range"
)
OPENING = (NUMBERS["openat"], NUMBERS["open"], NUMBERS["openat2"])
_ASKING = {
    # TCGETS, FIOCLEX, NS_GET_NSTYPE
    NUMBERS["ioctl"]: frozenset({0x5401, 0x5451, 0xB703}),
    # F_GETFD, F_SETFD, F_GETFL, F_GETLK
    NUMBERS["fcntl"]: frozenset({1, 2, 3, 5}),
}
_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def name(step: Step) -> str:
    """As `pwrite64 #5`."""
    who = " of a child" if step.child else ""
    return f"{NAMES.get(step.number, f'system call {step.number}')} #{step.count}{who}"


def opens_for_writing(call: SystemCall) -> bool:
    flags = call.arguments[2] if call.number == NUMBERS["openat"] else call.arguments[1]
    return call.number in OPENING and bool(flags & _FOR_WRITING)


def answers(call: SystemCall) -> bool:
    """Writes to stdout."""
    return call.number == NUMBERS["write"] and call.arguments[0] == 1 and not call.child


def changes(call: SystemCall) -> bool:
    if call.arguments[1] in _ASKING.get(call.number, ()):
        return False
    return call.number in CHANGING or opens_for_writing(call)


def steps(
    calls: Iterable[SystemCall], wanted: Callable[[SystemCall], bool] = lambda _call: True
) -> list[Step]:
    """Where to strike to meet each wanted call of a recorded run."""
    counts: dict[tuple[int, bool], int] = {}
    found = []
    for call in calls:
        key = (call.number, call.child)
        counts[key] = counts.get(key, 0) + 1
        if wanted(call):
            found.append(Step(call.number, counts[key], call.child))
    return found
