"""The messages for next-hop objects against linux/nexthop.h, and against what pyroute2 makes of that."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink import nla, nlmsg

from cni import nexthop
from cni.netlink import HEADER, attributes

if TYPE_CHECKING:
    from collections.abc import Mapping


def test_a_next_hop_is_removed_by_its_number_alone() -> None:
    message = nexthop.nexthop_delete(0x60000001)
    length, kind, flags, _, _ = HEADER.unpack_from(message)
    # The kernel refuses RTM_DELNEXTHOP with anything but the id in it (nh_valid_get_del_req).
    assert (length, kind, flags) == (len(message), 105, 0x5)
    assert message[HEADER.size : HEADER.size + 8] == bytes(8)
    assert attributes(message, HEADER.size + 8) == {1: struct.pack("=I", 0x60000001)}


class nhmsg(nlmsg):  # type: ignore[misc]  # noqa: N801 - named as the structure is
    """linux/nexthop.h for pyroute2, which can do netlink but has no next-hop objects."""

    fields = (("family", "B"), ("scope", "B"), ("protocol", "B"), ("resvd", "B"), ("flags", "I"))
    nla_map = (
        ("NHA_UNSPEC", "none"),
        ("NHA_ID", "uint32"),
        ("NHA_GROUP", "cdata"),
        ("NHA_GROUP_TYPE", "uint16"),
        ("NHA_BLACKHOLE", "flag"),
        ("NHA_OIF", "uint32"),
        ("NHA_GATEWAY", "cdata"),
        ("NHA_ENCAP_TYPE", "uint16"),
        ("NHA_ENCAP", "hex"),
        ("NHA_GROUPS", "flag"),
        ("NHA_MASTER", "uint32"),
        ("NHA_FDB", "flag"),
        ("NHA_RES_GROUP", "res_group"),
    )

    class res_group(nla):  # type: ignore[misc]  # noqa: N801
        nla_flags = 0x8000
        nla_map = (
            ("NHA_RES_GROUP_PAD", "none"),
            ("NHA_RES_GROUP_BUCKETS", "uint16"),
            ("NHA_RES_GROUP_IDLE_TIMER", "uint32"),
            ("NHA_RES_GROUP_UNBALANCED_TIMER", "uint32"),
        )


def encoded(fields: Mapping[str, object], kind: int, flags: int) -> bytes:
    message = nhmsg()
    for key, value in fields.items():
        message[key] = value
    message["header"]["type"], message["header"]["flags"] = kind, flags
    message.encode()
    return bytes(message.data)


@given(
    st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)), st.integers(1, 1 << 30)
)
def test_a_next_hop_is_what_pyroute2_would_ask_for(gateway: bytes, oif: int) -> None:
    body = nexthop.nexthop_body(0x60000001, gateway, oif, 178)
    theirs = {
        "family": 2 if len(gateway) == 4 else 10,
        "protocol": 178,
        "flags": 4,
        "attrs": [("NHA_ID", 0x60000001), ("NHA_OIF", oif), ("NHA_GATEWAY", gateway)],
    }
    assert nexthop.nexthop_add(body) == encoded(theirs, 104, 0x605)
    assert nexthop.nexthop_replace(body) == encoded(theirs, 104, 0x505)
    found = nexthop.NextHopObject(body)
    assert (found.number, found.gateway, found.oif, found.protocol) == (0x60000001, gateway, oif, 178)
    assert (found.members, found.buckets) == ((), 0)


MEMBERS = st.lists(
    st.tuples(st.integers(1, 0xFFFFFFFF), st.integers(1, 0xFFFF)), min_size=1, max_size=20
).map(tuple)
SECONDS = st.integers(0, 86400)


@given(MEMBERS, st.integers(1, 0xFFFF), SECONDS, SECONDS)
def test_a_group_is_what_pyroute2_would_ask_for(
    members: tuple[tuple[int, int], ...], buckets: int, idle: int, unbalanced: int
) -> None:
    body = nexthop.group_body(0x50000001, members, 178)
    packed = b"".join(
        struct.pack("=IBBH", number, (weight - 1) % 256, (weight - 1) // 256, 0) for number, weight in members
    )
    attrs: list[tuple[str, object]] = [("NHA_ID", 0x50000001), ("NHA_GROUP", packed)]
    assert nexthop.nexthop_add(body) == encoded({"protocol": 178, "attrs": attrs}, 104, 0x605)
    table = [
        ("NHA_RES_GROUP_BUCKETS", buckets),
        ("NHA_RES_GROUP_IDLE_TIMER", idle * 100),
        ("NHA_RES_GROUP_UNBALANCED_TIMER", unbalanced * 100),
    ]
    attrs += [("NHA_GROUP_TYPE", 1), ("NHA_RES_GROUP", {"attrs": table})]
    body += nexthop.resilient(buckets, idle, unbalanced)
    assert nexthop.nexthop_replace(body) == encoded({"protocol": 178, "attrs": attrs}, 104, 0x505)
    found = nexthop.NextHopObject(body)
    assert (found.number, found.members, found.protocol) == (0x50000001, members, 178)
    assert (found.buckets, found.idle_timer, found.unbalanced_timer) == (buckets, idle, unbalanced)


def test_a_members_weight_before_linux_6_12_has_one_byte() -> None:
    """The byte behind it was reserved and had to be 0."""
    light, heavy = nexthop.HEAVIEST_BEFORE_6_12, nexthop.HEAVIEST_BEFORE_6_12 + 2
    found = attributes(nexthop.group_body(1, ((7, light), (8, heavy)), 178), 8)[2]
    assert [found[5], found[13]] == [0, 1]


def test_a_bucket_is_read() -> None:
    table = (
        struct.pack("=HHHxx", 6, 1, 3)
        + struct.pack("=HHI", 8, 3, 0x60000002)
        + struct.pack("=HHQ", 12, 2, 250)
    )
    payload = (
        bytes(8)
        + struct.pack("=HHI", 8, 1, 0x50000001)
        + struct.pack("=HH", 4 + len(table), 0x8000 | 13)
        + table
    )
    found = nexthop.Bucket(payload)
    assert (found.index, found.nexthop, found.idle) == (3, 0x60000002, 2.5)
