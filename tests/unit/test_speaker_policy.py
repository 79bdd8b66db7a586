"""What peers may tell and are told: the rules, asked as the daemon asks them."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from speaker.bgp import (
    BgpGlobal,
    DynamicPeers,
    Family,
    Peer,
    PrefixMatch,
    Rule,
    SessionOptions,
    Source,
)
from speaker.policy import policies
from speaker.prefixes import everything_in, exactly
from speaker.settings import Accept, Announce, Announcement, Api, Config, PeerPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

RACK = Peer(ip_address("10.0.0.254"), SessionOptions(65000, families=frozenset(Family)))
SPINE = replace(RACK, address=ip_address("10.0.0.253"))
NODE = replace(RACK, address=ip_address("10.0.0.2"), options=SessionOptions(65001))
LINK = Peer(None, SessionOptions(65000), interface="eth1")
GROUP = DynamicPeers("pods", (ip_network("10.244.1.0/24"),), SessionOptions(64999))
SUBNETS = Announcement("subnets", (ip_network("10.244.1.0/24"),))
CONFIG = Config(
    bgp=BgpGlobal(65001, "10.0.0.1"),
    api=Api("unix:///s"),
    peers=(RACK, SPINE, NODE, LINK),
    dynamic=(GROUP,),
    announce=Announce(subnets=SUBNETS),
)
EVERYONE = [peer.key for peer in CONFIG.peers] + [GROUP.name]


def ask(
    rules: Iterable[Rule],
    peer: str,
    prefix: str,
    source: Source = Source.LOCAL,
    carried: frozenset[int] = frozenset(),
) -> Rule | None:
    """The rule that accepts, as the first that fits; None: rejected."""
    net = ip_network(prefix)
    for rule in rules:
        fits = rule.prefixes is None or any(match.covers(net) for match in rule.prefixes)
        fits = fits and (not rule.carries or bool(rule.carries & carried))
        if fits and (rule.peers is None or peer in rule.peers) and rule.source in {Source.ANY, source}:
            return rule if rule.accept else None
    return None


def told(
    config: Config,
    peer: Peer | str,
    prefix: str,
    source: Source = Source.LOCAL,
    carried: frozenset[int] = frozenset(),
) -> Rule | None:
    return ask(policies(config).exports, peer if isinstance(peer, str) else peer.key, prefix, source, carried)


def taken(config: Config, peer: Peer | str, prefix: str, source: Source = Source.EXTERNAL) -> Rule | None:
    return ask(policies(config).imports, peer if isinstance(peer, str) else peer.key, prefix, source)


def with_policy(policy: PeerPolicy, *peers: Peer) -> Config:
    return replace(CONFIG, policies={peer.key: policy for peer in peers})


@pytest.mark.parametrize("key", EVERYONE)
def test_everyone_is_told_of_this_node_and_of_nobody_else(key: str) -> None:
    assert told(CONFIG, key, "10.244.1.0/24")
    assert told(CONFIG, key, "192.0.2.1/32")
    assert not told(CONFIG, key, "10.9.0.0/16", Source.EXTERNAL)
    assert not told(CONFIG, key, "10.9.0.0/16", Source.INTERNAL)


@pytest.mark.parametrize("transit", [False, True])
@pytest.mark.parametrize("key", EVERYONE)
def test_local_paths_that_others_add_are_told_to_nobody(key: str, transit: bool) -> None:
    """Single addresses are not told apart: those of pods come and go."""
    config = replace(CONFIG, announce=replace(CONFIG.announce, transit=transit))
    for prefix in ("10.9.0.0/16", "10.244.0.0/16", "10.244.1.0/25", "0.0.0.0/0", "2001:db8::/64"):
        assert not told(config, key, prefix)


@pytest.mark.parametrize("key", EVERYONE)
def test_transit_passes_on_what_others_tell(key: str) -> None:
    config = replace(CONFIG, announce=replace(CONFIG.announce, transit=True))
    assert told(config, key, "10.9.0.0/16", Source.EXTERNAL)
    assert told(config, key, "10.9.0.0/16", Source.INTERNAL)


NO_EXPORT, NO_ADVERTISE = 0xFFFFFF01, 0xFFFFFF02


@pytest.mark.parametrize("source", list(Source)[1:], ids=lambda source: source.value)
@pytest.mark.parametrize(
    ("peer", "community", "passes"),
    [
        (RACK, NO_EXPORT, False),
        (RACK, NO_ADVERTISE, False),
        (NODE, NO_EXPORT, True),
        (NODE, NO_ADVERTISE, False),
    ],
)
def test_what_peers_keep_for_themselves_is_not_passed_on(
    source: Source, peer: Peer, community: int, passes: bool
) -> None:
    """RFC 1997. What this node itself marks so is for the neighbour to obey."""
    rules = policies(replace(CONFIG, announce=replace(CONFIG.announce, transit=True))).exports
    prefix = "10.244.1.0/24" if source is Source.LOCAL else "10.9.0.0/16"
    found = ask(rules, peer.key, prefix, source, frozenset({community}))
    assert (found is not None) is (passes or source is Source.LOCAL)


def test_a_reflector_passes_internal_paths_to_internal_peers_only() -> None:
    client = replace(
        NODE, address=ip_address("10.0.0.3"), options=SessionOptions(65001, reflector_client=True)
    )
    config = replace(CONFIG, peers=(*CONFIG.peers, client))
    assert [
        told(config, peer, "10.9.0.0/16", Source.INTERNAL) is not None for peer in (client, NODE, RACK)
    ] == [
        True,
        True,
        False,
    ]
    assert not told(config, client, "10.9.0.0/16", Source.EXTERNAL)


def test_reject_and_only_narrow_what_one_peer_is_told() -> None:
    policy = PeerPolicy(
        export_only=frozenset({everything_in(ip_network("10.244.0.0/16"))}),
        export_reject=frozenset({exactly(ip_network("10.244.1.0/24"))}),
    )
    prefixes = ("10.244.1.0/24", "10.244.2.0/24", "192.0.2.1/32")
    subnets = replace(SUBNETS, prefixes=tuple(map(ip_network, prefixes[:2])))
    config = replace(with_policy(policy, RACK), announce=Announce(subnets))
    assert [told(config, RACK, prefix) is not None for prefix in prefixes] == [False, True, False]
    assert [told(config, SPINE, prefix) is not None for prefix in prefixes] == [True, True, True]


def test_an_announcement_for_some_peers_is_hidden_from_the_others() -> None:
    more = Announcement("anycast", (ip_network("192.0.2.0/24"),), peers=frozenset({RACK.key, GROUP.name}))
    config = replace(CONFIG, announce=Announce(SUBNETS, others=(more,)))
    hears = {key for key in EVERYONE if told(config, key, "192.0.2.0/24")}
    assert hears == {RACK.key, GROUP.name}
    assert all(told(config, key, "10.244.1.0/24") and told(config, key, "192.0.2.9/32") for key in EVERYONE)


def test_prepending_is_per_announcement_and_for_external_peers() -> None:
    far = Announcement("far", (ip_network("192.0.2.0/24"), ip_network("198.51.100.7/32")), prepend=3)
    announce = Announce(SUBNETS, Announcement("hosts", prepend=1), (far,))
    config = replace(CONFIG, announce=announce, policies={SPINE.key: PeerPolicy(export_prepend=2)})

    def prepended(peer: Peer) -> list[int]:
        prefixes = ("10.244.1.0/24", "192.0.2.0/24", "198.51.100.7/32", "192.0.2.9/32")
        rules = [told(config, peer, prefix) for prefix in prefixes]
        return [rule.prepend for rule in rules if rule]

    assert prepended(RACK) == [0, 3, 3, 1]
    assert prepended(SPINE) == [2, 5, 5, 3]
    assert prepended(NODE) == [0, 0, 0, 0]


def test_prepending_does_not_widen_what_a_peer_is_told() -> None:
    far = Announcement("far", (ip_network("192.0.2.0/24"),), prepend=3)
    only = PeerPolicy(export_only=frozenset({everything_in(ip_network("10.0.0.0/8"))}))
    config = replace(CONFIG, announce=Announce(SUBNETS, others=(far,)), policies={RACK.key: only})
    assert not told(config, RACK, "192.0.2.0/24")
    assert told(config, RACK, "10.244.1.0/24")


def test_a_peers_own_attributes_come_on_top() -> None:
    policy = PeerPolicy(
        export_communities=frozenset({65001 << 16 | 7}),
        export_large_communities=frozenset({(65001, 1, 2)}),
        export_local_pref=200,
        export_med=50,
        export_prepend=1,
    )
    config = with_policy(policy, RACK, NODE)
    rack, node = told(config, RACK, "10.244.1.0/24"), told(config, NODE, "10.244.1.0/24")
    assert rack
    assert node
    assert rack.communities == node.communities == {65001 << 16 | 7}
    assert rack.large_communities == node.large_communities == {(65001, 1, 2)}
    assert (rack.local_pref, rack.med, rack.prepend) == (None, 50, 1)
    assert (node.local_pref, node.med, node.prepend) == (200, 50, 0)


def test_local_as_decides_who_is_external() -> None:
    migrated = replace(NODE, options=SessionOptions(65000, local_asn=65000))
    config = replace(with_policy(PeerPolicy(export_local_pref=300), migrated), peers=(migrated,))
    rule = told(config, migrated, "10.244.1.0/24")
    assert rule
    assert rule.local_pref == 300


# ---- what is taken


@pytest.mark.parametrize("peer", EVERYONE)
def test_everything_is_taken_but_a_default_route(peer: str) -> None:
    assert taken(CONFIG, peer, "10.9.0.0/16")
    assert not taken(CONFIG, peer, "0.0.0.0/0")
    assert not taken(CONFIG, peer, "::/0")
    config = replace(CONFIG, accept=Accept(default_route=True))
    assert taken(config, peer, "0.0.0.0/0")
    assert taken(config, peer, "::/0")


def test_local_paths_pass_first() -> None:
    policy = PeerPolicy(import_only=frozenset())
    for config in (CONFIG, with_policy(policy, *CONFIG.peers)):
        assert taken(config, "", "0.0.0.0/0", Source.LOCAL)


def test_reject_only_and_local_preference_of_one_peer() -> None:
    policy = PeerPolicy(
        import_only=frozenset({PrefixMatch(ip_network("10.0.0.0/8"), 16, 24)}),
        import_reject=frozenset({everything_in(ip_network("10.66.0.0/16"))}),
        import_local_pref=150,
    )
    config = with_policy(policy, RACK)
    rules = {prefix: taken(config, RACK, prefix) for prefix in ("10.9.0.0/16", "10.66.1.0/24", "10.9.9.9/32")}
    assert {prefix: rule and rule.local_pref for prefix, rule in rules.items()} == {
        "10.9.0.0/16": 150,
        "10.66.1.0/24": None,
        "10.9.9.9/32": None,
    }
    assert taken(config, SPINE, "10.66.1.0/24")
    assert taken(config, SPINE, "10.9.9.9/32")


def test_a_local_preference_alone_lets_everything_in() -> None:
    rule = taken(with_policy(PeerPolicy(import_local_pref=50), RACK), RACK, "192.0.2.0/24")
    assert rule
    assert rule.local_pref == 50


# ---- how they are written


def test_one_peer_more_changes_no_policy() -> None:
    more = replace(CONFIG, peers=(*CONFIG.peers, replace(RACK, address=ip_address("10.0.0.99"))))
    assert policies(more) == policies(CONFIG)
    assert policies(CONFIG).members == ()
    assert len(policies(CONFIG).exports) == 3


def test_peers_that_are_alike_share_rules() -> None:
    peers = tuple(replace(RACK, address=ip_address(f"10.0.1.{n}")) for n in range(1, 200))
    alike = {peer.key: PeerPolicy(export_med=7) for peer in peers[::2]}
    found = policies(replace(CONFIG, peers=peers, dynamic=(), policies=alike))
    assert [rule.peers for rule in found.exports] == [*[frozenset(alike)] * 4, *[None] * 3]


def test_a_large_mesh_takes_a_moment() -> None:
    peers = tuple(replace(NODE, address=ip_address(f"10.{n >> 8}.{n & 255}.1")) for n in range(5000))
    started = time.process_time()
    found = policies(replace(CONFIG, peers=peers, dynamic=()))
    assert time.process_time() - started < 1
    assert found == policies(replace(CONFIG, peers=(NODE,), dynamic=()))


def test_members_say_where_the_named_are() -> None:
    config = replace(
        CONFIG, policies={key: PeerPolicy(import_local_pref=7) for key in (RACK.key, "pods", "eth1")}
    )
    assert dict(policies(config).members) == {"10.0.0.254": ("10.0.0.254",), "pods": ("10.244.1.0/24",)}


def test_the_same_configuration_makes_the_same_policies() -> None:
    assert policies(CONFIG) == policies(replace(CONFIG, policies={}))
    assert policies(CONFIG) != policies(with_policy(PeerPolicy(export_med=1), RACK))
