"""Our messages for bridges, ports and VLANs against pyroute2, as in test_cni_codec."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from cni import attach, link, port, rtnl
from cni.link import Address, Link
from cni.netlink import HEADER, attributes
from cni.network import PodAddress, PodRoute
from tests.unit.test_cni_codec import decoded, encoded

MAC = b"\x02\0\0\0\0\1"


def asked(data: bytes, kind: int) -> Any:
    """A link message as pyroute2 reads it."""
    assert HEADER.unpack_from(data)[1] == kind
    return decoded(ifinfmsg, data)


@pytest.mark.parametrize("mtu", [0, 1400])
def test_a_bridge_is_what_pyroute2_would_ask_for(mtu: int) -> None:
    theirs = ifinfmsg()
    theirs["attrs"] = [
        ("IFLA_IFNAME", "cni0"),
        ("IFLA_ADDRESS", "02:00:00:00:00:01"),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]}),
        *([("IFLA_MTU", mtu)] if mtu else []),
    ]
    assert port.bridge_create("cni0", MAC, mtu) == encoded(theirs, rtnl.RTM_NEWLINK, 0x605)


def test_vlan_filtering_is_asked_for_as_pyroute2_would() -> None:
    theirs = ifinfmsg()
    theirs["index"] = 7
    data = ("IFLA_INFO_DATA", {"attrs": [("IFLA_BR_VLAN_FILTERING", 1)]})
    theirs["attrs"] = [("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge"), data]})]
    assert port.bridge_filter_vlans(7) == encoded(theirs, rtnl.RTM_NEWLINK, 0x5)


@pytest.mark.parametrize(("promisc", "flags"), [(False, 0x1), (True, 0x101)])
def test_a_bridge_keeps_its_address_and_may_take_every_frame(promisc: bool, flags: int) -> None:
    message = port.link_pin(7, MAC, promisc)
    found = asked(message, rtnl.RTM_SETLINK)
    assert (found["index"], found["flags"], found["change"]) == (7, flags, flags)
    assert found.get_attr("IFLA_ADDRESS") == "02:00:00:00:00:01"
    assert Link(message[HEADER.size :]).promisc is promisc


def test_a_link_becomes_a_port() -> None:
    found = asked(port.link_enslave(7, 3), rtnl.RTM_SETLINK)
    assert (found["index"], found.get_attr("IFLA_MASTER")) == (7, 3)


@pytest.mark.parametrize("hairpin", [False, True])
@pytest.mark.parametrize("isolated", [False, True])
def test_a_ports_flags_are_read_back_as_they_were_set(hairpin: bool, isolated: bool) -> None:
    message = port.port_set(7, hairpin, isolated)
    assert message[HEADER.size] == rtnl.AF_BRIDGE
    found = Link(bytes(16))
    found.port = attributes(message[HEADER.size :], 16)[port.IFLA_PROTINFO]
    assert port.port_flags(found) == (hairpin, isolated)


def test_what_pyroute2_says_of_a_bridge_and_its_port_is_understood() -> None:
    theirs = ifinfmsg()
    theirs["index"] = 7
    data = {"attrs": [("IFLA_BR_VLAN_FILTERING", 1), ("IFLA_BR_VLAN_DEFAULT_PVID", 77)]}
    theirs["attrs"] = [
        ("IFLA_OPERSTATE", "UP"),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", data)]}),
    ]
    found = Link(encoded(theirs, rtnl.RTM_NEWLINK, 0)[HEADER.size :])
    assert (found.running, port.filters_vlans(found), port.default_vlan(found)) == (True, True, 77)
    bare = Link(bytes(16))
    assert (bare.running, bare.promisc, port.filters_vlans(bare), port.default_vlan(bare)) == (
        False,
        False,
        False,
        0,
    )


VLANS = st.sets(st.integers(1, 4094), max_size=60)


def expanded(message: Any) -> dict[int, int]:
    """VLAN and flags of each that a message asks for, its runs expanded."""
    found: dict[int, int] = {}
    begin = 0
    for name, one in message.get_attr("IFLA_AF_SPEC")["attrs"]:
        assert name == "IFLA_BRIDGE_VLAN_INFO"
        if one["flags"] & port.VLAN_RANGE_BEGIN:
            begin = one["vid"]
        else:
            first = begin if one["flags"] & port.VLAN_RANGE_END else one["vid"]
            flags = one["flags"] & ~port.VLAN_RANGE_END
            found |= dict.fromkeys(range(first, one["vid"] + 1), flags)
    return found


@given(st.integers(1, 4094), VLANS)
def test_pyroute2_reads_the_vlans_that_we_ask_for(native: int, tagged: set[int]) -> None:
    message = port.port_vlans_add(7, native, sorted(tagged))
    found = asked(message, rtnl.RTM_SETLINK)
    assert (found["family"], found["index"]) == (rtnl.AF_BRIDGE, 7)
    assert expanded(found) == dict.fromkeys(tagged, 0) | {native: port.NATIVE}
    # The kernel takes no attribute of more than 64 KiB, and a run of VLANs is two entries.
    assert len(message) < 8 * (len(tagged) + 8)


def test_all_vlans_are_a_short_message() -> None:
    assert len(port.port_vlans_add(7, 1, range(1, 4095))) < 100


def test_a_port_leaves_a_vlan() -> None:
    found = asked(port.port_vlan_delete(7, 1), rtnl.RTM_DELLINK)
    assert (found["family"], found["index"], expanded(found)) == (rtnl.AF_BRIDGE, 7, {1: 0})


def test_the_vlans_of_a_port_are_read() -> None:
    theirs = ifinfmsg()
    theirs["family"], theirs["index"] = rtnl.AF_BRIDGE, 9
    infos = [{"flags": port.NATIVE, "vid": 100}, {"flags": 0, "vid": 101}]
    theirs["attrs"] = [("IFLA_AF_SPEC", {"attrs": [("IFLA_BRIDGE_VLAN_INFO", one) for one in infos]})]
    payload = encoded(theirs, rtnl.RTM_NEWLINK, 0)[HEADER.size :]
    assert port.parse_vlans(payload) == (9, {100: True, 101: False})
    assert port.parse_vlans(payload[:16]) == (9, {})


@given(st.binary(max_size=80))
def test_vlans_of_garbage_end(data: bytes) -> None:
    assert len(port.parse_vlans(bytes(16) + data)[1]) <= len(data)


def test_an_address_tells_whether_it_is_usable() -> None:
    theirs = ifaddrmsg()
    theirs["family"], theirs["prefixlen"], theirs["index"], theirs["flags"] = socket.AF_INET6, 64, 4, 0x40
    theirs["attrs"] = [("IFA_ADDRESS", "fd00::5"), ("IFA_FLAGS", 0x48)]
    found = Address(encoded(theirs, rtnl.RTM_NEWADDR, 0)[HEADER.size :])
    assert found.flags == link.IFA_F_TENTATIVE | link.IFA_F_DADFAILED


def test_an_address_with_duplicate_detection_has_no_flags() -> None:
    found = decoded(ifaddrmsg, link.address_add(4, b"\xfd" + bytes(15), 64, 0))
    assert found.get_attr("IFA_FLAGS") == 0


def test_an_address_is_taken_away_by_what_it_is() -> None:
    found = decoded(ifaddrmsg, link.address_delete(4, bytes([10, 1, 0, 1]), 24))
    assert (found["index"], found["prefixlen"], found.get_attr("IFA_LOCAL")) == (4, 24, "10.1.0.1")


POD = PodAddress(bytes([10, 1, 0, 5]), 24, bytes([10, 1, 0, 1]))


def routed(one: PodRoute, *addresses: PodAddress) -> Any:
    """A pod's route as pyroute2 reads it."""
    [message] = attach.pod_routes([one], addresses, 3)
    return decoded(rtmsg, message)


