"""The rtnetlink messages for links and their addresses. Pure bytes.

Numbers are those of linux/if_link.h, if_addr.h, if_bridge.h and veth.h.
"""

from __future__ import annotations

import struct

from cni.netlink import NLM_F_DUMP, attribute, attributes, message
from cni.rtnl import (
    AF_INET,
    AF_INET6,
    CREATE,
    NLM_F_REQUEST,
    REQUEST,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_SETLINK,
    u32,
)

IFF_UP = 0x1
IFF_PROMISC = 0x100
IFF_LOWER_UP = 0x10000
IF_OPER_UP = b"\6"
IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_LINK = 5
IFLA_MASTER = 10
IFLA_OPERSTATE = 16
IFLA_LINKINFO = 18
IFLA_IFALIAS = 20
IFLA_GROUP = 27
IFLA_NET_NS_FD = 28
IFLA_NUM_TX_QUEUES = 31
IFLA_NUM_RX_QUEUES = 32
IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
IFLA_INFO_SLAVE_DATA = 5
VETH_INFO_PEER = 1

IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_BROADCAST = 4
IFA_FLAGS = 8
IFA_F_NODAD = 0x02
IFA_F_DADFAILED = 0x08
IFA_F_TENTATIVE = 0x40

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_U32 = struct.Struct("=I")


def _name(name: str) -> bytes:
    return name.encode("ascii") + b"\0"


class Link:
    """A network interface as the kernel tells it; `link` is its veth peer's index, 0 for none.

    `data` and `port` are the attributes of its kind, and of what it is a port of, not looked into.
    """

    __slots__ = (
        "address",
        "alias",
        "carrier",
        "data",
        "index",
        "kind",
        "link",
        "master",
        "mtu",
        "name",
        "port",
        "promisc",
        "running",
        "up",
    )

    def __init__(self, payload: bytes) -> None:
        _, _, self.index, flags, _ = _LINK.unpack_from(payload)
        found = attributes(payload, _LINK.size)
        self.up = bool(flags & IFF_UP)
        self.carrier = bool(flags & IFF_LOWER_UP)
        self.promisc = bool(flags & IFF_PROMISC)
        self.running = found.get(IFLA_OPERSTATE) == IF_OPER_UP
        self.name = found.get(IFLA_IFNAME, b"").rstrip(b"\0").decode("ascii", "replace")
        self.alias = found.get(IFLA_IFALIAS, b"").rstrip(b"\0").decode("utf-8", "replace")
        self.address = found.get(IFLA_ADDRESS, b"")
        self.mtu = u32(found.get(IFLA_MTU))
        self.master = u32(found.get(IFLA_MASTER))
        self.link = u32(found.get(IFLA_LINK))
        info = attributes(found.get(IFLA_LINKINFO, b""), 0)
        self.kind = info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode("ascii", "replace")
        self.data = info.get(IFLA_INFO_DATA, b"")
        self.port = info.get(IFLA_INFO_SLAVE_DATA, b"")


def mac_text(address: bytes) -> str:
    """A hardware address as people write it, `0a:58:…`."""
    return address.hex(":")


def link_get(name: str) -> bytes:
    """Asks for one link by its name."""
    return message(
        RTM_GETLINK, NLM_F_REQUEST, (_LINK.pack(0, 0, 0, 0, 0), attribute(IFLA_IFNAME, _name(name)))
    )


def link_dump() -> bytes:
    """Asks for all links."""
    return message(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, (_LINK.pack(0, 0, 0, 0, 0),))


