"""Messages of GoBGP 4 to and from our own values."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from protos.gobgp_v4 import attribute_pb2 as attribute
from protos.gobgp_v4 import gobgp_pb2 as api
from speaker.bgp import (
    Attributes,
    BgpGlobal,
    Destination,
    DynamicPeers,
    Family,
    LearnedPath,
    LocalPath,
    Peer,
    Policies,
    PrefixLimit,
    PrefixMatch,
    Rule,
    SessionOptions,
    Source,
)
from speaker.gobgp import v4_paths, v4_peers, v4_policies
from speaker.gobgp.statements import programs
from speaker.gobgp.values import IDENTIFIER

DAEMON = BgpGlobal(65001, "10.0.0.1", -1)
OPTIONS = SessionOptions(
    65002,
    local_asn=65020,
    families=frozenset(Family),
    password="secret",  # noqa: S106
    local_address=ip_address("10.0.0.1"),
    ttl_security=2,
    connect_retry=7,
    hold=9,
    keepalive=3,
    restart_time=120,
    reflector_client=True,
    cluster_id="10.9.9.9",
    prefix_limits=(PrefixLimit(Family.IPV4, 10, 50),),
)
PEER = Peer(ip_address("10.0.0.2"), OPTIONS, port=1179, description="rack")
Attribute = attribute.Attribute


def destination(*paths: api.Path, prefix: str = "10.1.0.0/24") -> Destination | None:
    return v4_paths.destination_from_api(api.Destination(prefix=prefix, paths=paths), 65001, {})


def from_peer(*pattrs: attribute.Attribute, peer: str = "10.0.0.254", asn: int = 65000) -> api.Path:
    return api.Path(pattrs=pattrs, neighbor_ip=peer, source_asn=asn)


def next_hop(text: str) -> attribute.Attribute:
    return Attribute(next_hop=attribute.NextHopAttribute(next_hop=text))


# ---- paths


def test_a_local_path_comes_back_as_ours_however_the_daemon_calls_its_source() -> None:
    carried = Attributes(frozenset({1, 2}), frozenset({(1, 2, 3)}), 0, 0, 3_000_000)
    for prefix, hop in (("10.1.0.0/24", "10.0.0.1"), ("fd00::/64", "::")):
        path = LocalPath(ip_network(prefix), ip_address(hop), carried)
        for source in ("", "<nil>", "invalid IP"):
            message = v4_paths.path_to_api(path)
            message.neighbor_ip = source
            assert destination(message, prefix=prefix) == Destination(path.prefix, path, False, ())


def test_what_is_not_said_of_a_path_is_not_sent() -> None:
    message = v4_paths.path_to_api(LocalPath(ip_network("10.1.0.0/24"), ip_address(0)))
    assert [item.WhichOneof("attr") for item in message.pattrs] == ["origin", "next_hop"]
    assert message.identifier == IDENTIFIER


def test_a_link_bandwidth_is_a_community_of_two_octets_of_the_as() -> None:
    path = LocalPath(ip_network("10.1.0.0/24"), ip_address(0), Attributes(link_bandwidth=1_000_000))
    for asn, named in ((65001, 65001), (4200000001, 23456)):
        (found,) = v4_paths.path_to_api(path, asn).pattrs[2].extended_communities.communities
        assert found.link_bandwidth == attribute.LinkBandwidthExtended(asn=named, bandwidth=1e6)


def test_extended_communities_that_say_nothing_to_us_are_passed_over() -> None:
    unknown = attribute.ExtendedCommunity.FromString(b"\x0a\x02\x08\x43")  # field 1: what no version 4 knows
    for odd in (float("nan"), float("inf"), -1.0):
        bandwidth = attribute.ExtendedCommunity(
            link_bandwidth=attribute.LinkBandwidthExtended(asn=1, bandwidth=odd)
        )
        extended = attribute.ExtendedCommunitiesAttribute(communities=[unknown, bandwidth])
        found = destination(from_peer(next_hop("10.0.0.2"), Attribute(extended_communities=extended)))
        assert found is not None
        assert len(found.learned) == 1


def test_a_local_path_without_our_mark_is_foreign() -> None:
    message = v4_paths.path_to_api(LocalPath(ip_network("10.1.0.0/24"), ip_address(0)))
    message.identifier = 0
    assert destination(message) == Destination(ip_network("10.1.0.0/24"), None, True, ())


def test_a_withdrawal_names_prefix_family_and_mark() -> None:
    message = v4_paths.withdrawal_to_api(ip_network("fd00::/64"))
    assert (message.is_withdraw, message.identifier) == (True, IDENTIFIER)
    assert message.family.afi == api.Family.AFI_IP6
    assert (message.nlri.prefix.prefix, message.nlri.prefix.prefix_len) == ("fd00::", 64)


def test_a_learned_path_has_the_attributes_that_decide() -> None:
    sequence = attribute.AsSegment(type=attribute.AsSegment.TYPE_AS_SEQUENCE, numbers=[65000, 65010])
    bag = attribute.AsSegment(type=attribute.AsSegment.TYPE_AS_SET, numbers=[1, 2, 3])
    confederation = attribute.AsSegment(type=attribute.AsSegment.TYPE_AS_CONFED_SEQUENCE, numbers=[4, 5])
    path = from_peer(
        Attribute(origin=attribute.OriginAttribute(origin=2)),
        Attribute(as_path=attribute.AsPathAttribute(segments=[confederation, sequence, bag])),
        next_hop("10.0.0.254"),
        Attribute(multi_exit_disc=attribute.MultiExitDiscAttribute(med=7)),
        Attribute(local_pref=attribute.LocalPrefAttribute(local_pref=200)),
        Attribute(),
    )
    path.stale = True
    found = destination(path)
    assert found is not None
    hop = ip_address("10.0.0.254")
    assert found.learned == (LearnedPath(hop, "10.0.0.254", 200, 3, 2, 7, True, stale=True),)


def test_absent_attributes_have_the_usual_values() -> None:
    found = destination(from_peer(next_hop("10.0.0.2"), asn=65001), from_peer())
    assert found is not None
    assert found.learned == (LearnedPath(ip_address("10.0.0.2"), "10.0.0.254", 100, 0, 0, 0, False),)


def test_next_hops_are_global_ones_but_on_an_unnumbered_link() -> None:
    both = Attribute(mp_reach=attribute.MpReachNLRIAttribute(next_hops=["fd00::2", "fe80::2"]))
    near = Attribute(mp_reach=attribute.MpReachNLRIAttribute(next_hops=["::", "fe80::2"]))
    for item, peer, hop, interface in (
        (both, "fd00::2", "fd00::2", ""),
        (both, "fe80::2%eth1", "fe80::2", "eth1"),
        (near, "fe80::2%eth1", "fe80::2", "eth1"),
        (next_hop("::ffff:10.0.0.2"), "10.0.0.2", "10.0.0.2", ""),
    ):
        found = destination(from_peer(item, peer=peer), prefix="fd01::/64")
        assert found is not None
        assert (found.learned[0].next_hop, found.learned[0].interface) == (ip_address(hop), interface)


def test_a_links_interface_is_known_without_a_zone() -> None:
    path = from_peer(
        Attribute(mp_reach=attribute.MpReachNLRIAttribute(next_hops=["fe80::2"])), peer="fe80::2"
    )
    message = api.Destination(prefix="10.1.0.0/24", paths=[path])
    found = v4_paths.destination_from_api(message, 65001, {"fe80::2": "eth1"})
    assert found is not None
    assert found.learned[0].interface == "eth1"


def test_prefixes_that_are_none_are_passed_over() -> None:
    assert destination(prefix="<nil>/24") is None
    paths = [v4_paths.withdrawal_to_api(ip_network("10.1.0.0/24")), api.Path()]
    paths[0].nlri.prefix.prefix = "x"
    assert v4_paths.prefixes_of_paths(paths) == []


def test_only_an_update_without_anything_is_an_end_of_rib() -> None:
    assert v4_paths.ends_of_rib([api.Path()])
    assert not v4_paths.ends_of_rib([api.Path(is_withdraw=True), from_peer(next_hop("10.0.0.2"))])


# ---- peers


def test_peers_and_groups_come_back_as_they_went() -> None:
    message = v4_peers.peer_to_api(PEER, restarting=True)
    assert message.graceful_restart.local_restarting
    assert (message.ttl_security.ttl_min, message.transport.remote_port) == (254, 1179)
    message.state.neighbor_address = "10.0.0.2"
    assert v4_peers.status_from_api(message, DAEMON, 0.0).peer == PEER
    group = DynamicPeers("racks", (ip_network("10.2.0.0/16"), ip_network("fd02::/64")), OPTIONS)
    members = [
        api.DynamicNeighbor(prefix=str(prefix), peer_group="racks") for prefix in reversed(group.prefixes)
    ]
    members.append(api.DynamicNeighbor(prefix="10.3.0.0/16", peer_group="others"))
    assert v4_peers.group_from_api(v4_peers.group_to_api(group), members, DAEMON) == group


def test_a_restart_counts_only_where_it_is_graceful() -> None:
    options = replace(OPTIONS, restart_time=0)
    message = v4_peers.peer_to_api(replace(PEER, options=options), restarting=True)
    assert not message.graceful_restart.local_restarting
    assert not message.afi_safis[0].mp_graceful_restart.config.enabled


def test_what_the_daemon_fills_in_is_left_out_again() -> None:
    message = v4_peers.peer_to_api(PEER, restarting=False)
    message.conf.local_asn = 65001
    message.transport.local_address = "0.0.0.0"
    message.route_reflector.route_reflector_cluster_id = "10.0.0.1"
    found = v4_peers.status_from_api(message, DAEMON, 0.0).peer.options
    assert (found.local_asn, found.local_address, found.cluster_id) == (0, None, "")
    wide = api.Global(asn=65001, router_id="10.0.0.1", listen_port=-1, listen_addresses=["0.0.0.0", "::"])
    assert v4_peers.global_from_api(wide) == DAEMON
    assert v4_peers.global_from_api(api.Global(router_id="invalid IP")) is None


def test_an_interface_peer_has_no_address_but_where_it_was_found() -> None:
    peer = replace(PEER, address=None, interface="eth1")
    message = v4_peers.peer_to_api(peer, restarting=False, found="fe80::2%eth1")
    message.conf.neighbor_address = "invalid IP"
    status = v4_peers.status_from_api(message, DAEMON, 0.0)
    assert (status.peer, status.address) == (peer, "fe80::2%eth1")


def test_states_and_reasons_are_words() -> None:
    message = v4_peers.peer_to_api(PEER, restarting=False)
    for number, word in ((6, "established"), (3, "active"), (0, "unspecified"), (99, "unknown")):
        message.state.session_state = number  # type: ignore[assignment]
        assert v4_peers.status_from_api(message, DAEMON, 0.0).state == word
    message.state.disconnect_reason = api.PeerState.DISCONNECT_REASON_HOLD_TIMER_EXPIRED
    message.state.disconnect_message = "bye"
    assert v4_peers.status_from_api(message, DAEMON, 0.0).reason == "hold timer expired: bye"
    message.state.admin_state = api.PeerState.ADMIN_STATE_PFX_CT
    assert v4_peers.status_from_api(message, DAEMON, 0.0).reason == "more prefixes than its prefix limit"


# ---- policies


def test_rules_become_statements_with_all_that_they_do() -> None:
    rule = Rule(
        accept=True,
        peers=frozenset({"rack"}),
        prefixes=frozenset({PrefixMatch(ip_network("10.0.0.0/8"), 16, 24)}),
        source=Source.LOCAL,
        communities=frozenset({65001 << 16 | 7}),
        large_communities=frozenset({(1, 2, 3)}),
        local_pref=50,
        med=0,
        prepend=2,
        carries=frozenset({0xFFFFFF01}),
    )
    _, program = programs(Policies((), (rule, Rule(accept=False)), (("rack", ("10.0.0.2",)),)), {})
    sets = {made.defined_type: made for made in v4_policies.sets_to_api(program)}
    assert list(sets[api.DEFINED_TYPE_NEIGHBOR].list) == ["10.0.0.2/32"]
    assert list(sets[api.DEFINED_TYPE_COMMUNITY].list) == ["^65535:65281$"]
    assert list(sets[api.DEFINED_TYPE_PREFIX].prefixes) == [
        api.Prefix(ip_prefix="10.0.0.0/8", mask_length_min=16, mask_length_max=24)
    ]
    first, last = v4_policies.policy_to_api(program).statements
    conditions, actions = first.conditions, first.actions
    assert conditions.route_type == api.Conditions.ROUTE_TYPE_LOCAL
    for match, kind in (
        (conditions.neighbor_set, api.DEFINED_TYPE_NEIGHBOR),
        (conditions.prefix_set, api.DEFINED_TYPE_PREFIX),
        (conditions.community_set, api.DEFINED_TYPE_COMMUNITY),
    ):
        assert match == api.MatchSet(type=api.MatchSet.TYPE_ANY, name=sets[kind].name)
    assert actions == api.Actions(
        route_action=api.ROUTE_ACTION_ACCEPT,
        community=api.CommunityAction(type=api.CommunityAction.TYPE_ADD, communities=["65001:7"]),
        large_community=api.CommunityAction(type=api.CommunityAction.TYPE_ADD, communities=["1:2:3"]),
        local_pref=api.LocalPrefAction(value=50),
        med=api.MedAction(type=api.MedAction.TYPE_REPLACE, value=0),
        as_prepend=api.AsPrependAction(repeat=2, use_left_most=True),
    )
    assert last.actions == api.Actions(route_action=api.ROUTE_ACTION_REJECT)
    assert not last.conditions.HasField("prefix_set")


def test_only_one_policy_that_rejects_the_rest_is_in_force() -> None:
    wanted = v4_policies.assignment_to_api("anypod-export-1", api.POLICY_DIRECTION_EXPORT)
    assert v4_policies.is_assigned(wanted, "anypod-export-1")
    assert not v4_policies.is_assigned(wanted, "anypod-export-2")
    wanted.policies.add(name="another")
    assert not v4_policies.is_assigned(wanted, "anypod-export-1")
    del wanted.policies[1:]
    wanted.default_action = api.ROUTE_ACTION_ACCEPT
    assert not v4_policies.is_assigned(wanted, "anypod-export-1")


def test_paths_of_ours_in_an_event_are_those_that_came_with_our_mark() -> None:
    paths = [LocalPath(ip_network(f"10.1.{i}.0/24"), ip_address("10.0.0.1")) for i in range(2)]
    messages = [v4_paths.path_to_api(path) for path in paths]
    foreign, gone, theirs = (v4_paths.path_to_api(paths[0]) for _ in range(3))
    foreign.identifier = 0
    gone.is_withdraw = True
    theirs.neighbor_ip = "10.0.0.254"
    assert v4_paths.paths_of_ours([*messages, foreign, gone, theirs]) == tuple(paths)
