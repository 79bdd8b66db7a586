"""The rtnetlink messages for bridges and their ports, VLANs among them. Pure bytes.

Numbers are those of linux/if_link.h and linux/if_bridge.h. Loaded only where a network asks for more than
a plain port.
"""

from __future__ import annotations

import struct

from cni.link import (
    IFF_PROMISC,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
)
from cni.netlink import NLM_F_DUMP, attribute, attributes, message
from cni.rtnl import (
    AF_BRIDGE,
    CREATE,
    NLA_F_NESTED,
    NLM_F_REQUEST,
    REQUEST,
    RTM_DELLINK,
    RTM_GETLINK,
    RTM_NEWLINK,
    RTM_SETLINK,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni.link import Link

IFLA_PROTINFO = 12
IFLA_AF_SPEC = 26
IFLA_EXT_MASK = 29
RTEXT_FILTER_BRVLAN = 2
IFLA_BR_VLAN_FILTERING = 7
IFLA_BR_VLAN_DEFAULT_PVID = 39
IFLA_BRPORT_MODE = 4
IFLA_BRPORT_ISOLATED = 33
IFLA_BRIDGE_VLAN_INFO = 2
VLAN_PVID = 0x2
VLAN_UNTAGGED = 0x4
VLAN_RANGE_BEGIN = 0x8
VLAN_RANGE_END = 0x10
# How frames of an access port travel: tagged inside of the bridge only.
NATIVE = VLAN_PVID | VLAN_UNTAGGED

_LINK = struct.Struct("=BxHiII")
_U16 = struct.Struct("=H")
_U32 = struct.Struct("=I")
_VLAN = struct.Struct("=HH")


def bridge_create(name: str, address: bytes, mtu: int) -> bytes:
    """Makes a bridge with that hardware address. MTU 0: the kernel's."""
    body = [
        _LINK.pack(0, 0, 0, 0, 0),
        attribute(IFLA_IFNAME, name.encode("ascii") + b"\0"),
        attribute(IFLA_ADDRESS, address),
        attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"bridge\0")),
    ]
    if mtu:
        body.append(attribute(IFLA_MTU, _U32.pack(mtu)))
    return message(RTM_NEWLINK, CREATE, body)


def bridge_filter_vlans(index: int) -> bytes:
    """Has a bridge keep VLANs apart."""
    data = attribute(IFLA_INFO_DATA, attribute(IFLA_BR_VLAN_FILTERING, b"\1"))
    info = attribute(IFLA_INFO_KIND, b"bridge\0") + data
    return message(RTM_NEWLINK, REQUEST, (_LINK.pack(0, 0, index, 0, 0), attribute(IFLA_LINKINFO, info)))


def filters_vlans(bridge: Link) -> bool:
    """Whether a bridge keeps VLANs apart; False too where the kernel can't."""
    return attributes(bridge.data, 0).get(IFLA_BR_VLAN_FILTERING) == b"\1"


def default_vlan(bridge: Link) -> int:
    """The VLAN that a port of the bridge is in from the start; 0 for none."""
    found = attributes(bridge.data, 0).get(IFLA_BR_VLAN_DEFAULT_PVID, b"\0\0")
    return int(_U16.unpack(found)[0])


def link_pin(index: int, address: bytes, promisc: bool) -> bytes:
    """Sets a link up with a hardware address that it keeps, and lets it take every frame."""
    flags = IFF_UP | (IFF_PROMISC if promisc else 0)
    body = (_LINK.pack(0, 0, index, flags, flags), attribute(IFLA_ADDRESS, address))
    return message(RTM_SETLINK, REQUEST, body)


def link_enslave(index: int, bridge: int) -> bytes:
    """Makes a link a port of a bridge."""
    body = (_LINK.pack(0, 0, index, 0, 0), attribute(IFLA_MASTER, _U32.pack(bridge)))
    return message(RTM_SETLINK, REQUEST, body)


def port_set(index: int, hairpin: bool, isolated: bool) -> bytes:
    """Whether a port sends a frame back to where it came from, and none to other isolated ports."""
    flags = attribute(IFLA_BRPORT_MODE, bytes([hairpin])) + attribute(IFLA_BRPORT_ISOLATED, bytes([isolated]))
    body = (_LINK.pack(AF_BRIDGE, 0, index, 0, 0), attribute(IFLA_PROTINFO | NLA_F_NESTED, flags))
    return message(RTM_SETLINK, REQUEST, body)


def port_flags(port: Link) -> tuple[bool, bool]:
    """What `port_set` set: hairpin, isolated."""
    found = attributes(port.port, 0)
    return found.get(IFLA_BRPORT_MODE) == b"\1", found.get(IFLA_BRPORT_ISOLATED) == b"\1"


def port_vlans_add(index: int, native: int, tagged: Sequence[int]) -> bytes:
    """Puts a port into VLANs: `native` for frames without a tag, `tagged` (in order) for those with one."""
    infos = [_VLAN.pack(NATIVE, native)] if native else []
    for first, last in _runs([one for one in tagged if one != native]):
        if first == last:
            infos.append(_VLAN.pack(0, first))
        else:
            infos += [_VLAN.pack(VLAN_RANGE_BEGIN, first), _VLAN.pack(VLAN_RANGE_END, last)]
    return _vlans(RTM_SETLINK, index, infos)


def port_vlan_delete(index: int, vlan: int) -> bytes:
    """Takes a port out of a VLAN."""
    return _vlans(RTM_DELLINK, index, [_VLAN.pack(0, vlan)])


def _vlans(kind: int, index: int, infos: Sequence[bytes]) -> bytes:
    spec = b"".join([attribute(IFLA_BRIDGE_VLAN_INFO, one) for one in infos])
    body = (_LINK.pack(AF_BRIDGE, 0, index, 0, 0), attribute(IFLA_AF_SPEC | NLA_F_NESTED, spec))
    return message(kind, REQUEST, body)


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Numbers in order as runs, first and last of each."""
    runs: list[tuple[int, int]] = []
    for one in numbers:
        if runs and runs[-1][1] == one - 1:
            runs[-1] = (runs[-1][0], one)
        else:
            runs.append((one, one))
    return runs


def vlan_dump() -> bytes:
    """Asks for the VLANs of all ports of all bridges."""
    body = (_LINK.pack(AF_BRIDGE, 0, 0, 0, 0), attribute(IFLA_EXT_MASK, _U32.pack(RTEXT_FILTER_BRVLAN)))
    return message(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, body)


def parse_vlans(payload: bytes) -> tuple[int, dict[int, bool]]:
    """One answer to `vlan_dump`: the port's index, and its VLANs; True is the one of frames without a tag."""
    index = int(_LINK.unpack_from(payload)[2])
    spec = attributes(payload, _LINK.size).get(IFLA_AF_SPEC, b"")
    found: dict[int, bool] = {}
    offset = 0
    # Each VLAN is an attribute of the same type.
    while offset + 8 <= len(spec):
        length, kind, flags, vlan = struct.unpack_from("=HHHH", spec, offset)
        if length < 4:
            break
        if kind == IFLA_BRIDGE_VLAN_INFO and length == 8:
            found[vlan] = bool(flags & VLAN_PVID)
        offset += (length + 3) & ~3
    return index, found
