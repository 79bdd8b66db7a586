"""Next hops on none of the node's links: over which neighbours they are reached, and when not."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaker.bgp import BgpGlobal, Destination, LearnedPath
from speaker.desired import Held, KernelRoute, NextHop
from speaker.kernel import resolve as module
from speaker.kernel.learned import Learned
from speaker.kernel.resolve import LONGEST_CHAIN, Offers, Ways
from speaker.prefixes import Nets, exactly
from speaker.settings import Accept, Api, Config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speaker.bgp import Prefix

LINKS = ("10.0.0.0/24", "fd00::/64")
OWN = frozenset(map(ip_address, ("10.0.0.99", "fd00::99", "192.0.2.1")))
METRIC = 1190
CONFIG = Config(BgpGlobal(65001, "10.0.0.1"), Api("unix:///s"))


def hop(text: str) -> NextHop:
    address, _, interface = text.partition("%")
    return NextHop(ip_address(address), interface)


def reach(
    wanted: str,
    learned: Mapping[str, str],
    others: Mapping[str, tuple[int, str]] | None = None,
    default: bool = False,
    links: tuple[str, ...] = LINKS,
    down: tuple[str, ...] = (),
) -> set[str] | None:
    """Neighbours for a next hop; routes as prefix: space-separated next hops, others' with their metric."""
    known = {
        ip_network(prefix): KernelRoute(ip_network(prefix), metric, frozenset(map(hop, hops.split())))
        for prefix, (metric, hops) in (others or {}).items()
    }
    offers = Offers()
    for prefix, hops in learned.items():
        offers.put(ip_network(prefix), frozenset(map(hop, hops.split())))
    dead = frozenset(ip_network(text) if "/" in text else text for text in down)
    held = Held(direct=frozenset(map(ip_network, links)), down=dead, others=known, own=OWN)
    ways = Ways(held, offers, METRIC, default)
    found = ways.neighbours([hop(wanted)]).get(hop(wanted))
    return None if found is None else set(map(str, found))


@pytest.mark.parametrize("text", ["10.0.0.7", "fd00::7", "fe80::7%eth1"])
def test_a_neighbour_on_a_link_is_its_own_way(text: str) -> None:
    assert reach(text, {"0.0.0.0/0": "10.0.0.9", "::/0": "fd00::9"}, default=True) == {text}


@pytest.mark.parametrize("text", ["10.1.0.7", "fd01::7", "fe80::7%eth1"])
def test_a_link_without_carrier_leads_nowhere_and_hides_wider_ways(text: str) -> None:
    wide = {"10.0.0.0/8": "10.0.0.2", "fd00::/8": "fd00::2", "fe00::/7": "fd00::2"}
    assert reach(text, wide, down=("10.1.0.0/24", "fd01::/64", "eth1")) is None
    assert reach(text, {**wide, "10.1.0.7/32": "10.0.0.3"}, down=("10.1.0.0/24", "fd01::/64", "eth1")) == (
        {"10.0.0.3"} if "." in text else None
    )


@pytest.mark.parametrize("text", ["10.0.0.99", "fd00::99", "192.0.2.1"])
def test_an_address_of_this_node_is_no_way(text: str) -> None:
    assert reach(text, {"192.0.2.0/24": "10.0.0.254"}) is None
    assert reach("10.9.0.1", {"10.9.0.0/16": f"{text} 10.0.0.2"}) == {"10.0.0.2"}


def test_over_a_learned_route_and_over_several() -> None:
    learned = {"10.9.0.0/16": "10.0.0.254 10.0.0.253", "10.8.0.0/16": "10.9.0.1"}
    assert reach("10.9.0.1", learned) == {"10.0.0.253", "10.0.0.254"}
    assert reach("10.8.0.1", learned) == {"10.0.0.253", "10.0.0.254"}


def test_over_a_gateway_of_another_program() -> None:
    assert reach("10.9.0.1", {}, {"10.8.0.0/15": (0, "10.0.0.254")}) == {"10.0.0.254"}


def test_the_longest_prefix_decides_and_then_the_metric() -> None:
    learned = {"10.9.0.0/16": "10.0.0.254"}
    assert reach("10.9.0.1", learned, {"10.9.0.0/24": (9999, "10.0.0.1")}) == {"10.0.0.1"}
    assert reach("10.9.0.1", learned, {"10.8.0.0/15": (0, "10.0.0.1")}) == {"10.0.0.254"}
    assert reach("10.9.0.1", learned, {"10.9.0.0/16": (METRIC, "10.0.0.1")}) == {"10.0.0.1"}
    assert reach("10.9.0.1", learned, {"10.9.0.0/16": (METRIC + 1, "10.0.0.1")}) == {"10.0.0.254"}


def test_a_route_that_rejects_is_no_way() -> None:
    assert reach("10.9.0.1", {"10.8.0.0/15": "10.0.0.254"}, {"10.9.0.0/24": (0, "")}) is None


def test_a_default_route_counts_only_where_it_is_accepted() -> None:
    learned, others = {"0.0.0.0/0": "10.0.0.254"}, {"::/0": (0, "fe80::1%eth0")}
    assert reach("10.9.0.1", learned) is None
    assert reach("10.9.0.1", learned, default=True) == {"10.0.0.254"}
    assert reach("fd09::1", {}, others) is None
    assert reach("fd09::1", {}, others, default=True) == {"fe80::1%eth0"}
    assert reach("10.9.0.1", {}, links=("0.0.0.0/0",)) is None
    assert reach("10.9.0.1", {}, links=("0.0.0.0/0",), default=True) == {"10.9.0.1"}


