"""Connections that the kernel tracks: the UDP ones to a port are forgotten when the port is mapped anew.

Numbers are those of linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import struct

from cni.netlink import attribute, attributes, message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni.netlink import NetlinkSocket

NFNL_SUBSYS_CTNETLINK = 1
IPCTNL_MSG_CT_GET = 1
IPCTNL_MSG_CT_DELETE = 2
CTA_TUPLE_ORIG = 1
CTA_ID = 12
CTA_ZONE = 18
CTA_FILTER = 25
CTA_TUPLE_PROTO = 2
CTA_PROTO_NUM = 1
CTA_PROTO_DST_PORT = 3
CTA_FILTER_ORIG_FLAGS = 1
# Of the original direction, protocol and destination port count.
FILTERED = 1 << 3 | 1 << 5
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLA_F_NESTED = 0x8000
UDP = 17

_NFGENMSG = struct.Struct("=BBH")
_FLAGS = struct.Struct("=I")


def _nested(kind: int, *inner: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(inner))


def _message(kind: int, flags: int, family: int, *parts: bytes) -> bytes:
    number = NFNL_SUBSYS_CTNETLINK << 8 | kind
    return message(number, NLM_F_REQUEST | flags, (_NFGENMSG.pack(family, 0, 0), *parts))


def matching(kind: int, flags: int, family: int, port: int) -> bytes:
    """Lists or deletes the UDP connections that were made to this port."""
    protocol = _nested(
        CTA_TUPLE_PROTO,
        attribute(CTA_PROTO_NUM, bytes((UDP,))),
        attribute(CTA_PROTO_DST_PORT, port.to_bytes(2, "big")),
    )
    wanted = _nested(CTA_FILTER, attribute(CTA_FILTER_ORIG_FLAGS, _FLAGS.pack(FILTERED)))
    return _message(kind, flags, family, _nested(CTA_TUPLE_ORIG, protocol), wanted)


def forget_udp(netfilter: NetlinkSocket, family: int, port: int) -> None:
    """Deletes the UDP connections of AF_INET or AF_INET6 to this port; best effort."""
    try:
        netfilter.request([matching(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, family, port)])
    except TimeoutError:
        return
    except OSError:
        # An older kernel deletes single connections only; it takes the filter for half a connection (EINVAL).
        forget_listed(netfilter, family, port)


def forget_listed(netfilter: NetlinkSocket, family: int, port: int) -> None:
    """The same for kernels that can't delete by a filter: each by itself, and 40 times slower."""
    try:
        listed = netfilter.dump(matching(IPCTNL_MSG_CT_GET, NLM_F_DUMP, family, port))
        netfilter.request_each(list(_deletions(family, port, (payload for _, payload in listed))))
    except OSError:
        return


def _deletions(family: int, port: int, listed: Iterator[bytes]) -> Iterator[bytes]:
    """Kernels before 5.8 list all connections, so it is looked again which are meant."""
    for payload in listed:
        told = attributes(payload, _NFGENMSG.size)
        protocol = attributes(attributes(told.get(CTA_TUPLE_ORIG, b""), 0).get(CTA_TUPLE_PROTO, b""), 0)
        meant = bytes((UDP,)), port.to_bytes(2, "big")
        if (protocol.get(CTA_PROTO_NUM), protocol.get(CTA_PROTO_DST_PORT)) == meant:
            parts = [_nested(CTA_TUPLE_ORIG, told[CTA_TUPLE_ORIG])]
            parts += [attribute(kind, told[kind]) for kind in (CTA_ID, CTA_ZONE) if kind in told]
            yield _message(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, family, *parts)
