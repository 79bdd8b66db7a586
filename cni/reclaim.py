"""Takes back what attachments hold that are gone without a DEL, and says who holds the rest.

Gone is an attachment whose end on the node does not exist any more, and whose namespace is not
there, is another one by now, or has had time enough to get its link. A link goes with its namespace,
so what is gone has no address in use. A pod of another plugin, which has virtual IPs of ours, is gone
with its namespace alone.
"""

from __future__ import annotations

import posix
import time

from cni.attach import host_ifname, ifb_ifname, owner_alias
from cni.netns import INODE, identity
from cni.owned import all_links, delete_links
from cni.statefile import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.attach import Kernel
    from cni.owned import OwnedLink
    from cni.store import Store

    # Container, interface name, network, path and identity of the namespace, time of the ADD, plugin of the addresses,
    # name of the end on the node.
    Record = tuple[str, str, str, str, int, int, str, str]

RECORDS = "SELECT container, ifname, network, netns, netns_inode, created, ipam, host_ifname FROM attachment"
# The kernel takes a namespace's links away some time after the namespace.
LINK_SECONDS = 1.0
LINK_POLL = 0.02
# An ADD makes its link right behind its record. One that took longer finds its record gone, and undoes itself.
ADD_SECONDS = 30
SHOWN = 5
# Of a file's mode: its type, and what a link has there.
S_IFMT, S_IFLNK = 0o170000, 0o120000


def reclaim(store: Store, kernel: Kernel, network: str = "") -> int:
    """Forgets the attachments that are gone, of this network or of all; how many. Outside of a transaction.

    CniError 11 where the node's links change so fast that they can't be listed.
    """
    deadline = time.monotonic() + LINK_SECONDS
    while True:
        links = all_links(kernel)
        left, leaving = _sorted(_records(store, network), links)
        if left:
            return _forget(store, kernel, left, links)
        if not leaving or time.monotonic() > deadline:
            return 0
        time.sleep(LINK_POLL)


def count_gone(records: list[Record], kernel: Kernel) -> int:
    """How many of these attachments `reclaim` would forget. Changes nothing."""
    return len(gone(records, all_links(kernel)))


def gone(records: list[Record], links: list[OwnedLink]) -> list[Record]:
    """Those attachments that `reclaim` would forget."""
    return _sorted(records, links)[0]


def _records(store: Store, network: str) -> list[Record]:
    if not network:
        return store.execute(RECORDS).fetchall()
    return store.execute(f"{RECORDS} WHERE network = ?", (network,)).fetchall()


def _sorted(records: list[Record], links: list[OwnedLink]) -> tuple[list[Record], int]:
    """The attachments that are gone, and the number of those whose links are all that is left."""
    # The alias too: somebody may have given the link another name.
    owners = [" ".join(link.alias.split(" ")[:3]) for link in links if link.kind == "veth"]
    alive = {*owners, *(link.name for link in links if link.kind == "veth")}
    gone: list[Record] = []
    leaving = 0
    for record in records:
        container, ifname, network, netns, known, created, _, host = record
        if not created:
            continue  # taken back before; what another plugin reserved for it ends with DEL or GC
        left = _has_left(netns, known, created)
        if not host:
            # Another plugin made its links, and anypod came behind it: what is left is the namespace to go by.
            if left:
                gone.append(record)
        elif alive & {host_ifname(container, ifname), owner_alias(network, container, ifname)}:
            leaving += left
        elif left or now() - created > ADD_SECONDS * 10**9:
            gone.append(record)
    return gone, leaving


def _has_left(netns: str, known: int, created: int) -> bool:
    """Whether the namespace is not there, or another one has its path. `known` is its identity, or 0."""
    try:
        found, link = posix.stat(netns), posix.lstat(netns)
    except (OSError, ValueError):
        return True
    if known and known & INODE != found.st_ino & INODE:
        return True
    # What is mounted is no link. That of a process, below /proc or by a link to it, is as old as the last look at it.
    if link.st_mode & S_IFMT == S_IFLNK:
        return False
    if known > INODE:
        # Both by the clock of the moment when the namespace came to be, however that clock was set since.
        return known != identity(found)
    # A release before recorded the number alone. What is mounted here is younger than the attachment.
    return now() - (time.time_ns() - found.st_ctime_ns) > created


def _forget(store: Store, kernel: Kernel, gone: list[Record], links: list[OwnedLink]) -> int:
    from cni.release import Release

    release = Release(store)
    store.begin()
    for container, ifname, _, _, _, created, ipam, _ in gone:
        # Another call may have been quicker, and the attachment may have been made anew since.
        if store.stands(container, ifname, created):
            release.add(container, ifname, ipam)
    release.carry_out()
    store.commit()
    release.take_out(kernel)
    limits = {ifb_ifname(record[0], record[1]) for record in gone}
    delete_links(kernel, [link for link in links if link.name in limits])
    return release.count


def holders(store: Store, network: str, first: bytes, last: bytes) -> str:
    """Who holds the addresses from `first` to `last`, in words: by Kubernetes namespace, else by container."""
    rows = store.execute(
        "SELECT d.container, coalesce(a.pod, '') FROM address d LEFT JOIN attachment a"
        " ON a.container = d.container AND a.ifname = d.ifname"
        " WHERE d.network = ? AND d.family = ? AND d.ip BETWEEN ? AND ? AND d.container IS NOT NULL",
        (network, 4 if len(first) == 4 else 6, first, last),
    ).fetchall()
    held: dict[str, int] = {}
    for container, pod in rows:
        namespace = str(pod).partition("/")[0]
        name = f"namespace {namespace}" if namespace else f"container {container}"
        held[name] = held.get(name, 0) + 1
    most = sorted(held, key=lambda name: (-held[name], name))
    parts = [f"{held[name]} by {name}" for name in most[:SHOWN]]
    if len(most) > SHOWN:
        rest = sum(held[name] for name in most[SHOWN:])
        parts.append(f"{rest} by {len(most) - SHOWN} others")
    return f"{len(rows)} held" + (f": {', '.join(parts)}" if parts else "")