def test_a_loopback_that_announces_itself_is_reached_over_the_route_around_it() -> None:
    learned = {"10.9.0.2/32": "10.9.0.2", "10.9.0.0/16": "10.0.0.254"}
    assert reach("10.9.0.2", learned) == {"10.0.0.254"}
    assert reach("10.9.0.2", {"10.9.0.2/32": "10.9.0.2"}) is None


def test_routes_in_a_circle_lead_nowhere() -> None:
    circle = {"10.8.0.0/16": "10.9.0.1", "10.9.0.0/16": "10.8.0.1"}
    assert reach("10.8.0.1", circle) is None
    assert reach("10.8.0.1", {**circle, "10.9.0.0/16": "10.8.0.1 10.0.0.254"}) == {"10.0.0.254"}


def test_chains_are_bounded() -> None:
    chain = {f"10.{n}.0.0/16": f"10.{n - 1}.0.1" for n in range(2, 40)} | {"10.1.0.0/16": "10.0.0.254"}
    assert reach(f"10.{LONGEST_CHAIN}.0.1", chain) == {"10.0.0.254"}
    assert reach(f"10.{LONGEST_CHAIN + 1}.0.1", chain) is None


def test_there_is_an_end_to_how_many_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BEYOND", 2)
    found = {f"10.{n}.0.0/16": f"10.9{n}.0.1" for n in range(5)} | {"10.80.0.0/12": "10.0.0.2"}
    routes, unresolved = judge(CONFIG, found)
    assert len(routes) == 3
    assert len(unresolved) == 3


def test_ipv4_over_ipv6() -> None:
    assert reach("fd09::1", {"fd09::/64": "fd00::254"}) == {"fd00::254"}


def test_a_link_local_address_without_its_link_leads_nowhere() -> None:
    assert reach("fe80::7", {"fe00::/7": "fd00::1"}, links=("fe80::/64",)) is None


texts = st.sampled_from([f"10.{n}.0.1" for n in range(8)])
prefixes = st.sampled_from([f"10.{n}.0.0/{length}" for n in range(8) for length in (13, 16, 24)])


@given(st.dictionaries(prefixes.map(lambda text: str(ip_network(text, strict=False))), texts, max_size=24))
def test_the_answer_is_made_of_neighbours_and_does_not_depend_on_the_order(learned: dict[str, str]) -> None:
    turned = dict(reversed(learned.items()))
    for n in range(8):
        found = reach(f"10.{n}.0.1", learned)
        assert found == reach(f"10.{n}.0.1", turned)
        assert found is None or found == {"10.0.0.1"}


@given(st.sets(prefixes.map(lambda text: ip_network(text, strict=False))), st.integers(0, 2**20))
def test_nets_around_an_address_come_longest_first(some: set[Prefix], number: int) -> None:
    address = ip_address("10.0.0.0") + number
    nets = Nets([*some, ip_network("fd00::/8")])
    inside = sorted((net for net in some if address in net), key=lambda net: -net.prefixlen)
    assert list(nets.around(address)) == inside
    for net in inside:
        nets.discard(net)
    assert list(nets.around(address)) == []


# ---- what that means for routes


def judge(config: Config, learned: Mapping[str, str]) -> tuple[dict[str, set[str]], dict[str, int]]:
    table: dict[Prefix, Destination] = {}
    for prefix, texts in learned.items():
        paths = tuple(
            LearnedPath(hop(text).address, text, 100, 1, 0, 0, True, hop(text).interface)
            for text in texts.split()
        )
        table[ip_network(prefix)] = Destination(ip_network(prefix), None, False, paths)
    links = frozenset(map(ip_network, LINKS))
    verdict = Learned(config).judge(table, Held(connected=links, direct=links))
    routes = {str(key[0]): set(map(str, route.next_hops)) for key, route in verdict.routes.items()}
    return routes, {str(hop): count for hop, count in verdict.unresolved.items()}


def test_what_can_not_be_reached_is_left_out_and_named() -> None:
    found = {"10.50.0.0/16": "10.98.0.1", "10.51.0.0/16": "10.98.0.1 10.0.0.2", "10.52.0.0/16": "10.0.0.2"}
    routes, unresolved = judge(CONFIG, found)
    assert routes == {"10.51.0.0/16": {"10.0.0.2"}, "10.52.0.0/16": {"10.0.0.2"}}
    assert unresolved == {"10.98.0.1": 2}


def test_what_is_not_accepted_is_no_way_either() -> None:
    found = {"10.98.0.0/16": "10.0.0.2", "192.0.2.0/24": "10.98.0.1"}
    routes, _ = judge(CONFIG, found)
    assert routes["192.0.2.0/24"] == {"10.0.0.2"}
    accept = Accept(prefixes=(exactly(ip_network("192.0.2.0/24")),))
    config = Config(CONFIG.bgp, CONFIG.api, accept=accept)
    assert judge(config, found) == ({}, {"10.98.0.1": 1})


def test_a_neighbour_by_its_link_local_address() -> None:
    routes, unresolved = judge(CONFIG, {"10.50.0.0/16": "fe80::1%eth1 fe80::1%eth2", "fd50::/64": "fe80::1"})
    assert routes == {"10.50.0.0/16": {"fe80::1%eth1", "fe80::1%eth2"}}
    assert unresolved == {"fe80::1": 1}
