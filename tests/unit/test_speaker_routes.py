"""The kernel kept in step, with a kernel in a dictionary: whatever happens in between, the end is as it should be."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speaker import log
from speaker.bgp import BgpGlobal, Destination, LearnedPath, LocalPath
from speaker.desired import Held, KernelRoute, NextHop, unreachable_routes
from speaker.kernel.learned import Learned
from speaker.kernel.routes import Routes
from speaker.kernel.stale import Told
from speaker.prefixes import everything_in
from speaker.settings import Accept, Announce, Announcement, Api, Config, Kernel

if TYPE_CHECKING:
    from collections.abc import Collection

    from speaker.bgp import Address, Prefix
    from speaker.desired import RouteKey
    from speaker.plan import RoutePlan

LINKS = frozenset({ip_network("10.0.0.0/24")})
CONFIG = Config(
    BgpGlobal(65001, "10.0.0.1"),
    Api("unix:///s"),
    announce=Announce(Announcement("subnets", (ip_network("10.244.1.0/24"),))),
)
NET = ip_network("10.9.0.0/16")
GATEWAY = NextHop(ip_address("10.0.0.254"))


@dataclass
class FakeTable:
    """A kernel in a dictionary. It refuses prefixes at will, and counts what is written."""

    kernel: dict[RouteKey, KernelRoute] = field(default_factory=dict)
    others: dict[Prefix, KernelRoute] = field(default_factory=dict)
    refuse: set[Prefix] = field(default_factory=set)
    down: frozenset[Prefix | str] = frozenset()
    writes: int = 0
    known: Held = field(default_factory=Held)
    watched: Collection[Address] = ()
    vips: int = 0

    def read(self) -> None:
        self.known = Held(dict(self.kernel), LINKS, LINKS, self.down, dict(self.others))

    def apply(self, plan: RoutePlan) -> dict[RouteKey, str]:
        refused = {}
        for route in plan.remove:
            self.kernel.pop(route.key, None)
        for route in (*plan.add, *plan.change):
            if route.prefix in self.refuse:
                refused[route.key] = "no"
            else:
                self.kernel[route.key] = route
        for route in plan.retire:
            self.kernel.pop(route.key, None)
        self.known.ours = dict(self.kernel)
        self.writes += len(plan)
        return refused

    def move(self, kernel: Kernel) -> None:
        """Another place begins empty."""

    def leave(self) -> int:
        return 0


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """What is said, as it is said."""
    caplog.set_level(logging.DEBUG, "anypod.speaker")
    logging.getLogger("anypod.speaker").propagate = True
    return Lines(caplog)


class Lines:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:

        self._caplog = caplog

    def take(self) -> list[str]:
        found = [record.message for record in self._caplog.records]
        self._caplog.clear()
        return found


def learned(prefix: Prefix, *hops: str) -> Destination:
    paths = (LearnedPath(ip_address(hop), hop, 100, 1, 0, 0, True) for hop in hops)
    return Destination(prefix, None, False, tuple(paths))


def started(config: Config = CONFIG, table: FakeTable | None = None) -> tuple[Routes, FakeTable]:
    table = table or FakeTable()
    routes = Routes(config, table)
    routes.adopt(0.0)
    routes.stale.settle(Told.ALL, 1.0)
    return routes, table


def test_a_pass_over_the_same_writes_nothing() -> None:
    routes, table = started()
    told = {NET: learned(NET, "10.0.0.254")}
    routes.sync(told, ())
    before = table.writes
    routes.sync(told, ())
    routes.sync(dict(told), ())
    routes.sync({NET: learned(NET, "10.0.0.254")}, ())
    routes.reread()
    routes.sync(told, ())
    assert table.writes == before == 2


def test_a_route_that_somebody_else_removed_is_told_whether_it_is_wanted_back_or_not(lines: Lines) -> None:
    routes, table = started()
    told = {NET: learned(NET, "10.0.0.254")}
    routes.sync(told, ())
    lines.take()
    del table.kernel[NET, 1190]
    routes.reread()
    routes.sync(told, ())
    gone = 'event="route gone" prefix=10.9.0.0/16 via=10.0.0.254'
    assert lines.take() == [gone, 'event="route added" prefix=10.9.0.0/16 via=10.0.0.254']
    del table.kernel[NET, 1190]
    routes.reread()
    routes.sync({}, ())
    assert lines.take() == [gone]


def test_routes_that_the_speaker_left_itself_are_not_told_as_gone(lines: Lines) -> None:
    routes, table = started()
    routes.sync({NET: learned(NET, "10.0.0.254")}, ())
    table.kernel.clear()  # what another table is read as
    routes.reload(replace(CONFIG, kernel=Kernel(table=100)))
    assert not [line for line in lines.take() if "gone" in line]


def test_a_refused_route_is_not_tried_at_each_pass_and_is_told_once(lines: Lines) -> None:
    routes, table = started(table=FakeTable(refuse={NET}))
    told = {NET: learned(NET, "10.0.0.254")}
    routes.sync(told, ())
    assert [line for line in lines.take() if "refused" in line] == [
        'event="route refused by the kernel" prefix=10.9.0.0/16 via=10.0.0.254 reason=no'
    ]
    before = table.writes
    other = ip_network("10.8.0.0/16")
    told[other] = learned(other, "10.0.0.254")
    routes.sync(told, ())
    assert table.writes == before + 1
    assert list(routes.refused) == [(NET, 1190)]
    routes.reread()
    routes.sync(told, ())
    assert table.writes == before + 2
    assert not [line for line in lines.take() if "refused" in line]
    table.refuse.clear()
    routes.reread()
    routes.sync(told, ())
    assert routes.refused == {}
    assert (NET, 1190) in table.kernel


def test_a_refused_route_that_nobody_tells_any_more_is_forgotten() -> None:
    routes, _ = started(table=FakeTable(refuse={NET}))
    routes.sync({NET: learned(NET, "10.0.0.254")}, ())
    assert not routes.in_step
    routes.sync({}, ())
    assert routes.refused == {}
    assert routes.in_step


def test_an_unreachable_next_hop_is_told_once_for_all_its_routes(lines: Lines) -> None:
    routes, table = started()
    nets = [ip_network(f"10.{n}.0.0/16") for n in range(20, 70)]
    told = {net: learned(net, "10.99.0.1") for net in nets}
    routes.sync(told, ())
    routes.sync(told, ())
    (line,) = [line for line in lines.take() if "unreachable" in line and "via=10.99" in line]
    assert 'event="next hop unreachable" via=10.99.0.1 prefixes=50 reason="on none of' in line
    assert table.watched == {ip_address("10.99.0.1")}
    way = ip_network("10.99.0.0/24")
    table.others[way] = KernelRoute(way, 0, frozenset({GATEWAY}))
    routes.reread()
    routes.sync(told, ())
    assert 'event="next hop no longer unreachable" via=10.99.0.1' in lines.take()
    assert all(table.kernel[net, 1190].next_hops == {GATEWAY} for net in nets)


def test_the_maximum_is_told_when_it_begins_and_ends(lines: Lines) -> None:
    routes, table = started(replace(CONFIG, accept=Accept(maximum=2)))
    told: dict[Prefix, Destination] = {}
    for n in (9, 8, 7, 6):
        told[ip_network(f"10.{n}.0.0/16")] = learned(ip_network(f"10.{n}.0.0/16"), "10.0.0.254")
        routes.sync(told, ())
    assert [line for line in lines.take() if "maximum" in line] == [
        'event="accept.maximum reached" maximum=2 left_out=1'
    ]
    assert {str(prefix) for prefix, metric in table.kernel if metric == 1190} == {
        "10.9.0.0/16",
        "10.8.0.0/16",
    }
    del told[NET], told[ip_network("10.8.0.0/16")]
    routes.sync(told, ())
    assert [line for line in lines.take() if "maximum" in line] == [
        'event="accept.maximum no longer reached" maximum=2'
    ]
    assert {str(prefix) for prefix, metric in table.kernel if metric == 1190} == {
        "10.6.0.0/16",
        "10.7.0.0/16",
    }


def test_while_the_daemon_is_lost_nothing_left_out_is_over(lines: Lines) -> None:
    far = ip_network("10.7.0.0/16")
    told = {net: learned(net, "10.0.0.254") for net in (NET, ip_network("10.8.0.0/16"))}
    told[far] = learned(far, "10.99.0.1")
    routes, _ = started(replace(CONFIG, accept=Accept(maximum=1)))
    routes.sync(told, ())
    assert len([line for line in lines.take() if "next hop" in line or "maximum" in line]) == 2
    routes.lost(1.0)
    for table in ({}, {NET: told[NET]}, told):
        routes.sync(table, ())
    routes.stale.settle(Told.ALL, 60.0)
    routes.sync(told, ())
    assert lines.take() == []
    routes.lost(61.0)
    routes.sync({}, ())
    assert lines.take() == []
    routes.stale.settle(Told.ALL, 120.0)
    routes.sync({}, ())
    over = [line for line in lines.take() if "no longer" in line]
    # What is told again, and then no more, is over also while others are waited for.
    routes.lost(121.0)
    for table in (told, {}):
        routes.sync(table, ())
    assert len([line for line in lines.take() if "no longer" in line]) == 2
    assert [line.partition(" ")[2].split()[-1] for line in over] == ["via=10.99.0.1", "maximum=1"]


def test_many_lines_are_cut_short(lines: Lines) -> None:
    nets = [ip_network(f"10.{n}.0.0/16") for n in range(20, 100)]
    routes, _ = started(table=FakeTable(refuse=set(nets)))
    routes.sync({net: learned(net, "10.0.0.254") for net in nets}, ())
    refused = [line for line in lines.take() if "refused" in line]
    assert len(refused) == log.LISTED + 1
    assert refused[-1].endswith(f"more={80 - log.LISTED}")


def test_stale_routes_stay_until_all_is_told_and_move_with_the_metric() -> None:
    old = KernelRoute(NET, 1190, frozenset({GATEWAY}))
    table = FakeTable(kernel={old.key: old})
    routes = Routes(CONFIG, table)
    routes.adopt(0.0)
    routes.sync({}, ())
    assert table.kernel[old.key] == old
    routes.reload(replace(CONFIG, kernel=Kernel(metric=50)))
    routes.sync({}, ())
    assert (NET, 50) in table.kernel
    assert old.key not in table.kernel
    assert routes.stale.settle(Told.ALL, 1.0)
    routes.sync({}, ())
    assert [route for route in table.kernel.values() if route.next_hops] == []


def test_stale_routes_count_for_the_maximum() -> None:
    config = replace(CONFIG, accept=Accept(maximum=4))
    old = [KernelRoute(ip_network(f"10.{n}.0.0/16"), 1190, frozenset({GATEWAY})) for n in range(1, 4)]
    table = FakeTable(kernel={route.key: route for route in old})
    routes = Routes(config, table)
    routes.adopt(0.0)
    nets = [ip_network(f"10.{n}.0.0/16") for n in (3, 11, 12, 13, 14)]
    told = {net: learned(net, "10.0.0.254") for net in nets}

    def installed() -> list[str]:
        return sorted(str(route.prefix) for route in table.kernel.values() if route.next_hops)

    routes.sync(told, ())
    assert installed() == ["10.1.0.0/16", "10.11.0.0/16", "10.2.0.0/16", "10.3.0.0/16"]
    assert routes.stale.settle(Told.ALL, 1.0)
    routes.sync(told, ())
    assert installed() == ["10.11.0.0/16", "10.12.0.0/16", "10.13.0.0/16", "10.3.0.0/16"]


def test_a_lost_daemons_routes_outlive_a_flush() -> None:
    routes, table = started()
    routes.sync({NET: learned(NET, "10.0.0.254")}, ())
    routes.lost(10.0)
    table.kernel.clear()
    routes.reread()
    routes.sync({}, ())
    assert table.kernel[NET, 1190].next_hops == {GATEWAY}


def test_in_the_end_everything_can_be_cleared_away(lines: Lines) -> None:
    routes, table = started()
    routes.sync({NET: learned(NET, "10.0.0.254")}, ())
    routes.clear()
    assert table.kernel == {}
    assert sum("route removed" in line for line in lines.take()) == 2


def test_another_configuration_takes_out_what_it_does_not_accept() -> None:
    routes, table = started()
    told = {NET: learned(NET, "10.0.0.254")}
    routes.sync(told, ())
    routes.reload(replace(CONFIG, accept=Accept((everything_in(ip_network("192.0.2.0/24")),))))
    routes.sync(told, ())
    assert (NET, 1190) not in table.kernel


# ---- anything in any order


NETS = [
    ip_network(text) for text in ("10.1.0.0/16", "10.1.2.0/24", "10.2.0.0/16", "192.0.2.0/24", "0.0.0.0/0")
]
HOPS = ["10.0.0.2", "10.0.0.3", "10.1.2.9", "10.2.0.9", "172.16.0.1"]
FAR = ip_network("172.16.0.0/12")


class Story:
    """A node to which things happen, one pass after each."""

    def __init__(self) -> None:
        self.config = CONFIG
        self.routes, self.table = started()
        self.told: dict[Prefix, Destination] = {}
        self.announced: set[Prefix] = set()
        self.fallbacks: set[Prefix] = set()
        self.sync()

    def sync(self) -> None:
        self.routes.sync(self.told, frozenset(self.announced), frozenset(self.fallbacks))

    def learn(self, net: Prefix, hops: list[str]) -> None:
        self.told.pop(net, None)
        if hops:
            self.told[net] = learned(net, *hops)

    def read_anew(self) -> None:
        self.told = {key: replace(value) for key, value in self.told.items()}

    def announce(self, net: Prefix) -> None:
        self.announced ^= {net}

    def fall_back(self, net: Prefix) -> None:
        self.fallbacks ^= {net}

    def give(self, net: Prefix, foreign: bool) -> None:
        """Somebody adds a local path to the daemon, or we do."""
        ours = None if foreign else LocalPath(net, ip_address(0))
        self.told[net] = replace(self.told.get(net, learned(net)), ours=ours, foreign=foreign)

    def flush(self, net: Prefix) -> None:
        self.table.kernel = {key: route for key, route in self.table.kernel.items() if key[0] != net}
        self.routes.reread()

    def refuse(self, net: Prefix) -> None:
        self.table.refuse ^= {net}
        self.routes.reread()

    def lead(self, hops: list[str]) -> None:
        way = KernelRoute(FAR, 0, frozenset(NextHop(ip_address(hop)) for hop in hops))
        self.table.others = {FAR: way}
        self.routes.reread()

    def reload(self, maximum: int, metric: int, only: list[Prefix]) -> None:
        accept = Accept(tuple(map(everything_in, only)), maximum=maximum)
        self.config = replace(CONFIG, accept=accept, kernel=Kernel(metric=metric))
        self.routes.reload(self.config)


def step(name: str, *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.tuples(st.just(name), *arguments)


nets = st.sampled_from(NETS)
STEPS = st.one_of(
    step("learn", nets, st.lists(st.sampled_from(HOPS), unique=True, max_size=3)),
    step("read_anew"),
    step("announce", nets),
    step("fall_back", nets),
    step("give", nets, st.booleans()),
    step("flush", nets),
    step("refuse", nets),
    step("lead", st.lists(st.just("10.0.0.9"), max_size=1)),
    step("reload", st.integers(0, 3), st.sampled_from([50, 1190]), st.lists(nets, max_size=1)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_the_end_is_what_a_fresh_start_would_make_of_it(steps: list[tuple[str, *tuple[object, ...]]]) -> None:
    story = Story()
    for name, *arguments in steps:
        getattr(story, name)(*arguments)
        story.sync()
    routes, kernel = story.routes, story.table.kernel
    known = story.table.known
    fresh = Learned(story.config).judge(
        story.told,
        replace(known, ours=dict(routes.wanted)),
        frozenset(story.announced),
        fallbacks=frozenset(story.fallbacks),
    )
    assert routes.wanted == fresh.routes
    assert routes.unresolved == fresh.unresolved
    assert routes.beyond_maximum == fresh.beyond_maximum
    wanted = {**unreachable_routes(story.config), **fresh.routes}
    assert {key: route for key, route in kernel.items() if key not in routes.refused} == {
        key: route for key, route in wanted.items() if key not in routes.refused
    }
    assert kernel.keys() <= wanted.keys()
    assert routes.refused.keys() <= wanted.keys()
