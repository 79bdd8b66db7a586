"""How a VIP is told to peers."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from speaker.anycast.judge import Standing, Verdict
from speaker.anycast.paths import PREFERENCE, Damper, path_of
from speaker.bgp import Attributes, LocalPath
from speaker.kernel.vipgroups import VipRoute
from speaker.policy import GRACEFUL_SHUTDOWN
from speaker.settings import Announcement

VIP, VIP6 = ip_address("198.51.100.10"), ip_address("2001:db8:a::10")
HOW = Announcement(
    "edge",
    (ip_network("198.51.100.0/24"),),
    Attributes(communities=frozenset({7}), local_pref=200, med=5),
    next_hops=(ip_address("10.0.0.9"),),
)


def verdict(standing: Standing, vip: str = str(VIP)) -> Verdict:
    route = VipRoute(ip_network(vip), ())
    return Verdict(ip_address(vip), None, route, standing, "", (), (), 0)


FIRST = replace(HOW.attributes, local_pref=PREFERENCE)


def test_as_the_pool_says_and_before_all_that_peers_tell() -> None:
    found = path_of(verdict(Standing.ANNOUNCED), HOW, 0)
    assert found == LocalPath(ip_network("198.51.100.10/32"), ip_address("10.0.0.9"), FIRST)


def test_an_ipv6_vip_has_the_sessions_address_for_next_hop_where_nothing_is_said() -> None:
    found = path_of(verdict(Standing.ANNOUNCED, str(VIP6)), HOW, 0)
    assert found is not None
    assert (str(found.prefix), str(found.next_hop)) == ("2001:db8:a::10/128", "::")


def test_the_load_is_a_link_bandwidth_in_proportion() -> None:
    told = []
    for load in (1, 3):
        path = path_of(verdict(Standing.ANNOUNCED), HOW, load)
        assert path is not None
        told.append(path.attributes.link_bandwidth)
    assert told == [1_000_000, 3_000_000]


def test_depreferred_is_said_and_within_the_daemon_it_is_still_the_first() -> None:
    found = path_of(verdict(Standing.DEPREFERRED), HOW, 3)
    assert found is not None
    assert found.attributes == replace(FIRST, communities=frozenset({7, GRACEFUL_SHUTDOWN}))


def test_withdrawn_is_no_path() -> None:
    assert path_of(verdict(Standing.WITHDRAWN), HOW, 3) is None


def test_a_changed_load_is_told_once_it_has_stayed() -> None:
    damper = Damper()
    assert damper.load(VIP, 3, 5, 0) == 3
    assert damper.load(VIP, 4, 5, 10) == 3
    assert damper.held_back() == [VIP]
    assert damper.until(VIP, 5) == 15
    assert damper.load(VIP, 5, 5, 14) == 3  # another one again: the time starts anew
    assert damper.until(VIP, 5) == 19
    assert damper.load(VIP, 5, 5, 18.9) == 3
    assert damper.load(VIP, 5, 5, 19) == 5
    assert damper.held_back() == []


def test_a_load_that_comes_back_was_never_told() -> None:
    damper = Damper()
    damper.load(VIP, 3, 5, 0)
    assert damper.load(VIP, 2, 5, 1) == 3
    assert damper.load(VIP, 3, 5, 2) == 3
    assert damper.held_back() == []


def test_from_and_to_nothing_is_told_at_once() -> None:
    damper = Damper()
    assert [damper.load(VIP, load, 5, 0) for load in (3, 0, 2)] == [3, 0, 2]


def test_a_vip_that_comes_back_is_a_new_one() -> None:
    damper = Damper()
    damper.load(VIP, 3, 5, 0)
    damper.keep([VIP6])
    assert damper.load(VIP, 1, 5, 1) == 1


def test_attributes_that_say_nothing_stay_out() -> None:
    plain = path_of(verdict(Standing.ANNOUNCED), replace(HOW, attributes=Attributes()), 0)
    assert plain is not None
    assert plain.attributes == Attributes(local_pref=PREFERENCE)
