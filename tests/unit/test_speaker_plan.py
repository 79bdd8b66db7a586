"""Differences between what should be and what is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from speaker.bgp import (
    BgpGlobal,
    DynamicPeers,
    Family,
    LocalPath,
    Peer,
    PeerStatus,
    PrefixLimit,
    SessionOptions,
)
from speaker.desired import KernelRoute, NextHop
from speaker.plan import plan_dynamic, plan_paths, plan_peers, plan_routes, same_daemon, same_peer

ANY = ip_address(0)
NET = ip_network("10.1.0.0/24")
OTHER = ip_network("10.2.0.0/24")
OURS = LocalPath(NET, ANY)
OPTIONS = SessionOptions(65002, families=frozenset({Family.IPV4}), password="sesame")  # noqa: S106
PEER = Peer(ip_address("10.0.0.2"), OPTIONS)
LINK = Peer(None, OPTIONS, interface="eth1")
GROUP = DynamicPeers("pods", (NET, OTHER), OPTIONS)


def test_the_same_paths_need_no_write() -> None:
    plan = plan_paths({OURS}, {NET: OURS})
    assert (plan.announce, plan.withdraw) == ((), ())


def test_a_changed_next_hop_replaces_without_withdrawing() -> None:
    changed = LocalPath(NET, ip_address("10.0.0.9"))
    plan = plan_paths({changed}, {NET: OURS})
    assert (plan.announce, plan.withdraw) == ((changed,), ())


def test_paths_that_nothing_wants_go() -> None:
    assert plan_paths((), {NET: OURS}).withdraw == (NET,)


def status(peer: Peer, group: str = "", compares_password: bool = True) -> PeerStatus:
    """As a daemon tells it: with the session's own address."""
    told = replace(peer, options=replace(peer.options, local_address=ip_address("10.0.0.1")))
    return PeerStatus(told, "established", group, compares_password=compares_password)


def test_the_same_peers_need_no_write() -> None:
    plan = plan_peers([PEER, LINK], [status(PEER), status(LINK)])
    assert (plan.remove, plan.add) == ((), ())


@pytest.mark.parametrize(
    "change",
    [
        {"asn": 1},
        {"local_asn": 65009},
        {"passive": True},
        {"multihop_ttl": 2},
        {"ttl_security": 1},
        {"hold": 30, "keepalive": 10},
        {"connect_retry": 9},
        {"restart_time": 120},
        {"families": frozenset(Family)},
        {"password": "open"},
        {"reflector_client": True},
        {"cluster_id": "10.0.0.99"},
        {"prefix_limits": (PrefixLimit(Family.IPV4, 10),)},
        {"local_address": ip_address("10.0.0.99")},
    ],
    ids=str,
)
@pytest.mark.parametrize("peer", [PEER, LINK], ids=lambda peer: peer.key)
def test_a_changed_peer_is_replaced(peer: Peer, change: dict[str, object]) -> None:
    wanted = replace(peer, options=replace(peer.options, **change))  # type: ignore[arg-type]
    plan = plan_peers([wanted], [status(peer)])
    assert (plan.remove, plan.add) == ((status(peer),), (wanted,))


def test_another_port_is_another_session() -> None:
    wanted = replace(PEER, port=1790)
    assert plan_peers([wanted], [status(PEER)]).add == (wanted,)


def test_what_nobody_asked_for_is_no_change() -> None:
    found = status(PEER).peer
    assert same_peer(replace(PEER, description="rack"), found)
    assert same_peer(replace(PEER, options=replace(OPTIONS, local_address=ip_address("10.0.0.1"))), found)
    assert same_peer(PEER, replace(found, options=replace(found.options, cluster_id="10.0.0.1")))
    assert same_peer(LINK, replace(status(LINK).peer, address=ip_address("fe80::2")))


def test_a_password_that_the_daemon_does_not_tell_is_not_compared() -> None:
    silent = replace(PEER, options=replace(OPTIONS, password=""))
    assert plan_peers([PEER], [status(silent, compares_password=False)]).add == ()
    assert plan_peers([PEER], [status(silent)]).add == (PEER,)


def test_peers_that_are_not_configured_go_unless_they_are_dynamic() -> None:
    assert plan_peers([], [status(PEER)]).remove == (status(PEER),)
    assert plan_peers([], [status(PEER, group="pods")]).remove == ()


def test_groups_of_dynamic_neighbours() -> None:
    more = replace(GROUP, name="more")
    slow = replace(GROUP, options=replace(OPTIONS, hold=240))
    turned = replace(GROUP, prefixes=(OTHER, NET), description="other words")
    fewer = replace(GROUP, prefixes=(NET,))
    for wanted, found, remove, add in (
        ([GROUP], [turned], (), ()),
        ([GROUP, more], [GROUP], (), (more,)),
        ([], [GROUP], (GROUP,), ()),
        ([slow], [GROUP], (GROUP,), (slow,)),
        ([fewer], [GROUP], (GROUP,), (fewer,)),
    ):
        plan = plan_dynamic(wanted, found)
        assert (plan.remove, plan.add) == (remove, add)


def test_a_daemon_is_known_by_as_and_router_id() -> None:
    ours = BgpGlobal(65001, "10.0.0.1", 179)
    assert same_daemon(ours, BgpGlobal(65001, "10.0.0.1", 1790, ("::",)))
    assert not same_daemon(ours, BgpGlobal(65002, "10.0.0.1"))
    assert not same_daemon(ours, BgpGlobal(65001, "10.0.0.2"))


HOP = NextHop(ip_address("10.0.0.2"))
A = KernelRoute(NET, 1190, frozenset({HOP}))


def test_routes_are_added_changed_and_removed() -> None:
    changed = replace(A, next_hops=frozenset({NextHop(ip_address("10.0.0.3"))}))
    assert len(plan_routes({A.key: A}, {A.key: A})) == 0
    assert plan_routes({A.key: A}, {}).add == (A,)
    assert plan_routes({A.key: changed}, {A.key: A}).change == (changed,)
    assert plan_routes({}, {A.key: A}).remove == (A,)


def test_another_metric_comes_before_the_former_goes() -> None:
    cheaper, gone = replace(A, metric=50), replace(A, prefix=OTHER)
    plan = plan_routes({cheaper.key: cheaper}, {A.key: A, gone.key: gone})
    assert (plan.remove, plan.add, plan.retire) == ((gone,), (cheaper,), (A,))
