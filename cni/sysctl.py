"""Network sysctls of the namespace that the process is in."""

from __future__ import annotations

import posix

from cni.errors import IO_FAILURE, CniError

ROOT = "/proc/sys/net"


def read(key: str) -> str | None:
    """The value of `ipv4/ip_forward` and the like; None where the kernel has no such key."""
    try:
        fd = posix.open(f"{ROOT}/{key}", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return None
    try:
        return posix.read(fd, 128).decode("ascii", "replace").strip()
    finally:
        posix.close(fd)


def attempt(key: str, value: str) -> None:
    """Sets a key where that is possible, for what is only better so."""
    try:
        ensure(key, value)
    except CniError:
        return


def ensure_forwarding(families: set[int]) -> None:
    """Lets the node route for the families (4, 6) of its pods; CniError 5 where refused."""
    if 4 in families:
        ensure("ipv4/ip_forward", "1")
    if 6 in families:
        ensure("ipv6/conf/all/forwarding", "1")


def ignore_redirects(ifname: str) -> None:
    """Has the namespace take no ICMP redirects from a link; CniError 5 where refused.

    A node sends them to a pod whose virtual IP has an endpoint behind the same bridge, and the pod would stay there.
    """
    for key in ("ipv4/conf/all", f"ipv4/conf/{ifname}", f"ipv6/conf/{ifname}"):
        ensure(f"{key}/accept_redirects", "0")


def send_no_redirects(ifname: str) -> None:
    """Has the node send none of IPv4 through a link.

    For IPv6 the kernel has no such key, and sends none that leads to a global address (net/ipv6/ndisc.c).
    """
    for name in ("all", ifname):
        ensure(f"ipv4/conf/{name}/send_redirects", "0")


def ensure(key: str, value: str) -> None:
    """Sets a key where it is not so already, since /proc/sys may be read-only; CniError 5 where refused."""
    if read(key) in (value, None):
        return
    try:
        fd = posix.open(f"{ROOT}/{key}", posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(fd, value.encode())
        finally:
            posix.close(fd)
    except OSError as error:
        name = f"net.{key.replace('/', '.')}"
        raise CniError(
            IO_FAILURE, f"sysctl {name}={value} was refused: {error.strerror}; set it on the node"
        ) from None
