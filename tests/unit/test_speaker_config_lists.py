"""Prefix lists, communities and announcements of speaker.toml."""

from __future__ import annotations

import time
from ipaddress import IPv4Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaker.bgp import PrefixMatch
from speaker.config.checks import Checks
from speaker.config.lists import WELL_KNOWN, communities, covered, overlaps, prefix_list, show_match
from speaker.config.speaker_toml import ConfigError, parse

BGP = '[bgp]\nasn = 65001\nrouter-id = "10.0.0.1"\n'

ENTRIES = [
    ("10.0.0.0/8", PrefixMatch(ip_network("10.0.0.0/8"), 8, 32)),
    ("10.0.0.0/8 ge 16 le 24", PrefixMatch(ip_network("10.0.0.0/8"), 16, 24)),
    ("10.0.0.0/8 le 8", PrefixMatch(ip_network("10.0.0.0/8"), 8, 8)),
    ("10.0.0.0/8  ge  32", PrefixMatch(ip_network("10.0.0.0/8"), 32, 32)),
    ("0.0.0.0/0 le 0", PrefixMatch(ip_network("0.0.0.0/0"), 0, 0)),
    ("fd00::/8 ge 64", PrefixMatch(ip_network("fd00::/8"), 64, 128)),
]
NO_ENTRIES = [
    (
        "10.0.0.0/8 le 24 ge 16",
        "is no entry of a prefix list; write it like 10.0.0.0/8, or 10.0.0.0/8 ge 16 le 24",
    ),
    ("10.0.0.0/8-24", "is not a prefix; write it like 10.244.1.0/24 or 2001:db8:1::/64"),
    ("10.0.0.0/8 ge 4", "has no lengths that fit; ge and le are from 8 to 32, ge the smaller"),
    ("10.0.0.0/8 le 33", "has no lengths that fit; ge and le are from 8 to 32, ge the smaller"),
    ("10.0.0.0/8 ge 24 le 16", "has no lengths that fit; ge and le are from 8 to 32, ge the smaller"),
    ("10.0.0.1/8 le 24", "has bits beyond its length; did you mean 10.0.0.0/8?"),
    ("", "is no entry of a prefix list; write it like 10.0.0.0/8, or 10.0.0.0/8 ge 16 le 24"),
]


@pytest.mark.parametrize(("text", "match"), ENTRIES)
def test_an_entry_of_a_prefix_list(text: str, match: PrefixMatch) -> None:
    checks = Checks()
    assert prefix_list(checks, "k", [text]) == (match,)
    assert prefix_list(checks, "k", [show_match(match)]) == (match,)
    assert not checks.problems


@pytest.mark.parametrize(("text", "why"), NO_ENTRIES)
def test_what_is_no_entry(text: str, why: str) -> None:
    checks = Checks()
    prefix_list(checks, "k", ["192.0.2.0/24", text])
    assert checks.problems == [f'k[1]: "{text}" {why}']


OVERLAPPING = [
    (["10.0.0.0/8", "10.1.0.0/16"], 1, "10.0.0.0/8"),
    (["10.1.0.0/16", "10.0.0.0/8"], 1, "10.1.0.0/16"),
    (["10.0.0.0/8 le 16", "10.1.0.0/16 le 24"], 1, "10.0.0.0/8 le 16"),
    (["fd00::/8", "10.0.0.0/8 ge 24", "10.0.0.0/8 le 24"], 2, "10.0.0.0/8 ge 24"),
]


