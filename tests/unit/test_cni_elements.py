"""nftables elements as bytes, with pyroute2 as the other reader; and port mappings as elements."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.nfnetlink.nftsocket import nft_set_elem_list_msg

from cni.elements import (
    ELEMENTS_A_MESSAGE,
    NFT_MSG_DELSETELEM,
    NFT_MSG_NEWSETELEM,
    Element,
    changes,
    field,
    parse_elements,
    spoof_elements,
)
from cni.errors import CniError
from cni.netlink import HEADER
from cni.network import PodAddress
from cni.portmap import elements

TCP, UDP, SCTP = 6, 17, 132
POD4, POD6 = bytes((10, 244, 1, 5)), b"\xfd" + bytes(14) + b"\5"
DUAL = [PodAddress(POD4, 24, b""), PodAddress(POD6, 64, b"")]
NAMES = st.sampled_from(["hostports4", "hostports6_ip", "published4", "macspoof"])


def port(number: int) -> bytes:
    return struct.pack(">Hxx", number)


def decoded(message: bytes) -> Any:
    found = nft_set_elem_list_msg(message)
    found.decode()
    return found


@given(NAMES, st.lists(st.tuples(st.binary(min_size=1, max_size=24), st.binary(max_size=20)), min_size=1))
def test_pyroute2_reads_the_elements_that_we_write(name: str, values: list[tuple[bytes, bytes]]) -> None:
    (message,) = changes(NFT_MSG_NEWSETELEM, [Element(name, key, data) for key, data in values])
    found = decoded(message)
    assert found["header"]["type"] == 10 << 8 | NFT_MSG_NEWSETELEM
    assert found["header"]["flags"] == 0x405
    assert found["nfgen_family"] == (7 if name == "macspoof" else 1)
    assert found.get_attr("NFTA_SET_ELEM_LIST_TABLE") == "anypod"
    assert found.get_attr("NFTA_SET_ELEM_LIST_SET") == name
    shown = []
    for one in found.get_attr("NFTA_SET_ELEM_LIST_ELEMENTS"):
        data = one.get_attr("NFTA_SET_ELEM_DATA")
        shown.append(
            (
                one.get_attr("NFTA_SET_ELEM_KEY").get_attr("NFTA_DATA_VALUE"),
                data.get_attr("NFTA_DATA_VALUE") if data else b"",
            )
        )
    assert shown == values


@given(NAMES, st.lists(st.tuples(st.binary(min_size=1, max_size=24), st.binary(max_size=20)), max_size=9))
def test_elements_come_back_as_they_were_written(name: str, values: list[tuple[bytes, bytes]]) -> None:
    written = [Element(name, key, data) for key, data in values]
    messages = changes(NFT_MSG_NEWSETELEM, written)
    assert [one for message in messages for one in parse_elements(message[HEADER.size :])] == written


@given(st.binary(max_size=200))
def test_elements_of_garbage_end(data: bytes) -> None:
    assert len(parse_elements(data)) <= len(data)


def test_what_is_taken_out_is_named_by_its_key_alone() -> None:
    (message,) = changes(NFT_MSG_DELSETELEM, [Element("hostports4", b"key!", b"data")])
    (one,) = decoded(message).get_attr("NFTA_SET_ELEM_LIST_ELEMENTS")
    assert one.get_attr("NFTA_SET_ELEM_DATA") is None


def test_the_largest_elements_of_one_message_fit_its_attribute() -> None:
    largest = [Element("hostports6_ip", bytes(24), bytes(20))] * (ELEMENTS_A_MESSAGE + 1)
    first, second = changes(NFT_MSG_NEWSETELEM, largest)
    assert len(first) < 1 << 16
    assert len(parse_elements(second[HEADER.size :])) == 1


def test_each_set_has_its_message() -> None:
    both = [*spoof_elements("anyp01234567890", b"\x0a\x58\1\2\3\4"), Element("hostports4", b"key!", b"data")]
    assert len(list(changes(NFT_MSG_NEWSETELEM, both))) == 3


def test_a_hardware_address_is_padded_behind_the_name() -> None:
    spoofing, guarded = spoof_elements("anyp01234567890", b"\x0a\x58\1\2\3\4")
    assert guarded == Element("guarded", b"anyp01234567890\0")
    assert spoofing == Element("macspoof", b"anyp01234567890\0\x0a\x58\1\2\3\4\0\0")


def test_a_port_is_mapped_to_the_first_address_of_each_family() -> None:
    more = [*DUAL, PodAddress(bytes((10, 9, 9, 9)), 24, b"")]
    outside = field(bytes((TCP,))) + port(8080)
    assert elements([(TCP, b"", 8080, 80)], more) == [
        Element("hostports4", outside, POD4 + port(80)),
        Element("hostports6", outside, POD6 + port(80)),
        Element("published4", outside + POD4 + port(80)),
        Element("published6", outside + POD6 + port(80)),
    ]


@pytest.mark.parametrize(
    ("host_ip", "sets"),
    [
        (b"", {"hostports4", "hostports6", "published4", "published6"}),
        (bytes(4), {"hostports4", "published4"}),
        (bytes(16), {"hostports6", "published6"}),
        (bytes((192, 0, 2, 1)), {"hostports4_ip", "published4"}),
        (bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 1)), {"hostports4_ip", "published4"}),
        (b"\x20\1\x0d\xb8" + bytes(12), {"hostports6_ip", "published6"}),
    ],
)
def test_an_address_of_the_node_is_for_its_family(host_ip: bytes, sets: set[str]) -> None:
    made = elements([(UDP, host_ip, 53, 5353)], DUAL)
    assert {one.set_name for one in made} == sets


def test_a_pod_without_an_address_of_the_family_has_no_mapping() -> None:
    assert elements([(TCP, bytes((192, 0, 2, 1)), 80, 80)], DUAL[1:]) == []
    assert elements([(TCP, b"", 80, 80)], []) == []


def test_host_port_0_maps_nothing() -> None:
    assert elements([(TCP, b"", 0, 80)], DUAL) == []


def test_one_port_of_several_protocols_and_addresses_is_several_mappings() -> None:
    ports = [
        (TCP, b"", 53, 53),
        (UDP, b"", 53, 53),
        (SCTP, b"", 53, 53),
        (TCP, bytes((192, 0, 2, 1)), 53, 54),
    ]
    made = elements(ports, DUAL[:1])
    assert [str(one) for one in made if one.set_name.startswith("hostports")] == [
        "tcp host port 53",
        "udp host port 53",
        "sctp host port 53",
        "tcp host port 192.0.2.1:53",
    ]
    assert len({(one.set_name, one.key) for one in made}) == len(made)


def test_one_port_for_two_addresses_of_the_node_is_published_once() -> None:
    ports = [(TCP, bytes((192, 0, 2, 1)), 80, 80), (TCP, bytes((192, 0, 2, 2)), 80, 80)]
    names = [one.set_name for one in elements(ports, DUAL)]
    assert names == ["hostports4_ip", "hostports4_ip", "published4"]


def test_the_same_mapping_twice_is_one() -> None:
    assert len(elements([(TCP, b"", 80, 80), (TCP, bytes(4), 80, 80)], DUAL[:1])) == 2


def test_one_host_port_for_two_ports_of_the_pod_is_refused() -> None:
    with pytest.raises(
        CniError, match="tcp host port 80 is mapped twice, to container ports 80 and 81"
    ) as found:
        elements([(TCP, b"", 80, 80), (TCP, b"", 80, 81)], DUAL)
    assert found.value.code == 7


def test_the_loopback_address_of_ipv6_is_refused() -> None:
    with pytest.raises(CniError, match="hostIP ::1") as found:
        elements([(TCP, bytes(15) + b"\1", 80, 80)], DUAL)
    assert found.value.code == 7


def test_an_element_is_shown_as_people_write_it() -> None:
    v6 = b"\x20\1\x0d\xb8" + bytes(11) + b"\1"
    (first, _) = elements([(SCTP, v6, 80, 80)], DUAL)
    assert str(first) == "sctp host port [2001:db8::1]:80"
    assert str(Element("guarded", b"ab")) == "guarded element 6162"
    assert str(Element("hostports4", b"ab")) == "hostports4 element 6162"
