"""DEL's links: gone when `remove_links` returns, and the kernel's long wait behind that left to a process of its own.

The kernel keeps whoever removes a link until all of RCU's callbacks have run (rcu_barrier in netdev_run_todo), some
14 ms. Meanwhile nothing is done, the lock of rtnetlink is free, and the link is gone for everybody: only memory is
freed behind that. So a forked process waits there, and this one goes on.
"""

from __future__ import annotations

import posix
from time import monotonic, sleep

from cni.attach import ENODEV, NETLINK_SECONDS, refused
from cni.link import Link, group_delete, link_delete, link_get, link_group
from cni.netlink import NetlinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni.attach import Kernel

FDS = 1 << 20
# Less than a removal takes, and how much longer each further wait is: a busy machine may not let the child begin.
PAUSE = 0.0005
LONGER = 1.4


def remove_links(kernel: Kernel, names: Sequence[str], slow: Sequence[int] = ()) -> None:
    """Removes the links with these names, each with its other end; none there is fine.

    `slow`: descriptors that it takes long to close, which is left to the same process.
    """
    what = f"the removal of links {', '.join(names)}"
    try:
        links = _present(kernel, names)
        if not links:
            return
        # A process 1 that starts plugins may not wait for children that it did not start.
        if posix.getppid() != 1:
            _apart(kernel, links, slow)
        # It waits for rtnetlink's lock, so all that belonged to a link is gone by then. What a child did not get to
        # is removed here.
        for verdict in kernel.socket.request_each(_messages(links)):
            if verdict is not None and verdict.errno != ENODEV:
                raise verdict
    except OSError as error:
        raise refused(what, error) from None


def _present(kernel: Kernel, names: Sequence[str]) -> list[Link]:
    links = []
    for answer in kernel.socket.get_each([link_get(name) for name in names]):
        if not isinstance(answer, NetlinkError):
            links.append(Link(answer))
        elif answer.errno != ENODEV:
            raise answer
    return links


def _messages(links: Sequence[Link]) -> list[bytes]:
    if len(links) == 1:
        return [link_delete(links[0].index)]
    # As a group, of a number that nobody chose: people number groups from 0 on. One by one, each takes its time.
    group = 1 << 30 | int.from_bytes(posix.urandom(4), "big") >> 2
    return [*(link_group(one.index, group) for one in links), group_delete(group)]


def _apart(kernel: Kernel, links: Sequence[Link], slow: Sequence[int]) -> None:
    """Has a child remove them, and returns when they are gone, or the child is."""
    own = posix.getpid()
    try:
        child = posix.fork()
        if child == 0:
            # The runtime waits for the end of our output, and perhaps for a lock that it handed down.
            _close_all_but(kernel.socket.fileno(), *slow)
            kernel.socket.send_unasked(_messages(links))
    except OSError:
        return  # no process to be had
    finally:
        # Whatever happens in the child, it ends here.
        if posix.getpid() != own:
            posix._exit(0)
    deadline = monotonic() + NETLINK_SECONDS
    pause = PAUSE
    while monotonic() < deadline:
        sleep(pause)
        pause *= LONGER
        if not _present(kernel, [link.name for link in links]) or posix.waitpid(child, posix.WNOHANG)[0]:
            return


def _close_all_but(*kept: int) -> None:
    start = 0
    for fd in sorted(kept):
        posix.closerange(start, fd)
        start = fd + 1
    posix.closerange(start, FDS)
