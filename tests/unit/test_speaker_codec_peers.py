"""The daemon and its peers in messages of GoBGP 3."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from protos.gobgp_v3 import gobgp_pb2 as api
from speaker.bgp import BgpGlobal, DynamicPeers, Family, Peer, PeerStatus, PrefixLimit, SessionOptions
from speaker.gobgp import v3_peers as codec
from speaker.gobgp.neighbours import links_of, told

DAEMON = BgpGlobal(65001, "10.0.0.1")
OPTIONS = SessionOptions(
    asn=65001,
    local_asn=0,
    families=frozenset(Family),
    password="s3cret",  # noqa: S106
    local_address=ip_address("10.0.0.1"),
    passive=True,
    multihop_ttl=3,
    connect_retry=7,
    hold=9,
    keepalive=3,
    restart_time=60,
    reflector_client=True,
    cluster_id="10.0.0.9",
    prefix_limits=(PrefixLimit(Family.IPV4, 10), PrefixLimit(Family.IPV6, 20, 90)),
)
PEER = Peer(ip_address("10.0.0.2"), OPTIONS, port=1179)


def back(message: api.Peer, now: float = 0.0) -> PeerStatus:
    """The answer of a daemon that says where the peer is."""
    message.state.neighbor_address = message.state.neighbor_address or message.conf.neighbor_address
    return codec.peer_from_api(message, DAEMON, now)


def test_a_peer_comes_back_as_it_went() -> None:
    assert back(codec.peer_to_api(PEER, restarting=False)).peer == PEER


def test_what_the_daemon_fills_in_counts_as_not_given() -> None:
    bare = Peer(ip_address("10.0.0.2"), SessionOptions(65002, families=frozenset({Family.IPV4})))
    message = codec.peer_to_api(bare, restarting=False)
    message.conf.local_asn = DAEMON.asn
    message.transport.local_address = "0.0.0.0"
    message.transport.remote_port = 0
    message.route_reflector.route_reflector_cluster_id = DAEMON.router_id
    assert back(message).peer == bare


def test_an_interface_peer_is_where_it_was_found() -> None:
    peer = Peer(None, replace(OPTIONS, password="", local_address=None), interface="eth1")
    message = codec.peer_to_api(peer, restarting=False)
    assert message.conf.neighbor_address == ""
    message.state.neighbor_address = "fe80::2%eth1"
    found = back(message)
    assert (found.peer, found.address, found.peer.key) == (peer, "fe80::2%eth1", "eth1")


def test_ttl_security_counts_hops() -> None:
    for hops, least in ((1, 255), (255, 1)):
        peer = replace(PEER, options=replace(OPTIONS, multihop_ttl=0, ttl_security=hops))
        message = codec.peer_to_api(peer, restarting=False)
        assert message.ttl_security.ttl_min == least
        assert back(message).peer == peer


def test_only_who_restarts_gracefully_says_that_it_has_restarted() -> None:
    assert codec.peer_to_api(PEER, restarting=True).graceful_restart.local_restarting
    without = replace(PEER, options=replace(OPTIONS, restart_time=0))
    assert not codec.peer_to_api(without, restarting=True).graceful_restart.local_restarting
    assert not codec.peer_to_api(PEER, restarting=False).graceful_restart.local_restarting


def test_the_state_of_a_session() -> None:
    message = codec.peer_to_api(PEER, restarting=False)
    message.state.session_state = api.PeerState.ESTABLISHED
    message.state.router_id = "10.0.0.2"
    message.state.remote_cap.add().type_url = "type.googleapis.com/apipb.GracefulRestartCapability"
    message.timers.state.uptime.seconds = 1000
    for entry, (received, accepted, advertised) in zip(
        message.afi_safis, ((5, 4, 3), (3, 2, 1)), strict=True
    ):
        entry.state.received, entry.state.accepted, entry.state.advertised = received, accepted, advertised
    message.afi_safis[1].mp_graceful_restart.state.end_of_rib_received = True
    found = back(message, 1012.5)
    assert (found.established, found.state, found.uptime) == (True, "established", 12.5)
    assert (found.received, found.accepted, found.advertised) == (8, 6, 2)
    assert (found.graceful, found.end_of_rib) == (True, frozenset({Family.IPV6}))
    assert (found.router_id, found.reason, found.group) == ("10.0.0.2", "", "")


def test_a_session_that_is_down_has_no_uptime() -> None:
    message = codec.peer_to_api(PEER, restarting=False)
    message.state.session_state = api.PeerState.ACTIVE
    message.timers.state.uptime.seconds = 1000
    message.state.admin_state = api.PeerState.PFX_CT
    found = back(message, 2000)
    assert (found.established, found.uptime) == (False, 0.0)
    assert "prefix limit" in found.reason


def test_links_are_found_by_neighbour_and_router() -> None:
    def status(address: str, state: str, router_id: str = "") -> PeerStatus:
        return PeerStatus(PEER, state, address=address, router_id=router_id)

    found = [
        status("fe80::1%eth1", "established", "10.0.0.2"),
        status("fe80::1%eth2", "active"),
        status("10.0.0.2", "established", "10.0.0.2"),
    ]
    links = links_of(found)
    assert (links["fe80::1"], links["fe80::1 10.0.0.2"]) == ("eth1", "eth1")
    assert not any(key.startswith("10.") for key in links)


def test_a_dynamic_neighbour_names_its_group() -> None:
    message = codec.peer_to_api(PEER, restarting=False)
    message.conf.neighbor_address = ""
    message.conf.peer_group = "pods"
    message.state.neighbor_address = "10.0.0.7"
    found = back(message)
    assert (found.group, found.peer.address, found.address) == ("pods", ip_address("10.0.0.7"), "10.0.0.7")


def test_a_group_comes_back_with_its_prefixes_in_order() -> None:
    prefixes = (ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16"), ip_network("fd00::/8"))
    group = DynamicPeers("pods", prefixes, replace(OPTIONS, password="", passive=False))
    message = codec.group_to_api(group)
    assert message.transport.passive_mode
    assert codec.group_from_api(message, ["fd00::/8", "10.2.0.0/16", "10.1.0.0/16"], DAEMON) == group


def test_a_family_that_is_not_ours_is_passed_over() -> None:
    message = codec.peer_to_api(PEER, restarting=False)
    message.afi_safis.add().config.family.safi = 128  # type: ignore[assignment]
    assert back(message).peer == PEER


def test_a_daemon_that_was_not_started_is_nobody() -> None:
    assert codec.global_from_api(api.Global(asn=0)) is None
    wanted = BgpGlobal(65001, "10.0.0.1", -1, ("10.0.0.1",))
    assert codec.global_from_api(codec.global_to_api(wanted)) == wanted
    assert codec.global_to_api(wanted).use_multiple_paths


def test_what_peers_are_told_is_counted_while_it_is_cheap() -> None:
    def crowd(peers: int, accepted: int) -> list[PeerStatus]:
        return [PeerStatus(PEER, "established", accepted=accepted, advertised=3) for _ in range(peers)]

    found, again = told(crowd(2, 5_000), True)
    assert [status.advertised for status in found] == [3, 3]
    assert again
    found, again = told(crowd(200, 0), True)
    assert found[0].advertised == 3
    assert not again
    found, again = told(crowd(200, 1), False)
    assert {status.advertised for status in found} == {None}
    assert not again
