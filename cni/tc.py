"""The rtnetlink messages for traffic control: token buckets, and the way of a link's input to an ifb. Pure bytes.

Numbers are those of linux/pkt_sched.h, pkt_cls.h, tc_act/tc_mirred.h and rtnetlink.h.
"""

from __future__ import annotations

import struct

from cni.link import (
    IFLA_ADDRESS,
    IFLA_IFNAME,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MTU,
)
from cni.netlink import NLM_F_DUMP, attribute, attributes, message
from cni.rtnl import CREATE, NLM_F_REQUEST, RTM_NEWLINK

RTM_NEWQDISC = 36
RTM_GETQDISC = 38
RTM_NEWTFILTER = 44
IFLA_TXQLEN = 13

TC_H_ROOT = 0xFFFFFFFF
TC_H_INGRESS = 0xFFFFFFF1
ROOT_HANDLE = 1 << 16
INGRESS_HANDLE = 0xFFFF << 16
FLOW = ROOT_HANDLE | 1
TCA_KIND = 1
TCA_OPTIONS = 2
TCA_TBF_PARMS = 1
TCA_TBF_RATE64 = 4
TCA_U32_CLASSID = 1
TCA_U32_SEL = 5
TCA_U32_ACT = 7
TC_U32_TERMINAL = 1
TCA_ACT_KIND = 1
TCA_ACT_OPTIONS = 2
TCA_MIRRED_PARMS = 2
TC_ACT_STOLEN = 4
TCA_EGRESS_REDIR = 1
# Priority 1, of all protocols: the number of these in network byte order.
FIRST_OF_ALL = 1 << 16 | struct.unpack("=H", struct.pack(">H", 3))[0]

_LINK = struct.Struct("=BxHiII")
_TC = struct.Struct("=BxxxiIII")
_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")
# Two rates, of each only the last number used: bytes per second. Then limit and buffer, and mtu.
_TBF = struct.Struct("=8xI12xIII")
# A selector with one key, whose mask is 0: every packet.
_EVERYTHING = struct.pack("=BBBx12x16x", TC_U32_TERMINAL, 0, 1)
_MIRRED = struct.Struct("=IIiiiiI")

# What the kernel counts a bucket in: 64 nanoseconds, whatever the machine.
TICK_NANOSECONDS = 64
LATENCY_MICROSECONDS = 25_000
MOST = 0xFFFFFFFF


class Bucket:
    """A token bucket as the kernel keeps it: bytes per second, burst in ticks at that rate, queue in bytes."""

    __slots__ = ("buffer", "limit", "rate")

    def __init__(self, rate: int, buffer: int, limit: int) -> None:
        self.rate = rate
        self.buffer = buffer
        self.limit = limit

    def key(self) -> tuple[int, int, int]:
        """What makes two buckets the same."""
        return self.rate, self.buffer, self.limit

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bucket) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())

    def __repr__(self) -> str:
        return f"Bucket(rate={self.rate}, buffer={self.buffer}, limit={self.limit})"


def bucket(rate: int, burst: int) -> Bucket:
    """Of bits per second and bits, in the numbers of the reference plugin.

    Where its 32 bits overflow, the most that fits: 4 GB of queue, and the tokens of 274 seconds.
    """
    rate, burst = rate >> 3, burst >> 3
    microseconds = min(burst * 1_000_000 // rate, MOST)
    buffer = min(microseconds * 1000 // TICK_NANOSECONDS, MOST)
    limit = min(rate * LATENCY_MICROSECONDS // 1_000_000 + burst, MOST)
    return Bucket(rate, buffer, limit)


def _nested(kind: int, *inner: bytes) -> bytes:
    return attribute(kind, b"".join(inner))


def bucket_add(index: int, one: Bucket) -> bytes:
    """Lets no more out of a link than the bucket gives; its root qdisc."""
    options = [attribute(TCA_TBF_PARMS, _TBF.pack(min(one.rate, MOST), one.limit, one.buffer, 0))]
    if one.rate > MOST:
        options.append(attribute(TCA_TBF_RATE64, _U64.pack(one.rate)))
    head = _TC.pack(0, index, ROOT_HANDLE, TC_H_ROOT, 0)
    return message(
        RTM_NEWQDISC, CREATE, (head, attribute(TCA_KIND, b"tbf\0"), _nested(TCA_OPTIONS, *options))
    )


def ingress_add(index: int) -> bytes:
    """Gives a link a place for filters on what comes in."""
    head = _TC.pack(0, index, INGRESS_HANDLE, TC_H_INGRESS, 0)
    return message(RTM_NEWQDISC, CREATE, (head, attribute(TCA_KIND, b"ingress\0")))


def redirect_add(index: int, to: int) -> bytes:
    """Sends all that comes in by a link out by another one, from where it comes back as if nothing had been."""
    mirred = _MIRRED.pack(0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to)
    action = _nested(
        1,
        attribute(TCA_ACT_KIND, b"mirred\0"),
        _nested(TCA_ACT_OPTIONS, attribute(TCA_MIRRED_PARMS, mirred)),
    )
    options = _nested(
        TCA_OPTIONS,
        attribute(TCA_U32_CLASSID, _U32.pack(FLOW)),
        attribute(TCA_U32_SEL, _EVERYTHING),
        _nested(TCA_U32_ACT, action),
    )
    head = _TC.pack(0, index, 0, INGRESS_HANDLE, FIRST_OF_ALL)
    return message(RTM_NEWTFILTER, CREATE, (head, attribute(TCA_KIND, b"u32\0"), options))


def ifb_create(name: str, address: bytes, mtu: int) -> bytes:
    """Makes an ifb device, down, without a queue of its own: its qdisc is the queue."""
    body = (
        _LINK.pack(0, 0, 0, 0, 0),
        attribute(IFLA_IFNAME, name.encode("ascii") + b"\0"),
        attribute(IFLA_ADDRESS, address),
        attribute(IFLA_MTU, _U32.pack(mtu)),
        attribute(IFLA_TXQLEN, _U32.pack(0)),
        _nested(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"ifb\0")),
    )
    return message(RTM_NEWLINK, CREATE, body)


def qdisc_dump(index: int) -> bytes:
    """Asks for the qdiscs of a link."""
    return message(RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP, (_TC.pack(0, index, 0, 0, 0),))


def parse_bucket(payload: bytes, index: int) -> Bucket | None:
    """The token bucket at a link's root, where this told qdisc is that."""
    _, of, _, parent, _ = _TC.unpack_from(payload)
    told = attributes(payload, _TC.size)
    if of != index or parent != TC_H_ROOT or told.get(TCA_KIND) != b"tbf\0":
        return None
    options = attributes(told.get(TCA_OPTIONS, b""), 0)
    rate, limit, buffer, _ = _TBF.unpack(options[TCA_TBF_PARMS])
    if TCA_TBF_RATE64 in options:
        rate = _U64.unpack(options[TCA_TBF_RATE64])[0]
    return Bucket(rate, buffer, limit)
