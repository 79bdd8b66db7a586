"""What the speaker wants to announce and to route."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from speaker.bgp import Attributes, BgpGlobal, Destination, LearnedPath, LocalPath, Peer, SessionOptions
from speaker.desired import UNREACHABLE_METRIC, Held, KernelRoute, local_paths, unreachable_routes
from speaker.kernel.learned import Acceptance, Learned, equal_paths
from speaker.prefixes import everything_in, exactly, never_routed
from speaker.settings import Accept, Announce, Announcement, Api, Config, Kernel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.bgp import Prefix

CONFIG = Config(
    bgp=BgpGlobal(65001, "10.0.0.1"),
    api=Api("unix:///s"),
    announce=Announce(Announcement("subnets", (ip_network("10.244.1.0/24"), ip_network("fd00:1::/64")))),
)
BEST = LearnedPath(ip_address("10.0.0.254"), "10.0.0.254", 100, 2, 0, 0, True)


def learned(prefix: str, *paths: LearnedPath) -> Destination:
    return Destination(ip_network(prefix), None, False, paths or (BEST,))


LINK = ("10.0.0.0/24",)


def nets(texts: Iterable[str]) -> frozenset[Prefix]:
    return frozenset(map(ip_network, texts))


def routes(config: Config, *found: Destination, connected: tuple[str, ...] = LINK) -> dict[str, list[str]]:
    table = {entry.prefix: entry for entry in found}
    announced = {path.prefix for path in local_paths(config.announce, ())}
    links = nets(connected)
    verdict = Learned(config).judge(table, Held(connected=links, direct=links), announced)
    return {str(route.prefix): sorted(map(str, route.next_hops)) for route in verdict.routes.values()}


def accepted(config: Config, prefix: Prefix) -> bool:
    return prefix in Acceptance(config)


def test_announces_subnets_prefixes_and_pods_outside_them() -> None:
    services = Announcement("services", (ip_network("10.96.0.0/12"),))
    announce = replace(CONFIG.announce, others=(services,))
    pods = [ip_address(text) for text in ("10.244.1.7", "192.0.2.9", "fd00:1::9", "fd00:2::9")]
    assert {str(path.prefix) for path in local_paths(announce, pods)} == {
        "10.244.1.0/24",
        "fd00:1::/64",
        "10.96.0.0/12",
        "192.0.2.9/32",
        "fd00:2::9/128",
    }


def test_a_service_range_does_not_hide_a_pod_inside_it() -> None:
    announce = Announce(others=(Announcement("services", (ip_network("10.96.0.0/12"),)),))
    assert ip_network("10.96.0.9/32") in {
        path.prefix for path in local_paths(announce, [ip_address("10.96.0.9")])
    }


@pytest.mark.parametrize("text", ["127.0.0.5", "169.254.1.1", "fe80::1", "::1", "224.0.0.5", "::"])
def test_never_announces_what_is_not_routed(text: str) -> None:
    assert local_paths(Announce(), [ip_address(text)]) == frozenset()


def test_next_hop_is_the_sessions_own_unless_configured() -> None:
    both = (ip_network("10.1.0.0/24"), ip_network("fd01::/64"))
    announce = Announce(Announcement("subnets", both, next_hops=(ip_address("fd00::9"),)))
    assert local_paths(announce, ()) == {
        LocalPath(ip_network("10.1.0.0/24"), ip_address(0)),
        LocalPath(ip_network("fd01::/64"), ip_address("fd00::9")),
    }


def test_what_is_announced_carries_what_is_said_of_it() -> None:
    marks = {name: Attributes(communities=frozenset({n}), med=n) for n, name in enumerate("abc")}
    announce = Announce(
        Announcement("subnets", (ip_network("10.1.0.0/24"),), marks["a"]),
        Announcement("hosts", (), marks["b"], next_hops=(ip_address("10.0.0.9"),)),
        (Announcement("vips", (ip_network("192.0.2.1/32"),), marks["c"]),),
    )
    pods = [ip_address(text) for text in ("192.0.2.1", "192.0.2.2", "10.1.0.5")]
    assert local_paths(announce, pods) == {
        LocalPath(ip_network("10.1.0.0/24"), ip_address(0), marks["a"]),
        LocalPath(ip_network("192.0.2.1/32"), ip_address(0), marks["c"]),
        LocalPath(ip_network("192.0.2.2/32"), ip_address("10.0.0.9"), marks["b"]),
    }


OTHER = ip_address("10.0.0.253")
ECMP = [
    ("as good", {}, True),
    ("another neighbour AS is as good", {"peer": "10.0.0.253"}, True),
    ("lower local preference", {"local_pref": 90}, False),
    ("longer AS path", {"as_path_length": 3}, False),
    ("worse origin", {"origin": 2}, False),
    ("worse MED", {"med": 10}, False),
    ("iBGP", {"external": False}, False),
]


@pytest.mark.parametrize(("change", "together"), [row[1:] for row in ECMP], ids=[row[0] for row in ECMP])
def test_ecmp_needs_equal_attributes(change: dict[str, object], together: bool) -> None:
    second = replace(BEST, next_hop=OTHER, **change)  # type: ignore[arg-type]
    assert (second in equal_paths((BEST, second))) is together


def test_the_daemons_first_path_decides() -> None:
    assert equal_paths(()) == ()
    worse = replace(BEST, med=5, next_hop=OTHER)
    assert equal_paths((worse, BEST)) == (worse,)


def test_ecmp_becomes_one_route() -> None:
    second = replace(BEST, next_hop=OTHER)
    assert routes(CONFIG, learned("10.9.0.0/16", BEST, second)) == {
        "10.9.0.0/16": ["10.0.0.253", "10.0.0.254"]
    }


def test_two_peers_with_one_next_hop_are_one_way() -> None:
    reflected = replace(BEST, peer="10.0.0.7")
    assert routes(CONFIG, learned("10.9.0.0/16", BEST, reflected)) == {"10.9.0.0/16": ["10.0.0.254"]}


def test_never_installs_our_own_subnets_or_parts_of_them() -> None:
    found = [learned(text) for text in ("10.244.1.0/24", "10.244.1.128/25", "10.244.1.9/32", "10.244.0.0/16")]
    assert list(routes(CONFIG, *found)) == ["10.244.0.0/16"]


def test_never_installs_what_is_announced_here() -> None:
    services = Announcement("services", (ip_network("10.96.0.0/12"),))
    config = replace(CONFIG, announce=Announce(others=(services,)))
    assert list(routes(config, learned("10.96.0.0/12"), learned("10.96.0.1/32"))) == ["10.96.0.1/32"]


def test_never_installs_where_somebody_added_a_local_path() -> None:
    assert routes(CONFIG, replace(learned("10.9.0.0/16"), foreign=True)) == {}


def test_never_installs_a_connected_prefix_or_what_hides_the_next_hop() -> None:
    found = [learned(text) for text in ("10.0.0.0/24", "10.0.0.254/32", "10.0.0.128/25", "10.0.0.5/32")]
    assert list(routes(CONFIG, *found)) == ["10.0.0.5/32"]


def test_never_installs_what_hides_a_peer_or_the_next_hop_of_another() -> None:
    third = replace(BEST, next_hop=ip_address("10.0.0.9"))
    hiding = [learned("10.0.0.7/32", third), learned("10.0.0.6/31", third)]
    both = ["10.0.0.6/31", "10.0.0.7/32"]
    assert sorted(routes(CONFIG, *hiding)) == both
    at = replace(BEST, next_hop=ip_address("10.0.0.7"))
    assert list(routes(CONFIG, *hiding, learned("10.9.0.0/16", at))) == ["10.9.0.0/16"]
    peer = Peer(ip_address("10.0.0.7"), SessionOptions(65002))
    assert list(routes(replace(CONFIG, peers=(peer,)), *hiding)) == []
    # Beyond the links, more specific routes to a peer are what routing is for.
    assert sorted(routes(replace(CONFIG, peers=(peer,)), *hiding, connected=("10.0.0.8/29",))) == both


def test_what_hid_a_next_hop_comes_back_when_that_is_gone() -> None:
    decides, links = Learned(CONFIG), nets(LINK)
    held = Held(connected=links, direct=links)
    host = learned("10.0.0.7/32", replace(BEST, next_hop=ip_address("10.0.0.9")))
    other = learned("10.9.0.0/16", replace(BEST, next_hop=ip_address("10.0.0.7")))
    both = {entry.prefix: entry for entry in (host, other)}
    for table, wanted in (
        (both, [other.prefix]),
        ({host.prefix: host}, [host.prefix]),
        (both, [other.prefix]),
    ):
        verdict = decides.judge(table, held)
        assert [prefix for prefix, _ in verdict.routes] == wanted
        assert {prefix for prefix, _ in verdict.changed or ()} >= {host.prefix}


def test_default_route_only_where_allowed() -> None:
    assert routes(CONFIG, learned("0.0.0.0/0")) == {}
    allowed = replace(CONFIG, accept=Accept(default_route=True))
    assert list(routes(allowed, learned("0.0.0.0/0"))) == ["0.0.0.0/0"]


def test_accept_prefixes_limit() -> None:
    some = (everything_in(ip_network("10.0.0.0/8")), everything_in(ip_network("fd00::/16")))
    config = replace(CONFIG, accept=Accept(prefixes=some))
    answers = {
        text: accepted(config, ip_network(text))
        for text in ("10.9.0.0/16", "10.0.0.0/8", "8.0.0.0/6", "192.0.2.0/24", "fd00:9::/64", "fd01::/64")
    }
    assert answers == {
        "10.9.0.0/16": True,
        "10.0.0.0/8": True,
        "8.0.0.0/6": False,
        "192.0.2.0/24": False,
        "fd00:9::/64": True,
        "fd01::/64": False,
    }


def test_accept_lengths_limit() -> None:
    some = (replace(everything_in(ip_network("10.0.0.0/8")), shortest=16, longest=24),)
    config = replace(CONFIG, accept=Accept(prefixes=(*some, exactly(ip_network("10.0.0.0/15")))))
    texts = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.0/25", "10.0.0.0/15", "10.2.0.0/15")
    taken = [text for text in texts if accepted(config, ip_network(text))]
    assert taken == ["10.1.0.0/16", "10.1.2.0/24", "10.0.0.0/15"]


def test_a_maximum_keeps_what_is_installed_and_takes_the_lowest_of_the_rest() -> None:
    config = replace(CONFIG, accept=Accept(maximum=3))
    table = {entry.prefix: entry for entry in (learned(f"10.{n}.0.0/16") for n in (9, 8, 7, 6, 5))}
    links = nets(LINK)

    def judge(*held: str) -> tuple[set[str], int]:
        ours = {(net, config.kernel.metric): KernelRoute(net, config.kernel.metric) for net in nets(held)}
        verdict = Learned(config).judge(table, Held(ours, links, links))
        return {str(prefix) for prefix, _ in verdict.routes}, verdict.beyond_maximum

    assert judge() == ({"10.5.0.0/16", "10.6.0.0/16", "10.7.0.0/16"}, 2)
    assert judge("10.8.0.0/16", "10.9.0.0/16") == ({"10.5.0.0/16", "10.8.0.0/16", "10.9.0.0/16"}, 2)
    del table[ip_network("10.9.0.0/16")], table[ip_network("10.8.0.0/16")]
    assert judge("10.8.0.0/16", "10.9.0.0/16") == ({"10.5.0.0/16", "10.6.0.0/16", "10.7.0.0/16"}, 0)


def test_unreachable_behind_each_subnet() -> None:
    assert list(unreachable_routes(CONFIG).values()) == [
        KernelRoute(ip_network("10.244.1.0/24"), UNREACHABLE_METRIC),
        KernelRoute(ip_network("fd00:1::/64"), UNREACHABLE_METRIC),
    ]


def test_without_install_nothing_is_wanted() -> None:
    config = replace(CONFIG, kernel=Kernel(install=False))
    assert routes(config, learned("10.9.0.0/16")) == {}
    assert unreachable_routes(config) == {}


def _networks() -> st.SearchStrategy[Prefix]:
    v4 = st.builds(
        lambda bits, size: IPv4Network((bits, size), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    )
    v6 = st.builds(
        lambda bits, size: IPv6Network((bits, size), strict=False),
        st.integers(0, 2**128 - 1),
        st.integers(0, 128),
    )
    return st.one_of(v4, v6)


@given(_networks().filter(lambda prefix: not never_routed(prefix)), _networks())
@example(ip_network("fe00::/7"), ip_network("::/0"))
def test_acceptance_agrees_with_ipaddress(prefix: Prefix, allowed: Prefix) -> None:
    config = Config(
        bgp=BgpGlobal(1, "10.0.0.1"),
        api=Api(""),
        accept=Accept(prefixes=(everything_in(allowed),), default_route=True),
    )
    inside = prefix.version == allowed.version and prefix.subnet_of(allowed)  # type: ignore[arg-type]
    assert accepted(config, prefix) is (inside or prefix.prefixlen == 0)


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0/8",
        "255.255.255.255/32",
        "::/128",
        "127.0.0.0/8",
        "224.0.0.0/4",
        "169.254.0.0/16",
        "::1/128",
        "ff00::/8",
        "fe80::/10",
        "::ffff:0:0/96",
    ],
)
def test_what_is_never_routed_is_not_taken_from_a_peer(text: str) -> None:
    assert not accepted(CONFIG, ip_network(text))
