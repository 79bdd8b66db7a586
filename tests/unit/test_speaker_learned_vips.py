"""Learned routes for virtual IPs: behind those to pods of this node, and into pools that are not all here."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from speaker.bgp import Destination, LocalPath
from speaker.desired import UNREACHABLE_METRIC, Held, KernelRoute, NextHop, unreachable_routes
from speaker.kernel.learned import Acceptance, Learned
from speaker.prefixes import everything_in
from speaker.settings import Accept, Announcement, Anycast, Kernel, Pool
from tests.unit.routes_rig import CONFIG, GATEWAY, LINKS, learned, started

if TYPE_CHECKING:
    from speaker.bgp import Prefix

POOL = Announcement("edge", (ip_network("198.51.100.0/24"), ip_network("2001:db8:a::/64")))
VIP, OTHER = ip_network("198.51.100.10/32"), ip_network("198.51.100.11/32")
HELD = Held(connected=LINKS, direct=LINKS)
WITH_POOL = replace(CONFIG, anycast=Anycast(pools=(Pool(POOL),)))


def ours(destination: Destination) -> Destination:
    return replace(destination, ours=LocalPath(destination.prefix, ip_address(0)))


def table(*entries: Destination) -> dict[Prefix, Destination]:
    return {entry.prefix: entry for entry in entries}


def test_a_virtual_ip_of_ours_has_the_learned_route_behind_it_where_it_is_a_fallback() -> None:
    told = table(ours(learned(VIP, "10.0.0.254")), ours(learned(OTHER, "10.0.0.254")))
    verdict = Learned(WITH_POOL).judge(told, HELD, {VIP, OTHER}, fallbacks={VIP})
    assert verdict.routes == {(VIP, 1190): KernelRoute(VIP, 1190, frozenset({GATEWAY}))}


def test_also_before_the_daemon_has_our_path_or_the_announcement_is_known() -> None:
    for told, announced in (
        (learned(VIP, "10.0.0.254"), {VIP}),
        (ours(learned(VIP, "10.0.0.254")), ()),
    ):
        assert not Learned(WITH_POOL).judge(table(told), HELD, announced).routes
        assert Learned(WITH_POOL).judge(table(told), HELD, announced, fallbacks={VIP}).routes


def test_a_fallback_is_no_way_around_the_other_rules() -> None:
    local = replace(learned(VIP, "10.0.0.254"), foreign=True)
    assert not Learned(WITH_POOL).judge(table(local), HELD, {VIP}, fallbacks={VIP}).routes
    linked = replace(HELD, connected=LINKS | {VIP})
    assert not Learned(WITH_POOL).judge(table(learned(VIP, "10.0.0.254")), linked, (), fallbacks={VIP}).routes
    subnet = ip_network("10.244.1.9/32")
    assert (
        not Learned(WITH_POOL)
        .judge(table(learned(subnet, "10.0.0.254")), HELD, (), fallbacks={subnet})
        .routes
    )


def test_the_kernel_follows_when_a_virtual_ip_comes_and_goes_as_a_fallback() -> None:
    routes, kernel = started(WITH_POOL)
    told = table(ours(learned(VIP, "10.0.0.254")))
    for fallbacks, wanted in (((), False), ({VIP}, True), (frozenset({VIP}), True), ((), False)):
        routes.sync(told, frozenset({VIP}), fallbacks)
        assert ((VIP, 1190) in kernel.kernel) is wanted
    routes.sync(table(learned(VIP, "10.0.0.254")), (), ())
    assert kernel.kernel[VIP, 1190].next_hops == {NextHop(ip_address("10.0.0.254"))}


def test_what_became_ours_changes_that_prefix_alone() -> None:
    """A table of many routes is not judged anew for each virtual IP that comes and goes."""
    decides = Learned(WITH_POOL)
    told = table(*(learned(ip_network(f"10.9.{n}.0/24"), "10.0.0.254") for n in range(200)))
    told |= table(learned(VIP, "10.0.0.254"))
    assert decides.judge(told, HELD).changed == {(prefix, 1190) for prefix in told}
    for announced, fallbacks, changed in (
        ({VIP}, (), {(VIP, 1190)}),
        ({VIP}, {VIP}, {(VIP, 1190)}),
        ({VIP}, {VIP}, set()),
        ((), {VIP}, set()),
        ((), (), set()),
        ({VIP, OTHER}, (), {(VIP, 1190)}),
    ):
        assert decides.judge(told, HELD, announced, fallbacks=fallbacks).changed == changed


@pytest.mark.parametrize("text", ["198.51.100.10/32", "2001:db8:a::10/128"])
def test_other_nodes_virtual_ips_are_accepted_though_no_list_has_them(text: str) -> None:
    config = replace(WITH_POOL, accept=Accept((everything_in(ip_network("10.0.0.0/8")),)))
    assert ip_network(text) in Acceptance(config)
    assert ip_network(text) not in Acceptance(replace(config, anycast=Anycast()))
    # A list says what of the rest is accepted: a part of the pool is no virtual IP.
    assert ip_network("198.51.100.0/25") not in Acceptance(config)
    assert ip_network("10.1.0.0/16") in Acceptance(config)


def test_without_a_list_everything_is_accepted_with_pools_as_well() -> None:
    for text in ("198.51.100.0/24", "198.51.100.10/32", "192.0.2.0/24"):
        assert ip_network(text) in Acceptance(WITH_POOL)


def test_a_packet_for_an_address_of_a_pool_that_nobody_has_ends_here_unless_it_is_to_be_sent_on() -> None:
    forwards = Pool(Announcement("far", (ip_network("192.0.2.0/24"),)), forwards_unknown=True)
    config = replace(CONFIG, anycast=Anycast(pools=(Pool(POOL), forwards)))
    assert {prefix for prefix, metric in unreachable_routes(config) if metric == UNREACHABLE_METRIC} == {
        *CONFIG.announce.subnets.prefixes,
        *POOL.prefixes,
    }
    assert unreachable_routes(replace(config, kernel=Kernel(install=False))) == {}
