"""What the speaker wants to announce and to route."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from speaker.config import Accept, Announce, Config, Kernel
from speaker.desired import (
    UNREACHABLE_METRIC,
    KernelRoute,
    accepted,
    equal_paths,
    learned_routes,
    local_paths,
    unreachable_routes,
)
from speaker.gobgp.session import BgpGlobal, Destination, LearnedPath, LocalPath
from speaker.prefixes import never_routed

if TYPE_CHECKING:
    from speaker.gobgp.session import Prefix

CONFIG = Config(
    bgp=BgpGlobal(65001, "10.0.0.1"),
    api="unix:///s",
    announce=Announce(subnets=(ip_network("10.244.1.0/24"), ip_network("fd00:1::/64"))),
)
BEST = LearnedPath(ip_address("10.0.0.254"), "10.0.0.254", 100, 2, 0, 0, True)


def learned(prefix: str, *paths: LearnedPath) -> Destination:
    return Destination(ip_network(prefix), None, False, paths or (BEST,))


def routes(config: Config, *found: Destination, connected: tuple[str, ...] = ()) -> dict[str, list[str]]:
    table = {entry.prefix: entry for entry in found}
    announced = {path.prefix for path in local_paths(config.announce, ())}
    wanted = learned_routes(config, table, announced, {ip_network(text) for text in connected})
    return {str(route.prefix): sorted(map(str, route.next_hops)) for route in wanted.values()}


def test_announces_subnets_prefixes_and_pods_outside_them() -> None:
    announce = replace(CONFIG.announce, prefixes=(ip_network("10.96.0.0/12"),))
    pods = [ip_address(text) for text in ("10.244.1.7", "192.0.2.9", "fd00:1::9", "fd00:2::9")]
    assert {str(path.prefix) for path in local_paths(announce, pods)} == {
        "10.244.1.0/24",
        "fd00:1::/64",
        "10.96.0.0/12",
        "192.0.2.9/32",
        "fd00:2::9/128",
    }


def test_a_service_range_does_not_hide_a_pod_inside_it() -> None:
    announce = Announce(prefixes=(ip_network("10.96.0.0/12"),))
    assert ip_network("10.96.0.9/32") in {
        path.prefix for path in local_paths(announce, [ip_address("10.96.0.9")])
    }


@pytest.mark.parametrize("text", ["127.0.0.5", "169.254.1.1", "fe80::1", "::1", "224.0.0.5", "::"])
def test_never_announces_what_is_not_routed(text: str) -> None:
    assert local_paths(Announce(), [ip_address(text)]) == frozenset()


def test_next_hop_is_the_sessions_own_unless_configured() -> None:
    announce = Announce(
        subnets=(ip_network("10.1.0.0/24"), ip_network("fd01::/64")), next_hops=(ip_address("fd00::9"),)
    )
    assert local_paths(announce, ()) == {
        LocalPath(ip_network("10.1.0.0/24"), ip_address(0)),
        LocalPath(ip_network("fd01::/64"), ip_address("fd00::9")),
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
    config = replace(CONFIG, announce=Announce(prefixes=(ip_network("10.96.0.0/12"),)))
    assert list(routes(config, learned("10.96.0.0/12"), learned("10.96.0.1/32"))) == ["10.96.0.1/32"]


def test_never_installs_where_somebody_added_a_local_path() -> None:
    assert routes(CONFIG, replace(learned("10.9.0.0/16"), foreign=True)) == {}


def test_never_installs_a_connected_prefix_or_what_hides_the_next_hop() -> None:
    found = [learned(text) for text in ("10.0.0.0/24", "10.0.0.254/32", "10.0.0.128/25", "10.0.0.5/32")]
    assert list(routes(CONFIG, *found, connected=("10.0.0.0/24",))) == ["10.0.0.5/32"]


def test_default_route_only_where_allowed() -> None:
    assert routes(CONFIG, learned("0.0.0.0/0")) == {}
    allowed = replace(CONFIG, accept=Accept(default_route=True))
    assert list(routes(allowed, learned("0.0.0.0/0"), connected=("10.0.0.0/24",))) == ["0.0.0.0/0"]


def test_accept_prefixes_limit() -> None:
    config = replace(CONFIG, accept=Accept(prefixes=(ip_network("10.0.0.0/8"), ip_network("fd00::/16"))))
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
        bgp=BgpGlobal(1, "10.0.0.1"), api="", accept=Accept(prefixes=(allowed,), default_route=True)
    )
    inside = prefix.version == allowed.version and prefix.subnet_of(allowed)  # type: ignore[arg-type]
    assert accepted(config, prefix) is (inside or prefix.prefixlen == 0)


@pytest.mark.parametrize(
    "text",
    ["127.0.0.0/8", "224.0.0.0/4", "169.254.0.0/16", "::1/128", "ff00::/8", "fe80::/10", "::ffff:0:0/96"],
)
def test_what_is_never_routed_is_not_taken_from_a_peer(text: str) -> None:
    assert not accepted(CONFIG, ip_network(text))
