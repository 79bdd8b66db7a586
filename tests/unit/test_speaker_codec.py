"""Paths in messages of GoBGP 3 to and from our own values."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from google.protobuf.any_pb2 import Any as Packed

from protos.gobgp_v3 import attribute_pb2 as attribute
from protos.gobgp_v3 import gobgp_pb2 as api
from speaker.bgp import MAX_BANDWIDTH, Attributes, Destination, LearnedPath, LocalPath
from speaker.gobgp import v3_paths as codec
from speaker.gobgp.values import IDENTIFIER

if TYPE_CHECKING:
    from google.protobuf.message import Message


def packed(message: Message) -> Packed:
    found = Packed()
    found.Pack(message)
    return found


def from_peer(*attributes: Message, asn: int = 65000) -> api.Path:
    return api.Path(pattrs=[packed(item) for item in attributes], neighbor_ip="10.0.0.254", source_asn=asn)


def destination(*paths: api.Path, prefix: str = "10.1.0.0/24") -> Destination | None:
    return codec.destination_from_api(api.Destination(prefix=prefix, paths=paths), 65001, {"fe80::2": "eth1"})


def test_type_urls_are_gobgps() -> None:
    message = codec.path_to_api(LocalPath(ip_network("10.1.0.0/24"), ip_address(0)))
    assert message.nlri.type_url == "type.googleapis.com/apipb.IPAddressPrefix"
    assert [item.type_url for item in message.pattrs] == [
        "type.googleapis.com/apipb.OriginAttribute",
        "type.googleapis.com/apipb.NextHopAttribute",
    ]


def test_a_local_path_comes_back_as_ours() -> None:
    for prefix, hop in (("10.1.0.0/24", "10.0.0.1"), ("fd00::/64", "::")):
        path = LocalPath(ip_network(prefix), ip_address(hop))
        message = codec.path_to_api(path)
        message.neighbor_ip = "<nil>"
        assert destination(message, prefix=prefix) == Destination(path.prefix, path, False, ())


def test_a_local_path_keeps_its_attributes() -> None:
    attributes = Attributes(frozenset({65001 << 16 | 100, 0}), frozenset({(65001, 1, 2)}), 0, 0, 3_000_000)
    path = LocalPath(ip_network("10.1.0.0/24"), ip_address("10.0.0.1"), attributes)
    message = codec.path_to_api(path)
    message.neighbor_ip = "<nil>"
    assert destination(message) == Destination(path.prefix, path, False, ())


def test_a_link_bandwidth_is_a_community_of_two_octets_of_the_as() -> None:
    path = LocalPath(ip_network("10.1.0.0/24"), ip_address(0), Attributes(link_bandwidth=1_000_000))
    for asn, named in ((65001, 65001), (4200000001, 23456)):
        extended, found = attribute.ExtendedCommunitiesAttribute(), attribute.LinkBandwidthExtended()
        assert codec.path_to_api(path, asn).pattrs[2].Unpack(extended)
        assert extended.communities[0].Unpack(found)
        assert found == attribute.LinkBandwidthExtended(asn=named, bandwidth=1e6)


def test_extended_communities_that_say_nothing_to_us_are_passed_over() -> None:
    unknown = Packed(type_url="type.googleapis.com/apipb.UnknownExtended", value=b"\x08\x43")
    for odd in (float("nan"), float("inf"), -1.0):
        bandwidth = packed(attribute.LinkBandwidthExtended(asn=1, bandwidth=odd))
        extended = attribute.ExtendedCommunitiesAttribute(communities=[unknown, bandwidth])
        found = destination(from_peer(attribute.NextHopAttribute(next_hop="10.0.0.2"), extended))
        assert found is not None
        assert len(found.learned) == 1


BANDWIDTHS = [0, 1, 3_000_000, (1 << 24) + 1, 1_000_000 * 4294 + 7, MAX_BANDWIDTH, 1 << 40]


@pytest.mark.parametrize("wanted", BANDWIDTHS)
def test_a_link_bandwidth_is_what_will_be_read_back(wanted: int) -> None:
    path = LocalPath(ip_network("10.1.0.0/24"), ip_address(0), Attributes(link_bandwidth=wanted))
    message = codec.path_to_api(path)
    message.neighbor_ip = "<nil>"
    assert destination(message) == Destination(path.prefix, path, False, ())
    said = path.attributes.link_bandwidth or 0
    assert said <= MAX_BANDWIDTH < 1 << 32
    assert abs(said - min(wanted, MAX_BANDWIDTH)) <= wanted >> 24


def test_a_local_path_without_our_mark_is_foreign() -> None:
    message = codec.path_to_api(LocalPath(ip_network("10.1.0.0/24"), ip_address(0)))
    message.neighbor_ip = "<nil>"
    message.identifier = 0
    found = destination(message)
    assert found is not None
    assert (found.ours, found.foreign) == (None, True)


def test_a_withdrawal_names_prefix_family_and_mark() -> None:
    message = codec.withdrawal_to_api(ip_network("fd00::/64"))
    assert message.is_withdraw
    assert message.identifier == IDENTIFIER
    assert message.family.afi == api.Family.AFI_IP6
    assert message.nlri.value == attribute.IPAddressPrefix(prefix="fd00::", prefix_len=64).SerializeToString()


def test_a_learned_path_has_the_attributes_that_decide() -> None:
    sequence = attribute.AsSegment(type=attribute.AsSegment.AS_SEQUENCE, numbers=[65000, 65010])
    bag = attribute.AsSegment(type=attribute.AsSegment.AS_SET, numbers=[1, 2, 3])
    confederation = attribute.AsSegment(type=attribute.AsSegment.AS_CONFED_SEQUENCE, numbers=[4, 5])
    found = destination(
        from_peer(
            attribute.OriginAttribute(origin=2),
            attribute.AsPathAttribute(segments=[confederation, sequence, bag]),
            attribute.NextHopAttribute(next_hop="10.0.0.254"),
            attribute.MultiExitDiscAttribute(med=7),
            attribute.LocalPrefAttribute(local_pref=200),
        )
    )
    assert found is not None
    assert found.learned == (LearnedPath(ip_address("10.0.0.254"), "10.0.0.254", 200, 3, 2, 7, True),)


def test_absent_attributes_have_the_usual_values() -> None:
    found = destination(from_peer(attribute.NextHopAttribute(next_hop="10.0.0.2"), asn=65001))
    assert found is not None
    assert found.learned == (LearnedPath(ip_address("10.0.0.2"), "10.0.0.254", 100, 0, 0, 0, False),)


def test_ipv6_next_hops_are_the_global_one() -> None:
    hops = attribute.MpReachNLRIAttribute(next_hops=["fd00::2", "fe80::2"])
    found = destination(from_peer(hops), prefix="fd01::/64")
    assert found is not None
    assert found.learned[0].next_hop == ip_address("fd00::2")


def test_link_local_next_hops_say_their_interface() -> None:
    for hops in (["fe80::2"], ["fe80::2", "fe80::2"], ["::", "fe80::2"], ["fd00::2", "fe80::2"]):
        path = from_peer(attribute.MpReachNLRIAttribute(next_hops=hops))
        path.neighbor_ip = "fe80::2"
        found = destination(path)
        assert found is not None
        assert (found.learned[0].next_hop, found.learned[0].interface) == (ip_address("fe80::2"), "eth1")


def test_neighbours_of_one_address_on_several_links_are_told_apart_by_their_router_ids() -> None:
    links = {"fe80::1": "eth2", "fe80::1 10.0.0.2": "eth1", "fe80::1 10.0.0.3": "eth2"}
    paths = [from_peer(attribute.MpReachNLRIAttribute(next_hops=["fe80::1"])) for _ in range(2)]
    for path, router in zip(paths, ("10.0.0.2", "10.0.0.3"), strict=True):
        path.neighbor_ip, path.source_id = "fe80::1", router
    found = codec.destination_from_api(api.Destination(prefix="10.1.0.0/24", paths=paths), 65001, links)
    assert found is not None
    assert [path.interface for path in found.learned] == ["eth1", "eth2"]


def test_a_stale_path_says_so() -> None:
    path = from_peer(attribute.NextHopAttribute(next_hop="10.0.0.2"))
    path.stale = True
    found = destination(path)
    assert found is not None
    assert found.learned[0].stale


def test_prefixes_that_are_none_are_passed_over() -> None:
    assert destination(prefix="<nil>/24") is None
    broken = api.Path(nlri=packed(attribute.IPAddressPrefix(prefix="x", prefix_len=24)))
    good = api.Path(nlri=packed(attribute.IPAddressPrefix(prefix="10.1.0.0", prefix_len=24)))
    assert codec.prefixes_of_paths([broken, good]) == [ip_network("10.1.0.0/24")]


def test_paths_of_ours_in_an_event_are_those_that_came_with_our_mark() -> None:
    attributes = Attributes(local_pref=7)
    paths = [LocalPath(ip_network(f"10.1.{i}.0/24"), ip_address("10.0.0.1"), attributes) for i in range(2)]
    messages = [codec.path_to_api(path) for path in paths]
    foreign, gone, theirs = (codec.path_to_api(paths[0]) for _ in range(3))
    foreign.identifier = 0
    gone.is_withdraw = True
    theirs.neighbor_ip = "10.0.0.254"
    assert codec.paths_of_ours([*messages, foreign, gone, theirs]) == tuple(paths)


def test_messages_of_like_paths_are_apart() -> None:
    first, second = (LocalPath(ip_network(f"10.1.{i}.0/24"), ip_address(0)) for i in range(2))
    message = codec.path_to_api(first)
    message.is_withdraw = True
    assert not codec.path_to_api(second).is_withdraw
    assert codec.paths_of_ours([codec.path_to_api(second)]) == (second,)