def veth_create(
    name: str, address: bytes, mtu: int, master: int, peer: str, peer_address: bytes, peer_netns: int
) -> bytes:
    """Makes both ends, the peer in the namespace of the descriptor `peer_netns`. MTU 0: the kernel's."""
    # Both ends stay down: IFF_UP on an end whose peer is not registered yet is refused (ENOTCONN).
    size = [attribute(IFLA_MTU, _U32.pack(mtu))] if mtu else []
    # One queue is what the kernel comes to, too; but not told so, it makes one for each processor, and waits twice for
    # all of these when it gives them up.
    size += [attribute(kind, _U32.pack(1)) for kind in (IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES)]
    peer_body = b"".join(
        [
            _LINK.pack(0, 0, 0, 0, 0),
            attribute(IFLA_IFNAME, _name(peer)),
            attribute(IFLA_ADDRESS, peer_address),
            attribute(IFLA_NET_NS_FD, _U32.pack(peer_netns)),
            *size,
        ]
    )
    info = attribute(IFLA_INFO_KIND, b"veth\0") + attribute(
        IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer_body)
    )
    body = [
        _LINK.pack(0, 0, 0, 0, 0),
        attribute(IFLA_IFNAME, _name(name)),
        attribute(IFLA_ADDRESS, address),
        attribute(IFLA_MASTER, _U32.pack(master)),
        *size,
        attribute(IFLA_LINKINFO, info),
    ]
    return message(RTM_NEWLINK, CREATE, body)


def link_up(index: int, alias: str = "") -> bytes:
    """Sets a link up, and names its owner for whoever looks at it with `ip link`."""
    body = [_LINK.pack(0, 0, index, IFF_UP, IFF_UP)]
    if alias:
        body.append(attribute(IFLA_IFALIAS, alias.encode("utf-8")[:255]))
    return message(RTM_SETLINK, REQUEST, body)


def link_delete(index: int) -> bytes:
    """Removes a link; a veth takes its peer along."""
    return message(RTM_DELLINK, REQUEST, (_LINK.pack(0, 0, index, 0, 0),))


def link_group(index: int, group: int) -> bytes:
    """Puts a link into a group."""
    body = (_LINK.pack(0, 0, index, 0, 0), attribute(IFLA_GROUP, _U32.pack(group)))
    return message(RTM_SETLINK, REQUEST, body)


def group_delete(group: int) -> bytes:
    """Removes all links of a group, in the time that one takes."""
    return message(RTM_DELLINK, REQUEST, (_LINK.pack(0, 0, 0, 0, 0), attribute(IFLA_GROUP, _U32.pack(group))))


class Address:
    """An address on a link: packed (4 or 16 bytes), prefix length, index of the link, IFA_F_ flags."""

    __slots__ = ("family", "flags", "index", "ip", "prefixlen")

    def __init__(self, payload: bytes) -> None:
        self.family, self.prefixlen, flags, _, self.index = _ADDRESS.unpack_from(payload)
        found = attributes(payload, _ADDRESS.size)
        self.flags = u32(found.get(IFA_FLAGS)) or flags
        self.ip = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS, b"")


def family_of(ip: bytes) -> int:
    """AF_INET for 4 bytes, AF_INET6 for 16."""
    return AF_INET if len(ip) == 4 else AF_INET6


def address_add(index: int, ip: bytes, prefixlen: int, flags: int = IFA_F_NODAD) -> bytes:
    """Puts an address on a link; `flags` are for IPv6, whose duplicate detection costs up to two seconds."""
    body = [
        _ADDRESS.pack(family_of(ip), prefixlen, 0, 0, index),
        attribute(IFA_LOCAL, ip),
        attribute(IFA_ADDRESS, ip),
    ]
    if len(ip) == 16:
        body.append(attribute(IFA_FLAGS, _U32.pack(flags)))
    elif prefixlen < 31:
        host = (1 << (32 - prefixlen)) - 1
        body.append(attribute(IFA_BROADCAST, (int.from_bytes(ip, "big") | host).to_bytes(4, "big")))
    return message(RTM_NEWADDR, CREATE, body)


def address_delete(index: int, ip: bytes, prefixlen: int) -> bytes:
    """Takes an address off a link."""
    body = (_ADDRESS.pack(family_of(ip), prefixlen, 0, 0, index), attribute(IFA_LOCAL, ip))
    return message(RTM_DELADDR, REQUEST, body)


def address_dump(index: int = 0) -> bytes:
    """Asks for the addresses of one link, or of all."""
    return message(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, (_ADDRESS.pack(0, 0, 0, 0, index),))
