"""What peers are told of virtual IPs: the rules, asked as the daemon asks them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from speaker.bgp import Attributes, Destination, LocalPath, Policies, Rule, Source
from speaker.exports import narrowed
from speaker.gobgp.validate import check_policies
from speaker.policy import GRACEFUL_SHUTDOWN, policies
from speaker.prefixes import everything_in, exactly
from speaker.settings import Announce, Announcement, Anycast, Config, PeerPolicy, Pool
from tests.unit.test_speaker_policy import CONFIG, EVERYONE, GROUP, NODE, RACK, SPINE, SUBNETS, told

GOING = frozenset({GRACEFUL_SHUTDOWN})
POOL = Announcement("edge", (ip_network("198.51.100.0/24"), ip_network("2001:db8:a::/64")))
VIPS = ("198.51.100.10/32", "2001:db8:a::10/128")
ELSEWHERE = "203.0.113.9/32"


def with_pools(*announcements: Announcement, base: Config = CONFIG) -> Config:
    return replace(base, anycast=Anycast(pools=tuple(map(Pool, announcements))))


def accepted(rule: Rule | None) -> Rule:
    assert rule is not None
    return rule


def test_a_pool_for_some_peers_is_hidden_from_the_others() -> None:
    config = with_pools(replace(POOL, peers=frozenset({RACK.key, GROUP.name})))
    for vip in VIPS:
        for carried in (frozenset[int](), GOING):
            hears = {key for key in EVERYONE if told(config, key, vip, carried=carried)}
            assert hears == {RACK.key, GROUP.name}
    assert all(told(config, key, ELSEWHERE) for key in EVERYONE)
    # A pool is no announcement of a prefix, neither of its own nor of one inside.
    assert not any(told(config, key, f"198.51.100.0/{size}") for key in EVERYONE for size in (24, 25))


def test_prepending_is_per_pool_and_for_external_peers() -> None:
    config = with_pools(replace(POOL, prepend=2), Announcement("far", (ip_network(ELSEWHERE),), prepend=4))
    config = replace(config, policies={SPINE.key: PeerPolicy(export_prepend=1)})
    for prefix, times in (*((vip, 2) for vip in VIPS), (ELSEWHERE, 4), ("203.0.113.8/32", 0)):
        assert accepted(told(config, RACK, prefix)).prepend == times
        assert accepted(told(config, SPINE, prefix)).prepend == times + 1
        assert accepted(told(config, NODE, prefix)).prepend == 0


@pytest.mark.parametrize("prefix", [*VIPS, ELSEWHERE])
def test_what_is_about_to_go_is_prepended_more_whatever_its_pool(prefix: str) -> None:
    for pool in (POOL, replace(POOL, prepend=2)):
        config = with_pools(pool)
        usual, going = (
            accepted(told(config, RACK, prefix, carried=carried)) for carried in (frozenset[int](), GOING)
        )
        assert going == replace(usual, carries=GOING, prepend=usual.prepend + 3, local_pref=1, med=0xFFFFFFFF)


def test_only_single_addresses_of_this_node_are_about_to_go() -> None:
    config = replace(CONFIG, announce=replace(CONFIG.announce, transit=True))
    assert accepted(told(config, RACK, VIPS[0], carried=GOING)).prepend == 3
    for source in (Source.INTERNAL, Source.EXTERNAL):
        assert accepted(told(config, RACK, VIPS[0], source, GOING)).prepend == 0
    assert accepted(told(config, RACK, "10.244.1.0/24", carried=GOING)).prepend == 0


def test_a_peers_own_attributes_do_not_make_it_better() -> None:
    policy = PeerPolicy(
        export_communities=frozenset({7}), export_local_pref=200, export_med=5, export_prepend=1
    )
    config = replace(with_pools(POOL), policies={peer.key: policy for peer in (RACK, NODE)})
    usual, going = (
        {peer: accepted(told(config, peer, VIPS[0], carried=carried)) for peer in (RACK, NODE)}
        for carried in (frozenset[int](), GOING)
    )
    assert (usual[RACK].med, usual[RACK].prepend) == (5, 1)
    assert (usual[NODE].med, usual[NODE].local_pref) == (5, 200)
    assert (going[RACK].med, going[RACK].prepend) == (0xFFFFFFFF, 4)
    assert (going[NODE].med, going[NODE].local_pref) == (0xFFFFFFFF, 1)
    assert all(rule.communities == {7} for rule in going.values())


def test_only_and_reject_of_a_peer_win() -> None:
    policy = PeerPolicy(
        export_only=frozenset({everything_in(ip_network("198.51.100.0/28")), exactly(ip_network(ELSEWHERE))}),
        export_reject=frozenset({exactly(ip_network("198.51.100.2/32"))}),
    )
    for pool in (POOL, replace(POOL, prepend=2)):
        config = replace(with_pools(pool), policies={RACK.key: policy})
        for carried in (frozenset[int](), GOING):
            hears = [
                prefix
                for prefix in ("198.51.100.1/32", "198.51.100.2/32", "198.51.100.99/32", VIPS[1], ELSEWHERE)
                if told(config, RACK, prefix, carried=carried)
            ]
            assert hears == ["198.51.100.1/32", ELSEWHERE]


def test_an_announcement_by_name_comes_before_the_pools() -> None:
    named = Announcement("named", (ip_network("203.0.113.0/24"),), prepend=1)
    config = with_pools(
        Announcement("all", (ip_network("203.0.113.0/24"),), prepend=5),
        base=replace(CONFIG, announce=Announce(SUBNETS, others=(named,))),
    )
    assert accepted(told(config, RACK, "203.0.113.0/24")).prepend == 1
    assert accepted(told(config, RACK, ELSEWHERE)).prepend == 5


def test_internal_peers_are_told_the_preference_of_the_pool() -> None:
    """Not that of the path, which is preferred to all that this node learns."""
    pools = (
        replace(POOL, attributes=Attributes(local_pref=300)),
        Announcement("plain", (ip_network("192.0.2.0/24"),)),
    )
    config = with_pools(*pools)
    hosts = Announcement("hosts", attributes=Attributes(local_pref=70))
    config = replace(config, announce=replace(config.announce, hosts=hosts))
    for prefix, preference in ((VIPS[0], 300), ("192.0.2.1/32", 100), (ELSEWHERE, 70)):
        assert accepted(told(config, NODE, prefix)).local_pref == preference
        going = accepted(told(config, NODE, prefix, carried=GOING))
        assert (going.local_pref, going.med) == (1, 0xFFFFFFFF)


def test_single_addresses_with_a_name_keep_what_their_paths_carry() -> None:
    named = Announcement("named", (ip_network(ELSEWHERE), ip_network("192.0.2.0/24")))
    config = replace(CONFIG, announce=Announce(SUBNETS, others=(named,)))
    for carried in (frozenset[int](), GOING):
        rule = accepted(told(config, NODE, ELSEWHERE, carried=carried))
        assert (rule.local_pref, rule.med, rule.prepend) == (None, None, 0)


def test_pools_that_are_told_as_other_addresses_need_no_rules() -> None:
    assert policies(with_pools(POOL)) == policies(CONFIG)


def test_the_daemon_takes_as_much_as_can_be_configured() -> None:
    config = with_pools(replace(POOL, prepend=16))
    config = replace(
        config,
        anycast=replace(config.anycast, drain_prepend=16),
        policies={RACK.key: PeerPolicy(export_prepend=16)},
    )
    check_policies(policies(config))
    assert accepted(told(config, RACK, VIPS[0], carried=GOING)).prepend == 48


def test_no_session_ends_for_what_is_new_about_virtual_ips() -> None:
    before = Policies((), (Rule(accept=True, source=Source.LOCAL),))
    table = [
        Destination(prefix, LocalPath(prefix, ip_address(0)), False, ())
        for prefix in map(ip_network, ("10.244.1.0/24", VIPS[0], ELSEWHERE))
    ]
    more = (CONFIG, with_pools(POOL), with_pools(replace(POOL, prepend=2)))
    for after in map(policies, more):
        assert narrowed(before, after, EVERYONE, table) == frozenset()
        assert narrowed(after, before, EVERYONE, table) == frozenset()
    hidden = policies(with_pools(replace(POOL, peers=frozenset({RACK.key}))))
    assert narrowed(before, hidden, EVERYONE, table) == frozenset(EVERYONE) - {RACK.key}
