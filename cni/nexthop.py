"""The rtnetlink messages for next-hop objects, which the kernel counts apart from routes. Pure bytes.

Numbers are those of linux/nexthop.h and linux/rtnetlink.h. One object for each address that a pod's virtual IPs are
reached by: taken away, it leaves all groups in the same moment, and with the last of a group the routes over it go.
"""

from __future__ import annotations

import struct

from cni.netlink import NLM_F_DUMP, attribute, attributes, message
from cni.rtnl import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    CREATE,
    NLA_F_NESTED,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    REQUEST,
    u32,
)

RTM_NEWNEXTHOP = 104
RTM_DELNEXTHOP = 105
RTM_GETNEXTHOP = 106
RTM_NEWNEXTHOPBUCKET = 116
RTM_GETNEXTHOPBUCKET = 118
RTMGRP_NEXTHOP = 1 << 31

NHA_ID = 1
NHA_GROUP = 2
NHA_GROUP_TYPE = 3
NHA_OIF = 5
NHA_GATEWAY = 6
NHA_RES_GROUP = 12
NHA_RES_BUCKET = 13
NHA_RES_GROUP_BUCKETS = 1
NHA_RES_GROUP_IDLE_TIMER = 2
NHA_RES_GROUP_UNBALANCED_TIMER = 3
NHA_RES_BUCKET_INDEX = 1
NHA_RES_BUCKET_IDLE_TIME = 2
NHA_RES_BUCKET_NH_ID = 3
NEXTHOP_GRP_TYPE_RES = 1
RTNH_F_ONLINK = 0x4

# Ids of an attachment's objects; those of groups lie below.
FIRST_ID = 0x60000000
LAST_ID = 0x6FFFFFFF
FIRST_GROUP = 0x50000000

# Weights of members: one byte until Linux 6.12, two from then on. The highest number of each means nothing.
HEAVIEST = 0xFFFF
HEAVIEST_BEFORE_6_12 = 0xFF
# Times are counted in clock_t, of which a second has USER_HZ.
USER_HZ = 100

# Family, scope, protocol, flags.
NHMSG = struct.Struct("=BBBxI")
# Id, weight less one: its low byte and its high one, which was reserved until Linux 6.12.
_MEMBER = struct.Struct("=IBBH")
_U16 = struct.Struct("=H")
_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")


class NextHopObject:
    """A next-hop object as the kernel tells it: one way (gateway, packed, and the link's index), or a group.

    A group has `members`, ids with their weights, in the kernel's order; `buckets` is 0 for one that is not resilient.
    Timers are seconds.
    """

    __slots__ = (
        "buckets",
        "gateway",
        "idle_timer",
        "members",
        "number",
        "oif",
        "protocol",
        "unbalanced_timer",
    )

    def __init__(self, payload: bytes) -> None:
        _, _, self.protocol, _ = NHMSG.unpack_from(payload)
        found = attributes(payload, NHMSG.size)
        self.number = u32(found.get(NHA_ID))
        self.oif = u32(found.get(NHA_OIF))
        self.gateway = found.get(NHA_GATEWAY, b"")
        self.members = tuple(
            (number, (high << 8 | low) + 1)
            for number, low, high, _ in _MEMBER.iter_unpack(found.get(NHA_GROUP, b""))
        )
        table = attributes(found.get(NHA_RES_GROUP, b""), 0)
        self.buckets = _u16(table.get(NHA_RES_GROUP_BUCKETS))
        self.idle_timer = u32(table.get(NHA_RES_GROUP_IDLE_TIMER)) // USER_HZ
        self.unbalanced_timer = u32(table.get(NHA_RES_GROUP_UNBALANCED_TIMER)) // USER_HZ


