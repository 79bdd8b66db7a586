"""How long routes of before are kept: until the peers have told everything, and not for ever."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from speaker.bgp import Family, Peer, PeerStatus, SessionOptions
from speaker.desired import KernelRoute, NextHop
from speaker.kernel.stale import LATE, MOMENT, QUIET, StaleRoutes, Told, all_established, told_by
from speaker.plan import plan_routes

HOPS = frozenset({NextHop(ip_address("10.0.0.2"))})
A = KernelRoute(ip_network("10.1.0.0/24"), 1190, HOPS)
B = KernelRoute(ip_network("10.2.0.0/24"), 1190, HOPS)
BOTH = frozenset(Family)
PEER = Peer(ip_address("10.0.0.2"), SessionOptions(65002, families=BOTH))
LINK = Peer(None, SessionOptions(65002, families=BOTH), interface="eth1")
UP = PeerStatus(PEER, "established")
GRACEFUL = replace(UP, graceful=True)


def test_they_come_back_after_a_link_s_flap() -> None:
    stale = StaleRoutes(90)
    stale.lost({A.key: A}, 100.0)
    assert len(plan_routes(stale.routes, {A.key: A})) == 0
    assert plan_routes(stale.routes, {}).add == (A,)


def test_what_is_learned_anew_is_no_longer_stale() -> None:
    stale = StaleRoutes(90)
    stale.lost({A.key: A, B.key: B}, 0.0)
    stale.learned({A.key})
    assert plan_routes(stale.routes, {A.key: A, B.key: B}).remove == (A,)


def test_those_over_a_peer_whose_session_ended_go_and_others_lose_that_way() -> None:
    link = NextHop(ip_address("fe80::1"), "eth1")
    both = replace(B, next_hops=HOPS | {link})
    stale = StaleRoutes(90)
    stale.lost({A.key: A, B.key: both}, 0.0)
    stale.ended({"10.0.0.9", "fe80::1%eth2"})
    assert stale.routes == {A.key: A, B.key: both}
    stale.ended({"fe80::1%eth1"})
    assert stale.routes == {A.key: A, B.key: B}
    stale.ended({"10.0.0.2"})
    assert stale.routes == {}
    assert stale.waiting  # for what others may tell


def test_without_end_of_rib_they_wait_until_it_is_quiet() -> None:
    stale = StaleRoutes(90)
    assert not stale.waiting
    stale.lost({A.key: A}, 100.0)
    stale.news(110.0)
    assert not stale.settle(Told.QUIET, 110.0 + QUIET - 0.1)
    assert not stale.settle(Told.PART, 110.0 + QUIET)
    assert stale.routes == {A.key: A}
    assert stale.next_check(Told.QUIET) == 110.0 + QUIET
    assert stale.settle(Told.QUIET, 110.0 + QUIET)
    assert stale.routes == {}
    assert stale.next_check(Told.QUIET) is None


def test_with_end_of_rib_from_all_a_moment_is_enough() -> None:
    stale = StaleRoutes(90)
    stale.lost({A.key: A}, 100.0)
    stale.news(100.5)
    assert not stale.settle(Told.PART, 100.5)
    assert not stale.settle(Told.ALL, 100.5)
    assert stale.next_check(Told.ALL) == 100.5 + MOMENT
    assert stale.settle(Told.ALL, 100.5 + MOMENT)
    assert stale.routes == {}


def test_an_end_of_rib_before_anything_was_told_is_not_taken_at_its_word() -> None:
    stale = StaleRoutes(90)
    stale.lost({A.key: A}, 100.0)
    stale.news(105.0)
    assert stale.next_check(Told.NOTHING) == 105.0 + LATE
    assert not stale.settle(Told.NOTHING, 105.0 + LATE - 0.1)
    assert stale.routes == {A.key: A}
    assert stale.settle(Told.NOTHING, 105.0 + LATE)
    stale.lost({}, 200.0)  # nothing is kept, and all the same it has told nothing yet, as others may not have
    assert not stale.settle(Told.NOTHING, 200.0 + QUIET - 0.1)
    assert stale.settle(Told.NOTHING, 200.0 + QUIET)


def test_nobody_waits_longer_than_the_limit() -> None:
    stale = StaleRoutes(90)
    stale.lost({A.key: A}, 100.0)
    stale.lost({A.key: A}, 150.0)
    stale.news(189.0)
    assert stale.next_check(Told.PART) == 190.0
    assert not stale.settle(Told.PART, 189.9)
    assert stale.settle(Told.PART, 190.0)


def test_a_session_with_each_configured_peer() -> None:
    stranger = replace(PEER, address=ip_address("10.0.0.3"))
    found = replace(UP, peer=replace(LINK, address=ip_address("fe80::2")))
    assert all_established([PEER, LINK], [UP, found, PeerStatus(stranger, "active")])
    assert not all_established([PEER], [PeerStatus(PEER, "active")])
    assert not all_established([PEER], [])
    assert all_established([], [])


DONE = replace(GRACEFUL, end_of_rib=BOTH, received=1)
EMPTY = replace(DONE, received=0)
HALF = replace(GRACEFUL, end_of_rib=frozenset({Family.IPV4}))
OTHER = replace(PEER, address=ip_address("10.0.0.3"))


@pytest.mark.parametrize(
    ("wanted", "found", "told"),
    [
        ([], [], Told.QUIET),
        ([PEER], [], Told.PART),
        ([PEER], [UP], Told.QUIET),
        ([PEER], [GRACEFUL], Told.PART),
        ([PEER], [HALF], Told.PART),
        ([PEER], [DONE], Told.ALL),
        ([PEER], [EMPTY], Told.NOTHING),
        ([PEER, OTHER], [EMPTY, replace(DONE, peer=OTHER)], Told.NOTHING),
        ([PEER, OTHER], [EMPTY, replace(UP, peer=OTHER)], Told.NOTHING),
        ([PEER, OTHER], [EMPTY, replace(GRACEFUL, peer=OTHER)], Told.PART),
        ([PEER, OTHER], [DONE], Told.PART),
        ([PEER, OTHER], [DONE, replace(UP, peer=OTHER)], Told.QUIET),
        ([PEER, OTHER], [HALF, replace(UP, peer=OTHER)], Told.PART),
        ([PEER, OTHER], [DONE, replace(DONE, peer=OTHER)], Told.ALL),
        ([PEER], [DONE, replace(GRACEFUL, peer=OTHER, group="pods")], Told.PART),
    ],
)
def test_how_much_is_told(wanted: list[Peer], found: list[PeerStatus], told: Told) -> None:
    assert told_by(wanted, found, any_may_come=False) is told


def test_with_dynamic_neighbours_nobody_knows_who_is_missing() -> None:
    assert told_by([PEER], [DONE], any_may_come=True) is Told.PART
