"""The rtnetlink messages for next-hop objects, which the kernel counts apart from routes. Pure bytes.

Numbers are those of linux/nexthop.h and linux/rtnetlink.h. One object for each address that a pod's virtual IPs are
reached by: taken away, it leaves all groups in the same moment, and with the last of a group the routes over it go.
"""

from __future__ import annotations

import struct

from cni.netlink import attribute, message
from cni.rtnl import AF_UNSPEC, REQUEST

RTM_NEWNEXTHOP = 104
RTM_DELNEXTHOP = 105
RTM_GETNEXTHOP = 106

NHA_ID = 1

# Ids of an attachment's objects; those of groups lie below.
FIRST_ID = 0x60000000
LAST_ID = 0x6FFFFFFF

# Family, scope, protocol, flags.
NHMSG = struct.Struct("=BBBxI")
_U32 = struct.Struct("=I")


def nexthop_delete(number: int) -> bytes:
    """Removes an object, or a group, and takes it out of the groups that it is in; ENOENT where there is none."""
    body = (NHMSG.pack(AF_UNSPEC, 0, 0, 0), attribute(NHA_ID, _U32.pack(number)))
    return message(RTM_DELNEXTHOP, REQUEST, body)