@pytest.mark.parametrize(("values", "position", "other"), OVERLAPPING)
def test_overlapping_entries_are_one_line(values: list[str], position: int, other: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(BGP + f"[accept]\nprefixes = {values}\n", "f")
    assert str(raised.value) == (
        f'f: accept.prefixes[{position}]: "{values[position]}" overlaps {other} in the same list;'
        " remove one, or set ge and le apart"
    )


def test_entries_with_lengths_apart_do_not_overlap() -> None:
    parse(BGP + '[accept]\nprefixes = ["10.0.0.0/8 le 16", "10.1.0.0/16 ge 18", "10.0.0.0/8 ge 17 le 17"]\n')


MATCHES = st.builds(
    lambda number, length, low, high: PrefixMatch(
        IPv4Network((number << 28 >> (32 - length) << (32 - length) if length else 0, length)),
        min(length + low, 6),
        min(length + low + high, 6),
    ),
    st.integers(0, 15),
    st.integers(0, 4),
    st.integers(0, 3),
    st.integers(0, 3),
)


def taken(match: PrefixMatch) -> set[IPv4Network]:
    """All that an entry takes, by looking at each."""
    every = (IPv4Network((bits << (32 - size), size)) for size in range(7) for bits in range(1 << size))
    return {prefix for prefix in every if match.covers(prefix)}


@given(st.lists(MATCHES, max_size=6))
def test_overlaps_are_found_as_by_looking_at_every_prefix(matches: list[PrefixMatch]) -> None:
    sets = [taken(match) for match in matches]
    expected = {i for i in range(len(sets)) if any(sets[i] & sets[j] for j in range(i))}
    assert {later for later, _ in overlaps(matches)} == expected
    assert all(earlier < later and sets[earlier] & sets[later] for later, earlier in overlaps(matches))


@given(st.sets(MATCHES, max_size=4), MATCHES)
def test_what_one_entry_covers_is_found_as_by_looking(matches: set[PrefixMatch], by: PrefixMatch) -> None:
    assert set(covered(matches, [by])) == {match for match in matches if taken(match) <= taken(by)}


def test_a_list_as_long_as_it_may_be_is_read_in_a_moment() -> None:
    values = [f"10.{i >> 8 & 255}.{i & 255}.0/24" for i in range(10_000)]
    start = time.monotonic()
    checks = Checks()
    assert len(prefix_list(checks, "k", values)) == 10_000
    assert not checks.problems
    assert time.monotonic() - start < 5


COMMUNITIES: list[tuple[str, int | tuple[int, int, int]]] = [
    ("65001:100", 65001 << 16 | 100),
    ("0:0", 0),
    ("4200000001:1:2", (4200000001, 1, 2)),
    *WELL_KNOWN.items(),
]


@pytest.mark.parametrize(("text", "value"), COMMUNITIES)
def test_a_community(text: str, value: int | tuple[int, int, int]) -> None:
    checks = Checks()
    small, large = communities(checks, "k", [text])
    assert {*small, *large} == {value}
    assert not checks.problems


@pytest.mark.parametrize(
    "text", ["65536:1", "1:65536", "1", "1:2:3:4", "4294967296:1:1", "no-exports", "-1:1", "٣:1"]
)
def test_what_is_no_community(text: str) -> None:
    checks = Checks()
    communities(checks, "k", [text])
    assert checks.problems == [
        f'k[0]: "{text}" is no community; write it like 65001:100 (each up to 65535), 4200000001:1:2, or no-export'
    ]


@pytest.mark.parametrize("values", [["1:2", "1:2"], ["no-export", "65535:65281"], ["1:2:3", "1:2:3"]])
def test_a_community_stands_once(values: list[str]) -> None:
    checks = Checks()
    communities(checks, "k", values)
    assert checks.problems == [f'k[1]: "{values[1]}" is there twice; keep one of them']


PEER = '[[peer]]\naddress = "10.0.0.254"\nasn = 65000\n'
SERVICES = '[[announcement]]\nname = "services"\nprefixes = ["10.96.0.0/12"]\n'
ANNOUNCED = [
    (
        SERVICES + 'peers = ["10.0.0.25"]\n',
        'announcement[0].peers: "10.0.0.25" is no peer here; did you mean "10.0.0.254"?',
    ),
    (
        SERVICES + 'peers = ["zebra"]\n',
        'announcement[0].peers: "zebra" is no peer here; known here: 10.0.0.254',
    ),
    (
        SERVICES.replace("services", "hosts"),
        'announcement[0].name: "hosts" is what [announce] stands for; write another name',
    ),
    (
        SERVICES + SERVICES.replace("10.96.0.0/12", "10.1.0.0/16"),
        'announcement[1].name: "services" is there twice; keep one of them',
    ),
    (
        SERVICES + SERVICES.replace("services", "more"),
        'announcement[1].prefixes[0]: "10.96.0.0/12" is in announcement[0].prefixes too; keep one of them',
    ),
    (
        SERVICES + '[announce]\nprefixes = ["10.96.0.0/12"]\n',
        'announcement[0].prefixes[0]: "10.96.0.0/12" is in announce.prefixes too; keep one of them',
    ),
    (
        '[announce]\nsubnets = ["10.1.0.0/25", "10.1.0.0/24"]\n',
        'announce.subnets[1]: "10.1.0.0/24" overlaps 10.1.0.0/25 there; keep the wider one',
    ),
    (
        '[announce]\nnext-hop-ipv4 = "127.0.0.1"\n',
        (
            'announce.next-hop-ipv4: "127.0.0.1" is loopback, which peers refuse as a next hop;'
            " write an address of this node"
        ),
    ),
    (
        '[announce]\nnext-hop-ipv6 = "fe80::1"\n',
        'announce.next-hop-ipv6: "fe80::1" is link-local, so it says nothing without a link; write a global address',
    ),
    (
        '[announce]\ncommunities = ["no-exprt"]\n',
        (
            'announce.communities[0]: "no-exprt" is no community; write it like 65001:100 (each up to 65535),'
            " 4200000001:1:2, or no-export"
        ),
    ),
]


@pytest.mark.parametrize(("text", "line"), ANNOUNCED, ids=[line for _, line in ANNOUNCED])
def test_says_file_key_value_and_fix(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(BGP + PEER + text, "speaker.toml")
    assert str(raised.value) == f"speaker.toml: {line}"
