"""Policies in a real gobgpd: what two racks hear, what is taken from them, and how others come into force."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest

from speaker.bgp import Attributes, LocalPath, Rule, Source
from tests.system.gobgp_racks import ANY, LOCAL, OURS, THEIRS, Racks, exactly, within
from tests.system.gobgp_rig import wait
from tests.system.gobgp_steered import KINDS, OPEN, steered_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.peers_routers import Frr


@pytest.fixture(scope="module", params=KINDS)
def all_racks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Racks]:
    with steered_in(tmp_path_factory.mktemp("steered"), request.param) as steered:
        yield Racks(steered)


@pytest.fixture
def racks(all_racks: Racks) -> Iterator[Racks]:
    """As they begin: all of ours is told to both, all of theirs is taken."""
    yield all_racks
    all_racks.put(OPEN)
    wait("all of the first rack's", lambda: all_racks.learned() == set(THEIRS))


def tells(router: Frr, prefix: str) -> dict[str, Any]:
    """The path that a rack has from the node."""
    return next(iter(router.paths(prefix)), {})


# ---- what is told


def test_only_what_a_rule_accepts_is_told(racks: Racks) -> None:
    for router in (racks.one, racks.two):
        for prefix in OURS:
            wait(prefix, lambda router=router, prefix=prefix: router.has(prefix))  # type: ignore[misc]
    assert not any(racks.two.has(prefix) for prefix in THEIRS)


def test_transit_is_a_rule(racks: Racks) -> None:
    racks.exports(LOCAL, Rule(accept=True, source=Source.EXTERNAL))
    for prefix in THEIRS:
        wait(prefix, lambda prefix=prefix: racks.two.has(prefix))  # type: ignore[misc]
    assert tells(racks.two, THEIRS[0])["aspath"]["string"] == "65001 65002"
    racks.exports(LOCAL)
    racks.renew()
    for prefix in OURS:
        wait(prefix, lambda prefix=prefix: racks.two.has(prefix))  # type: ignore[misc]
    assert not any(racks.two.has(prefix) for prefix in THEIRS)


def test_a_rule_for_one_peer_is_not_for_the_other(racks: Racks) -> None:
    racks.exports(
        Rule(
            accept=False, peers=frozenset({"two"}), prefixes=frozenset({exactly(OURS[0]), exactly(OURS[2])})
        ),
        LOCAL,
    )
    racks.renew()
    wait("the rest", lambda: racks.two.has(OURS[1]))
    for prefix in OURS:
        wait(prefix, lambda prefix=prefix: racks.one.has(prefix))  # type: ignore[misc]
    assert [racks.two.has(prefix) for prefix in OURS] == [False, True, False]


def test_attributes_of_a_rule_reach_the_peer(racks: Racks) -> None:
    racks.exports(
        Rule(
            accept=True,
            peers=frozenset({"two"}),
            prefixes=frozenset({exactly(prefix) for prefix in OURS}),
            source=Source.LOCAL,
            communities=frozenset({65001 << 16 | 100, 0xFFFFFF01}),
            large_communities=frozenset({(65001, 1, 2)}),
            med=70,
            prepend=2,
            local_pref=50,
        ),
        LOCAL,
    )
    for prefix in OURS:
        wait("the MED", lambda prefix=prefix: tells(racks.two, prefix).get("metric") == 70)  # type: ignore[misc]
        path = tells(racks.two, prefix)
        assert path["aspath"]["string"] == "65001 65001 65001"
        assert set(path["community"]["string"].split()) == {"65001:100", "no-export"}
        assert path["largeCommunity"]["string"] == "65001:1:2"
        plain = tells(racks.one, prefix)
        assert plain["aspath"]["string"] == "65001"
        assert "community" not in plain


def test_what_carries_a_community_can_be_kept_back(racks: Racks) -> None:
    marked, other = 65001 << 16 | 1, 65001 << 16 | 11
    session = racks.steered.session
    paths = [
        LocalPath(ip_network(text), ip_address(0), Attributes(frozenset(communities)))
        for text, communities in (
            ("10.245.1.0/24", {marked}),
            ("10.245.2.0/24", {other}),
            ("10.245.3.0/24", ()),
        )
    ]
    racks.exports(Rule(accept=False, carries=frozenset({marked, 0xFFFFFF01})), LOCAL)
    racks.steered.do(session.announce(paths))
    wait("the others", lambda: racks.one.has("10.245.3.0/24") and racks.one.has("10.245.2.0/24"))
    assert not racks.one.has("10.245.1.0/24")
    racks.steered.do(session.withdraw([path.prefix for path in paths]))


def test_communities_of_a_rule_come_to_those_of_the_path(racks: Racks) -> None:
    path = LocalPath(
        ip_network("10.244.9.0/24"), ip_address(0), Attributes(frozenset({65001 << 16 | 1}), med=5)
    )
    session = racks.steered.session
    racks.exports(Rule(accept=True, source=Source.LOCAL, communities=frozenset({65001 << 16 | 2})))
    racks.steered.do(session.announce([path]))
    wait("it", lambda: racks.one.has("10.244.9.0/24"))
    found = tells(racks.one, "10.244.9.0/24")
    assert set(found["community"]["string"].split()) == {"65001:1", "65001:2"}
    assert found["metric"] == 5
    (entry,) = racks.steered.do(session.table([path.prefix]))
    assert entry.ours == path
    racks.steered.do(session.withdraw([path.prefix]))
    wait("it goes", lambda: not racks.one.has("10.244.9.0/24"))


# ---- what is taken


def test_what_is_rejected_goes_at_once_and_comes_back(racks: Racks) -> None:
    racks.imports(
        LOCAL, Rule(accept=False, prefixes=frozenset({within("10.50.0.0/16"), exactly("fd50::/48")})), ANY
    )
    wait("those that may stay", lambda: racks.learned() == {"10.51.0.0/16", "fd50:0:0:1::/64"})
    racks.imports(LOCAL, ANY)
    wait("all", lambda: racks.learned() == set(THEIRS))


def test_lengths_count(racks: Racks) -> None:
    only = frozenset({within("10.0.0.0/8", 16, 16), within("fd00::/8", 49, 64)})
    racks.imports(LOCAL, Rule(accept=True, prefixes=only))
    wait("those lengths", lambda: racks.learned() == {"10.50.0.0/16", "10.51.0.0/16", "fd50:0:0:1::/64"})


def test_a_prefix_list_inside_another_does_not_hide_it(racks: Racks) -> None:
    only = frozenset({within("10.0.0.0/8"), exactly("10.50.0.0/16")})
    racks.imports(LOCAL, Rule(accept=True, prefixes=only))
    wait("all of IPv4", lambda: racks.learned() == {net for net in THEIRS if ":" not in net})


def test_the_local_preference_is_set_for_one_peer(racks: Racks) -> None:
    racks.imports(LOCAL, Rule(accept=True, peers=frozenset({"one"}), local_pref=333), ANY)
    wait("it", lambda: racks.preferences(THEIRS[0]) == {333})
    racks.imports(LOCAL, Rule(accept=True, peers=frozenset({"two"}), local_pref=333), ANY)
    wait("the usual one", lambda: racks.preferences(THEIRS[0]) == {100})


def test_a_peer_that_no_rule_names_is_not_taken_from(racks: Racks) -> None:
    racks.imports(LOCAL, Rule(accept=True, peers=frozenset({"two"})))
    wait("nothing", lambda: racks.learned() == set())


# ---- what stands in the daemon


def names(racks: Racks) -> tuple[set[str], set[str]]:
    """Of all policies, and of all sets of prefixes and neighbours."""
    gobgp = racks.steered.node.gobgp
    policies = {str(entry["name"]) for entry in json.loads(gobgp("-j", "policy"))}
    sets = {
        str(entry["name"])
        for kind in ("prefix", "neighbor", "community")
        for entry in json.loads(gobgp("-j", "policy", kind))
    }
    return policies, sets


def test_old_policies_and_sets_are_removed(racks: Racks) -> None:
    for prefix in OURS:
        racks.exports(
            Rule(accept=False, peers=frozenset({"one"}), prefixes=frozenset({exactly(prefix)})), LOCAL
        )
        policies, sets = names(racks)
        assert (len(policies), len(sets)) == (2, 2)
    racks.exports(Rule(accept=False, carries=frozenset({1})), LOCAL)
    assert len(names(racks)[1]) == 1
    racks.put(OPEN)
    policies, sets = names(racks)
    assert (len(policies), sets) == (2, set())


def test_what_is_not_ours_stays(racks: Racks) -> None:
    gobgp = racks.steered.node.gobgp
    gobgp("policy", "prefix", "add", "somebody", "192.0.2.0/24")
    gobgp("policy", "statement", "add", "somebody")
    gobgp("policy", "add", "somebody", "somebody")
    try:
        racks.exports(Rule(accept=False, prefixes=frozenset({exactly(OURS[0])})), LOCAL)
        policies, sets = names(racks)
        assert "somebody" in policies & sets
    finally:
        gobgp("policy", "del", "somebody")
        gobgp("policy", "prefix", "del", "somebody")


def test_a_set_of_ours_that_somebody_uses_stays_and_hinders_nothing(racks: Racks) -> None:
    gobgp = racks.steered.node.gobgp
    racks.exports(Rule(accept=False, prefixes=frozenset({exactly(OURS[0])})), LOCAL)
    (name,) = names(racks)[1]
    gobgp("policy", "statement", "add", "somebody")
    gobgp("policy", "statement", "somebody", "add", "condition", "prefix", name)
    gobgp("policy", "add", "somebody", "somebody")
    try:
        racks.put(OPEN)
        assert name in names(racks)[1]
    finally:
        gobgp("policy", "del", "somebody")


def test_a_change_by_somebody_else_is_noticed(racks: Racks) -> None:
    session = racks.steered.session
    racks.steered.node.gobgp("global", "policy", "export", "set", "default", "accept")
    assert not racks.steered.do(session.holds_policies(racks.policies))
    racks.put(OPEN)
    assert not racks.steered.do(session.holds_policies(replace(racks.policies, exports=())))


def test_an_attempt_that_was_cut_off_is_made_good(racks: Racks) -> None:
    """Its set is there, with other content, and the policy is not."""
    rule = Rule(accept=False, peers=frozenset({"one"}), prefixes=frozenset({exactly(OURS[0])}))
    racks.exports(rule, LOCAL)
    _, sets = names(racks)
    name = next(name for name in sets if "prefixes" in name)
    racks.put(OPEN)
    racks.steered.node.gobgp("policy", "prefix", "add", name, "10.244.2.0/24")
    racks.exports(rule, LOCAL)
    found = json.loads(racks.steered.node.gobgp("-j", "policy", "prefix"))
    assert [[entry["ip_prefix"] for entry in one["prefixes"]] for one in found] == [[OURS[0]]]