class Bucket:
    """One bucket of a resilient group: its place, the member that it leads to, seconds since its last packet."""

    __slots__ = ("idle", "index", "nexthop")

    def __init__(self, payload: bytes) -> None:
        found = attributes(attributes(payload, NHMSG.size).get(NHA_RES_BUCKET, b""), 0)
        self.index = _u16(found.get(NHA_RES_BUCKET_INDEX))
        self.nexthop = u32(found.get(NHA_RES_BUCKET_NH_ID))
        self.idle = int(_U64.unpack(found[NHA_RES_BUCKET_IDLE_TIME])[0]) / USER_HZ


def _u16(value: bytes | None) -> int:
    return int(_U16.unpack(value)[0]) if value is not None else 0


def nexthop_body(number: int, gateway: bytes, oif: int, protocol: int) -> bytes:
    """A way to the gateway (packed) on the link of that index, whatever networks the link is on."""
    family = AF_INET if len(gateway) == 4 else AF_INET6
    return b"".join(
        (
            NHMSG.pack(family, 0, protocol, RTNH_F_ONLINK),
            attribute(NHA_ID, _U32.pack(number)),
            attribute(NHA_OIF, _U32.pack(oif)),
            attribute(NHA_GATEWAY, gateway),
        )
    )


def group_body(number: int, members: tuple[tuple[int, int], ...], protocol: int) -> bytes:
    """A group that is not resilient, of ids with their weights (1 to HEAVIEST)."""
    packed = b"".join(
        [_MEMBER.pack(member, (weight - 1) & 0xFF, (weight - 1) >> 8, 0) for member, weight in members]
    )
    return b"".join(
        (
            NHMSG.pack(AF_UNSPEC, 0, protocol, 0),
            attribute(NHA_ID, _U32.pack(number)),
            attribute(NHA_GROUP, packed),
        )
    )


def resilient(buckets: int, idle_timer: int, unbalanced_timer: int) -> bytes:
    """What makes a group resilient, behind its body. Timers are seconds; `unbalanced_timer` 0: busy buckets stay.

    A group's number of buckets is for ever.
    """
    table = (
        attribute(NHA_RES_GROUP_BUCKETS, _U16.pack(buckets)),
        attribute(NHA_RES_GROUP_IDLE_TIMER, _U32.pack(idle_timer * USER_HZ)),
        attribute(NHA_RES_GROUP_UNBALANCED_TIMER, _U32.pack(unbalanced_timer * USER_HZ)),
    )
    kind = attribute(NHA_GROUP_TYPE, _U16.pack(NEXTHOP_GRP_TYPE_RES))
    return kind + attribute(NHA_RES_GROUP | NLA_F_NESTED, b"".join(table))


def nexthop_add(body: bytes) -> bytes:
    """Makes the object or group; refused (EEXIST) where its number is taken."""
    return message(RTM_NEWNEXTHOP, CREATE, (body,))


def nexthop_replace(body: bytes) -> bytes:
    """Makes the object or group, or puts it in place of the one with its number: groups and routes stay."""
    return message(RTM_NEWNEXTHOP, REQUEST | NLM_F_CREATE | NLM_F_REPLACE, (body,))


def nexthop_delete(number: int) -> bytes:
    """Removes an object, or a group, and takes it out of the groups that it is in; ENOENT where there is none."""
    body = (NHMSG.pack(AF_UNSPEC, 0, 0, 0), attribute(NHA_ID, _U32.pack(number)))
    return message(RTM_DELNEXTHOP, REQUEST, body)


def nexthop_dump() -> bytes:
    """Asks for all objects and groups."""
    return message(RTM_GETNEXTHOP, NLM_F_REQUEST | NLM_F_DUMP, (NHMSG.pack(AF_UNSPEC, 0, 0, 0),))


def bucket_dump(group: int) -> bytes:
    """Asks for the buckets of one resilient group."""
    body = (NHMSG.pack(AF_UNSPEC, 0, 0, 0), attribute(NHA_ID, _U32.pack(group)))
    return message(RTM_GETNEXTHOPBUCKET, NLM_F_REQUEST | NLM_F_DUMP, body)
