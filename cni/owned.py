"""Which of the node's links are ours, and whose: told by their names and by the alias that ADD gives them."""

from __future__ import annotations

import posix
import struct
import time

from cni.attach import EAGAIN, ENODEV, HOST_PREFIX, IFB_PREFIX, host_ifname, ifb_ifname
from cni.link import Link, group_delete, link_dump, link_group
from cni.netlink import NetlinkError, attributes
from cni.spec import is_identifier, is_ifname

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni.attach import Kernel

IFLA_LINK_NETNSID = 37
LIST_SECONDS = 5.0
LIST_PAUSE = 0.02
TOGETHER = 200
_LINK = struct.Struct("=BxHiII")


class OwnedLink(Link):
    """A link; `netnsid` is the kernel's number for the namespace of the other end, packed, b"" for none."""

    __slots__ = ("netnsid",)

    def __init__(self, payload: bytes) -> None:
        super().__init__(payload)
        self.netnsid = attributes(payload, _LINK.size).get(IFLA_LINK_NETNSID, b"")

    def network(self) -> str:
        """The network that the alias names; empty for none: an ADD was killed before it gave one."""
        words = self.alias.split(" ")
        return words[1] if len(words) > 1 and words[0] == "anypod" else ""

    def owner(self) -> tuple[str, str] | None:
        """Container and interface name, where the alias names those that the link's own name stands for."""
        words = self.alias.split(" ", 3)
        if len(words) < 3 or words[0] != "anypod" or not is_identifier(words[1]):
            return None
        container, _, ifname = words[2].partition("/")
        if not is_identifier(container) or not is_ifname(ifname):
            return None
        return (container, ifname) if self.name in names(container, ifname) else None

    def served(self) -> str:
        """What the alias says of virtual IPs, for `label.read`."""
        return "".join(self.alias.split(" ", 3)[3:])


def names(container: str, ifname: str) -> tuple[str, str]:
    """What an attachment's links on the node are called: the end of the veth pair, and the device of its limits."""
    return host_ifname(container, ifname), ifb_ifname(container, ifname)


def all_names(owners: Iterable[tuple[str, str]]) -> set[str]:
    """The names of the links of all these attachments."""
    return {name for owner in owners for name in names(*owner)}


def twin(ifb: str) -> str:
    """The end of the veth pair that belongs to a device of limits."""
    return HOST_PREFIX + ifb.removeprefix(IFB_PREFIX)


def all_links(kernel: Kernel) -> list[OwnedLink]:
    """All links of the node, whoever's they are. Listed again while they change meanwhile, for some seconds."""
    deadline = time.monotonic() + LIST_SECONDS
    while True:
        try:
            return [OwnedLink(payload) for _, payload in kernel.socket.dump(link_dump())]
        except NetlinkError as error:
            if error.errno != EAGAIN or time.monotonic() > deadline:
                raise
            time.sleep(LIST_PAUSE)


def delete_links(kernel: Kernel, links: Iterable[OwnedLink]) -> None:
    """Removes links, whoever removed some of them before.

    As a group: one by one, the kernel waits some ten milliseconds behind each.
    """
    indices = [link.index for link in links]
    # Of our own choice, and above all numbers that people give.
    group = 1 << 31 | int.from_bytes(posix.urandom(3), "big")
    for start in range(0, len(indices), TOGETHER):
        moved = [link_group(index, group) for index in indices[start : start + TOGETHER]]
        for verdict in kernel.socket.request_each([*moved, group_delete(group)]):
            if verdict is not None and verdict.errno != ENODEV:
                raise verdict


def owned_links(links: Iterable[OwnedLink]) -> list[OwnedLink]:
    """Those that have a name and a kind of ours, of every network."""
    prefixes = {"veth": HOST_PREFIX, "ifb": IFB_PREFIX}
    return [one for one in links if one.kind in prefixes and one.name.startswith(prefixes[one.kind])]
