"""Differences between what should be and what is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from speaker.desired import KernelRoute
from speaker.gobgp.session import BgpGlobal, Destination, Family, LocalPath, Peer, PeerStatus
from speaker.plan import plan_paths, plan_peers, plan_routes, same_daemon, same_peer
from speaker.stale import QUIET, StaleRoutes, all_established

ANY = ip_address(0)
NET = ip_network("10.1.0.0/24")
OTHER = ip_network("10.2.0.0/24")
OURS = LocalPath(NET, ANY)
PEER = Peer(ip_address("10.0.0.2"), 65002, families=frozenset({Family.IPV4}))


def entry(path: LocalPath | None, foreign: bool = False) -> Destination:
    prefix = path.prefix if path else OTHER
    return Destination(prefix, path, foreign, ())


def test_the_same_paths_need_no_write() -> None:
    plan = plan_paths({OURS}, {NET: entry(OURS)})
    assert (plan.announce, plan.withdraw) == ((), ())


def test_paths_of_others_are_not_ours_to_withdraw() -> None:
    assert plan_paths((), {OTHER: entry(None, foreign=True)}).withdraw == ()


def test_a_path_beside_a_foreign_one_is_still_announced() -> None:
    ours = LocalPath(OTHER, ANY)
    assert plan_paths({ours}, {OTHER: entry(None, foreign=True)}).announce == (ours,)


def test_a_changed_next_hop_replaces_without_withdrawing() -> None:
    changed = LocalPath(NET, ip_address("10.0.0.9"))
    plan = plan_paths({changed}, {NET: entry(OURS)})
    assert (plan.announce, plan.withdraw) == ((changed,), ())


def test_paths_that_nothing_wants_go() -> None:
    assert plan_paths((), {NET: entry(OURS)}).withdraw == (NET,)


def status(peer: Peer, state: str = "established", managed: bool = True) -> PeerStatus:
    return PeerStatus(replace(peer, local_address=ip_address("10.0.0.1")), state, managed)


def test_the_same_peers_need_no_write() -> None:
    plan = plan_peers([PEER], [status(PEER)])
    assert (plan.remove, plan.add) == ((), ())


@pytest.mark.parametrize(
    "change",
    [
        {"asn": 1},
        {"passive": True},
        {"multihop_ttl": 2},
        {"hold": 30, "keepalive": 10},
        {"connect_retry": 9},
        {"families": frozenset({Family.IPV4, Family.IPV6})},
        {"local_address": ip_address("10.0.0.99")},
    ],
    ids=str,
)
def test_a_changed_peer_is_replaced(change: dict[str, object]) -> None:
    wanted = replace(PEER, **change)  # type: ignore[arg-type]
    plan = plan_peers([wanted], [status(PEER)])
    assert (plan.remove, plan.add) == ((PEER.address,), (wanted,))


def test_words_and_an_unset_local_address_are_no_change() -> None:
    assert same_peer(replace(PEER, description="rack"), status(PEER).peer)
    assert same_peer(replace(PEER, local_address=ip_address("10.0.0.1")), status(PEER).peer)


def test_peers_that_are_not_configured_go_unless_a_group_made_them() -> None:
    assert plan_peers([], [status(PEER)]).remove == (PEER.address,)
    assert plan_peers([], [status(PEER, managed=False)]).remove == ()


def test_a_daemon_is_known_by_as_and_router_id() -> None:
    ours = BgpGlobal(65001, "10.0.0.1", 179)
    assert same_daemon(ours, BgpGlobal(65001, "10.0.0.1", 1790, ("::",)))
    assert not same_daemon(ours, BgpGlobal(65002, "10.0.0.1"))
    assert not same_daemon(ours, BgpGlobal(65001, "10.0.0.2"))


def test_all_established_counts_configured_peers_only() -> None:
    stranger = replace(PEER, address=ip_address("10.0.0.3"))
    assert all_established([PEER], [status(PEER), status(stranger, "active")])
    assert not all_established([PEER], [status(PEER, "active")])
    assert not all_established([PEER], [])
    assert all_established([], [])


A = KernelRoute(NET, 1190, frozenset({ip_address("10.0.0.2")}))
B = KernelRoute(OTHER, 1190, frozenset({ip_address("10.0.0.2")}))


def test_routes_are_added_changed_and_removed() -> None:
    changed = replace(A, next_hops=frozenset({ip_address("10.0.0.3")}))
    assert len(plan_routes({A.key: A}, {A.key: A})) == 0
    assert plan_routes({A.key: A}, {}).add == (A,)
    assert plan_routes({A.key: changed}, {A.key: A}).change == (changed,)
    assert plan_routes({}, {A.key: A}).remove == (A,)


def test_stale_routes_are_kept_and_come_back_after_a_link_s_flap() -> None:
    stale = StaleRoutes(90)
    stale.lost({A.key: A}, 100.0)
    assert len(plan_routes(stale.routes, {A.key: A})) == 0
    assert plan_routes(stale.routes, {}).add == (A,)


def test_stale_routes_wait_for_a_complete_and_quiet_table() -> None:
    stale = StaleRoutes(90)
    assert not stale.waiting
    stale.lost({A.key: A}, 100.0)
    stale.news(110.0)
    assert not stale.settle(complete=True, now=110.0 + QUIET - 0.1)
    assert not stale.settle(complete=False, now=110.0 + QUIET)
    assert stale.routes == {A.key: A}
    assert stale.next_check(complete=True) == 110.0 + QUIET
    assert stale.settle(complete=True, now=110.0 + QUIET)
    assert stale.routes == {}
    assert stale.next_check(complete=True) is None


def test_stale_routes_do_not_wait_longer_than_the_limit() -> None:
    stale = StaleRoutes(90)
    stale.lost({A.key: A}, 100.0)
    stale.lost({A.key: A}, 150.0)
    stale.news(189.0)
    assert stale.next_check(complete=False) == 190.0
    assert not stale.settle(complete=False, now=189.9)
    assert stale.settle(complete=False, now=190.0)


def test_what_is_learned_anew_is_no_longer_stale() -> None:
    stale = StaleRoutes(90)
    stale.lost({A.key: A, B.key: B}, 0.0)
    stale.learned({A.key})
    assert plan_routes(stale.routes, {A.key: A, B.key: B}).remove == (A,)