def test_a_route_without_gateway_takes_that_of_the_address() -> None:
    found = routed(PodRoute(bytes([10, 96, 0, 0]), 12, None), POD)
    assert (found.get_attr("RTA_GATEWAY"), found["scope"], found["table"]) == ("10.1.0.1", 0, 254)
    assert found.get_attr("RTA_METRICS") is None


def test_a_route_without_any_gateway_leads_onto_the_link() -> None:
    without = PodAddress(POD.ip, 24, b"")
    for found in (
        routed(PodRoute(bytes([10, 96, 0, 0]), 12, None), without),
        routed(PodRoute(bytes([10, 96, 0, 0]), 12, None, scope=253), POD),
    ):
        assert (found.get_attr("RTA_GATEWAY"), found.get_attr("RTA_OIF"), found["scope"]) == (None, 3, 253)
    assert routed(PodRoute(bytes(16), 0, None), POD).get_attr("RTA_GATEWAY") is None


def test_a_route_has_all_that_version_1_1_0_knows() -> None:
    one = PodRoute(bytes([10, 96, 0, 0]), 12, bytes([10, 1, 0, 9]), 1400, 1360, 50, 1000, 0)
    found = routed(one, POD)
    assert (found.get_attr("RTA_GATEWAY"), found.get_attr("RTA_PRIORITY")) == ("10.1.0.9", 50)
    assert (found.get_attr("RTA_TABLE"), found["scope"]) == (1000, 0)
    metrics = found.get_attr("RTA_METRICS")
    assert (metrics.get_attr("RTAX_MTU"), metrics.get_attr("RTAX_ADVMSS")) == (1400, 1360)
