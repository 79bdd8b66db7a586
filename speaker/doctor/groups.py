"""Says which next-hop groups the kernel has, by trying in the network namespace that it is run in."""

from __future__ import annotations

from cni import nexthop
from cni.link import link_up
from cni.netlink import NetlinkError, NetlinkSocket
from speaker.doctor.values import Groups
from speaker.kernel.multipath import heaviest_weight

LOOPBACK = 1
GATEWAY = bytes([192, 0, 2, 1])  # nobody, RFC 5737
MEMBER, GROUP, PROTOCOL = 1, 2, 178


def groups() -> Groups:
    """Leaves an object and the loopback link up behind."""
    socket = NetlinkSocket()
    try:
        socket.request([link_up(LOOPBACK)])
        socket.request([nexthop.nexthop_add(nexthop.nexthop_body(MEMBER, GATEWAY, LOOPBACK, PROTOCOL))])
    except NetlinkError:
        return Groups.NONE
    else:
        return Groups.RESILIENT if heaviest_weight(socket, GROUP, MEMBER, PROTOCOL) else Groups.PLAIN
    finally:
        socket.close()


if __name__ == "__main__":
    print(groups().value)
