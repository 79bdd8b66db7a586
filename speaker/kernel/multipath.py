"""What this kernel can do with next-hop groups, and how it is told to choose among their members."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cni import nexthop, sysctl
from cni.errors import CniError
from speaker import log

if TYPE_CHECKING:
    from cni.netlink import NetlinkSocket

FAMILIES = ("ipv4", "ipv6")
# Addresses, protocol and ports, as the bits of fib_multipath_hash_fields: what makes a connection.
FIELDS = "55"


def hash_by_ports() -> bool:
    """Lets the kernel choose by ports, too, unless an operator chose something else; False where it is refused.

    Not by policy 1, where there is policy 3 (Linux 5.14): that one takes a number which a packet already has. Packets
    of pods, which come over a veth, have the sender's own, and it picks another when it has to send something again:
    the connection would be another pod's from there on.
    """
    try:
        for family in FAMILIES:
            if sysctl.read(f"{family}/fib_multipath_hash_policy") == "0":
                custom = sysctl.read(f"{family}/fib_multipath_hash_fields") is not None
                sysctl.ensure(f"{family}/fib_multipath_hash_fields", FIELDS)
                sysctl.ensure(f"{family}/fib_multipath_hash_policy", "3" if custom else "1")
    except CniError as error:
        log.warning(
            "virtual IPs shared by address alone",
            effect="all connections of a client to a virtual IP go to one pod",
            reason=error.message,
        )
        return False
    return True


def heaviest_weight(socket: NetlinkSocket, number: int, member: int, protocol: int) -> int | None:
    """The heaviest weight of a resilient group's members; 0 where there are only plain ones, by trying.

    `number` is free for a group, `member` an object; None: it has gone by now, and nothing can be told.
    """
    heavy, light = (
        nexthop.group_body(number, ((member, weight),), protocol) for weight in (nexthop.HEAVIEST, 1)
    )
    table = nexthop.resilient(1, 1, 0)
    tries = (
        (heavy + table, nexthop.HEAVIEST),
        (light + table, nexthop.HEAVIEST_BEFORE_6_12),
        (light, 0),
    )
    for body, heaviest in tries:
        if socket.request_each([nexthop.nexthop_add(body)])[0] is None:
            socket.request_each([nexthop.nexthop_delete(number)])
            return heaviest
    return None
