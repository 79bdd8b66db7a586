"""Network namespaces of pods: opened by path, entered for good."""

from __future__ import annotations

import posix
from fcntl import ioctl

from cni.errors import INVALID_NETNS, IO_FAILURE, UNKNOWN_CONTAINER, CniError

CLONE_NEWNET = 0x40000000
NS_GET_NSTYPE = 0xB703
SELF = "/proc/self/ns/net"

# An inode number of the kernel's namespaces has no more bits.
INODE = 0xFFFFFFFF


def open_netns(path: str, own: bool = False) -> int:
    """A descriptor of the namespace at `path`. CniError 3 where there is none, 8 for the plugin's own unless `own`."""
    try:
        # O_NONBLOCK: a path that leads to a FIFO must not hang the runtime.
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CniError(UNKNOWN_CONTAINER, f"failed to open netns {path!r}: {reason}") from None
    try:
        kind = ioctl(fd, NS_GET_NSTYPE)
    except OSError:
        kind = 0
    if kind != CLONE_NEWNET:
        posix.close(fd)
        raise CniError(INVALID_NETNS, f"CNI_NETNS={path!r} is no network namespace")
    if not own and inode(path) == inode(SELF):
        posix.close(fd)
        raise _own(path)
    return fd


def inode(path: str) -> tuple[int, int]:
    """What tells one namespace from another, whatever path leads to it; (0, 0) where there is none."""
    try:
        found = posix.stat(path)
    except (OSError, ValueError):
        return 0, 0
    return found.st_dev, found.st_ino


def identity(found: posix.stat_result) -> int:
    """What tells a namespace from a later one with its inode number, which the kernel gives out again.

    Above the number stands when it came to be, in units of a millisecond: not 0, which is nothing known.
    """
    return (found.st_ino & INODE) | (((found.st_ctime_ns >> 20) & 0x3FFFFFFF) + 1) << 32


def refuse_own(path: str) -> None:
    """CniError 8 where `path` leads to the plugin's own namespace; one that is gone is fine."""
    if path and inode(path) == inode(SELF):
        raise _own(path)


def _own(path: str) -> CniError:
    return CniError(
        INVALID_NETNS,
        f"CNI_NETNS={path!r} is the plugin's own network namespace, not a pod's; CNI_NETNS_OVERRIDE=1 allows it",
    )


def enter(fd: int) -> None:
    """Moves this process into the namespace; sockets made before stay where they were."""
    if hasattr(posix, "setns"):
        posix.setns(fd, CLONE_NEWNET)
        return
    # Python 3.11 has no setns, and the package `ctypes` costs 2 ms where its C module costs nothing.
    import _ctypes

    libc = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
    if _ctypes.call_cdeclfunction(_ctypes.dlsym(libc, "setns"), (fd, CLONE_NEWNET)) != 0:
        raise CniError(
            IO_FAILURE, "setns into the pod's namespace was refused; the plugin needs CAP_SYS_ADMIN"
        )
