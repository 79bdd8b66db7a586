"""What this kernel can do with next-hop groups, and how it is told to choose among their members."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cni import nexthop, sysctl
from cni.errors import CniError
from speaker import log

if TYPE_CHECKING:
    from cni.netlink import NetlinkSocket

KEYS = ("ipv4/fib_multipath_hash_policy", "ipv6/fib_multipath_hash_policy")


def hash_by_layer4() -> bool:
    """Lets the kernel choose by ports, too, unless an operator chose something else; False where it is refused."""
    try:
        for key in KEYS:
            if sysctl.read(key) == "0":
                sysctl.ensure(key, "1")
    except CniError as error:
        log.warning(
            "virtual IPs shared by address alone",
            effect="all connections of a client to a virtual IP go to one pod",
            reason=error.message,
            fix="sysctl -w net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1",
        )
        return False
    return True


def heaviest_weight(socket: NetlinkSocket, number: int, member: int, protocol: int) -> int:
    """The heaviest weight of a resilient group's members; 0 where there are only plain ones, by trying.

    `number` is free for a group, `member` an object. What can't be told, as that has gone by now, is taken to be new.
    """
    heavy, light = (
        nexthop.group_body(number, ((member, weight),), protocol)
        for weight in (nexthop.HEAVIEST_BEFORE_6_12 + 1, 1)
    )
    table = nexthop.resilient(1, 1, 0)
    for body, heaviest in (
        (heavy + table, nexthop.HEAVIEST),
        (light + table, nexthop.HEAVIEST_BEFORE_6_12),
        (light, 0),
    ):
        if socket.request_each([nexthop.nexthop_add(body)])[0] is None:
            socket.request_each([nexthop.nexthop_delete(number)])
            return heaviest
    return nexthop.HEAVIEST
