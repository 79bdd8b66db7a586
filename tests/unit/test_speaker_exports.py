"""Whose session has to end because it knows too much."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from speaker.bgp import Destination, LearnedPath, LocalPath, Policies, PrefixMatch, Rule, Source
from speaker.exports import narrowed
from speaker.policy import policies
from tests.unit.test_speaker_policy import CONFIG, EVERYONE

OURS = ip_network("10.1.0.0/24")
LEARNED = ip_network("10.9.0.0/16")
HOP = ip_address("10.0.0.2")
TABLE = [
    Destination(OURS, LocalPath(OURS, ip_address(0)), False, ()),
    Destination(LEARNED, None, False, (LearnedPath(HOP, "10.0.0.2", 100, 1, 0, 0, external=True),)),
    Destination(ip_network("10.7.0.0/16"), None, False, ()),
]
LOCAL = Rule(accept=True, source=Source.LOCAL)
ALL = Rule(accept=True)
A, B = frozenset({"a"}), frozenset({"b"})
INSIDE = frozenset({PrefixMatch(ip_network("10.0.0.0/8"), 16, 24)})
OUTSIDE = frozenset({PrefixMatch(ip_network("10.0.0.0/8"), 25, 32)})
SECRET = frozenset({0xFFFFFF01})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([LOCAL], [LOCAL], set()),
        ([LOCAL], [ALL], set()),
        ([ALL], [LOCAL], {"a", "b"}),
        ([LOCAL], [], {"a", "b"}),
        ([LOCAL], [Rule(False, A), LOCAL], {"a"}),
        ([LOCAL], [Rule(False, A, INSIDE), LOCAL], {"a"}),
        ([LOCAL], [Rule(False, A, OUTSIDE), LOCAL], set()),
        ([LOCAL], [Rule(False, A, frozenset()), LOCAL], set()),
        ([LOCAL], [Rule(True, B, source=Source.LOCAL)], {"a"}),
        ([LOCAL], [Rule(False, source=Source.INTERNAL), LOCAL], set()),
        ([ALL], [Rule(False, source=Source.EXTERNAL), ALL], {"a", "b"}),
        ([LOCAL], [Rule(True, source=Source.LOCAL, prepend=3)], set()),
        ([ALL], [Rule(False, A, carries=SECRET), ALL], {"a"}),
        ([Rule(False, A, carries=SECRET), ALL], [ALL], set()),
        (
            [Rule(False, A, carries=SECRET), ALL],
            [Rule(False, A, OUTSIDE), Rule(False, A, carries=SECRET), ALL],
            set(),
        ),
    ],
)
def test_who_hears_less(before: list[Rule], after: list[Rule], expected: set[str]) -> None:
    found = narrowed(Policies((), tuple(before)), Policies((), tuple(after)), ["a", "b"], TABLE)
    assert found == expected


def test_who_was_told_nothing_can_hear_no_less() -> None:
    assert narrowed(Policies((), (ALL,)), Policies((), ()), ["a"], []) == set()


def test_of_unknown_rules_the_worst_is_assumed() -> None:
    assert narrowed(None, Policies((), (ALL,)), ["a", "b"], []) == {"a", "b"}


def test_no_session_ends_for_a_list_of_what_is_announced_where_nobody_added_more() -> None:
    before = Policies((), (Rule(accept=True, source=Source.LOCAL),))
    paths = [ip_network(text) for text in ("10.244.1.0/24", "192.0.2.1/32")]
    table = [Destination(prefix, LocalPath(prefix, ip_address(0)), False, ()) for prefix in paths]
    after = policies(CONFIG)
    assert narrowed(before, after, EVERYONE, table) == frozenset()
    added = Destination(ip_network("10.9.0.0/16"), None, True, ())
    assert narrowed(before, after, EVERYONE, [*table, added]) == frozenset(EVERYONE)
    assert narrowed(after, after, EVERYONE, [*table, added]) == frozenset()
