"""Policies as sets and statements, and as messages of GoBGP 3."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from protos.gobgp_v3 import gobgp_pb2 as api
from speaker.bgp import Policies, PrefixMatch, Rule, Source
from speaker.gobgp.statements import NOBODY, export_name, import_name, nested, programs
from speaker.gobgp.v3_policies import policy_to_api, sets_to_api

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.bgp import Prefix

MEMBERS = (("10.0.0.1", ("10.0.0.1",)), ("pods", ("10.9.0.0/16", "fd00::/8")))


def policies(*exports: Rule) -> Policies:
    return Policies((Rule(accept=True, source=Source.LOCAL),), exports, MEMBERS)


def exported(*rules: Rule) -> tuple[list[api.DefinedSet], list[api.Statement]]:
    _, program = programs(policies(*rules), {"eth1": "fe80::1%eth1"})
    return list(sets_to_api(program)), list(policy_to_api(program).statements)


def exactly(text: str) -> PrefixMatch:
    prefix = ip_network(text)
    return PrefixMatch(prefix, prefix.prefixlen, prefix.prefixlen)


# ---- what is made of a rule


def test_a_rule_without_conditions_is_one_statement() -> None:
    sets, (statement,) = exported(Rule(accept=False))
    assert sets == []
    assert statement.conditions == api.Conditions()
    assert statement.actions == api.Actions(route_action=api.REJECT)


def test_a_rule_with_everything() -> None:
    rule = Rule(
        accept=True,
        peers=frozenset({"pods", "10.0.0.1"}),
        prefixes=frozenset({exactly("10.1.0.0/24")}),
        source=Source.EXTERNAL,
        communities=frozenset({65001 << 16 | 7, 0xFFFFFF01}),
        large_communities=frozenset({(65001, 1, 2)}),
        local_pref=50,
        med=0,
        prepend=3,
    )
    (neighbours, prefixes), (statement,) = exported(rule)
    assert list(neighbours.list) == ["10.0.0.1/32", "10.9.0.0/16", "fd00::/8"]
    assert (prefixes.prefixes[0].ip_prefix, prefixes.prefixes[0].mask_length_max) == ("10.1.0.0/24", 24)
    assert statement.conditions.neighbor_set.name == neighbours.name
    assert statement.conditions.prefix_set.name == prefixes.name
    assert statement.conditions.route_type == api.Conditions.ROUTE_TYPE_EXTERNAL
    actions = statement.actions
    assert (actions.route_action, actions.local_pref.value, actions.med.type) == (api.ACCEPT, 50, 1)
    assert actions.HasField("med")
    assert list(actions.community.communities) == ["65001:7", "65535:65281"]
    assert list(actions.large_community.communities) == ["65001:1:2"]
    assert (actions.as_prepend.repeat, actions.as_prepend.use_left_most) == (3, True)


def test_families_are_never_mixed_in_a_set() -> None:
    sets, statements = exported(
        Rule(accept=True, prefixes=frozenset({exactly("10.1.0.0/24"), exactly("fd01::/64")}))
    )
    assert [[entry.ip_prefix for entry in made.prefixes] for made in sets] == [["10.1.0.0/24"], ["fd01::/64"]]
    assert [one.conditions.prefix_set.name for one in statements] == [made.name for made in sets]
    assert len({one.name for one in statements}) == 2


def test_rules_for_nobody_or_nothing_are_left_out() -> None:
    assert exported(Rule(accept=True, peers=frozenset())) == ([], [])
    assert exported(Rule(accept=True, prefixes=frozenset())) == ([], [])


def test_a_set_is_never_empty_since_that_would_be_everybody() -> None:
    (neighbours,), _ = exported(Rule(accept=True, peers=frozenset({"eth9"})))
    assert list(neighbours.list) == [NOBODY]


def test_an_interface_stands_for_the_address_that_was_found() -> None:
    (neighbours,), _ = exported(Rule(accept=True, peers=frozenset({"eth1"})))
    assert list(neighbours.list) == ["fe80::1/128"]


def test_communities_are_matched_whole() -> None:
    sets, (statement,) = exported(Rule(accept=False, carries=frozenset({65001 << 16 | 1, 0xFFFFFF01})))
    assert [list(made.list) for made in sets] == [["^65001:1$", "^65535:65281$"]]
    assert statement.conditions.community_set.name == sets[0].name


def test_equal_sets_are_made_once() -> None:
    rule = Rule(accept=True, peers=frozenset({"pods"}), prefixes=frozenset({exactly("10.1.0.0/24")}))
    sets, statements = exported(rule, replace(rule, accept=False))
    assert (len(sets), len(statements)) == (2, 2)


# ---- names


def test_the_name_says_what_all_of_the_policies_are() -> None:
    one = policies(Rule(accept=True))
    assert import_name(one) != export_name(one)
    for other in (policies(Rule(accept=False)), replace(one, imports=()), replace(one, members=())):
        assert import_name(other) != import_name(one)
        assert export_name(other) != export_name(one)
    assert export_name(policies(Rule(accept=True))) == export_name(one)


def test_the_name_is_the_same_in_every_process() -> None:
    code = (
        "from speaker.bgp import Policies, Rule\n"
        "from speaker.gobgp.statements import export_name\n"
        "rule = Rule(True, peers=frozenset('abcdefgh'), communities=frozenset(range(50)))\n"
        "print(export_name(Policies((), (rule,))))\n"
    )
    names = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(names) == 1


# ---- prefixes inside prefixes


def gobgp_takes(entries: Iterable[PrefixMatch], prefix: Prefix) -> bool:
    """As GoBGP's PrefixCondition does: of the entries around the prefix only the longest ones are asked."""
    around = [one for one in entries if PrefixMatch(one.prefix, 0, 128).covers(prefix)]
    longest = max((one.prefix.prefixlen for one in around), default=0)
    return any(
        one.shortest <= prefix.prefixlen <= one.longest for one in around if one.prefix.prefixlen == longest
    )


def test_an_inner_prefix_does_not_hide_the_outer_one() -> None:
    outer = PrefixMatch(ip_network("10.0.0.0/8"), 8, 32)
    inner = PrefixMatch(ip_network("10.1.0.0/16"), 16, 16)
    inside = ip_network("10.1.2.0/24")
    assert not gobgp_takes([outer, inner], inside)
    assert gobgp_takes(nested([outer, inner]), inside)


@st.composite
def networks(draw: st.DrawFn) -> IPv4Network:
    length = draw(st.integers(0, 6))
    return IPv4Network((draw(st.integers(0, 2**length - 1)) << 32 - length, length))


LENGTHS = st.integers(0, 8)
MATCHES = st.builds(PrefixMatch, networks(), LENGTHS, LENGTHS)


@given(st.lists(MATCHES, max_size=8), networks())
def test_the_longest_match_alone_decides_as_all_together(
    matches: list[PrefixMatch], prefix: IPv4Network
) -> None:
    assert gobgp_takes(nested(matches), prefix) == any(match.covers(prefix) for match in matches)
