"""The messages for next-hop objects against linux/nexthop.h; pyroute2 does not know them."""

from __future__ import annotations

import struct

from cni import nexthop
from cni.netlink import HEADER, attributes


def test_a_next_hop_is_removed_by_its_number_alone() -> None:
    message = nexthop.nexthop_delete(0x60000001)
    length, kind, flags, _, _ = HEADER.unpack_from(message)
    # The kernel refuses RTM_DELNEXTHOP with anything but the id in it (nh_valid_get_del_req).
    assert (length, kind, flags) == (len(message), 105, 0x5)
    assert message[HEADER.size : HEADER.size + 8] == bytes(8)
    assert attributes(message, HEADER.size + 8) == {1: struct.pack("=I", 0x60000001)}
