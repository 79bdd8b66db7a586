"""Anything in any order: in the end the kernel holds what a fresh start would make of it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from speaker.bgp import LocalPath
from speaker.desired import KernelRoute, NextHop, unreachable_routes
from speaker.kernel.learned import Learned
from speaker.kernel.stale import Told
from speaker.prefixes import everything_in
from speaker.settings import Accept, Kernel
from speaker.table import Table
from tests.unit.routes_rig import CONFIG, learned, started

if TYPE_CHECKING:
    from speaker.bgp import Prefix

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
        self.told = Table()
        self.looked = -1
        self.announced: set[Prefix] = set()
        self.fallbacks: set[Prefix] = set()
        self.failed = False
        self.sync()

    def sync(self) -> None:
        changed = self.told.since(self.looked)
        self.looked = self.told.changes
        again, self.failed = self.failed, False
        if again:
            self.routes.reread()
        try:
            self.routes.sync(self.told, frozenset(self.announced), frozenset(self.fallbacks), changed)
        except OSError:
            self.failed = True

    def learn(self, net: Prefix, hops: list[str]) -> None:
        if hops:
            self.told.put(learned(net, *hops))
        else:
            self.told.drop(net)

    def read_anew(self) -> None:
        self.told.replace([replace(entry) for entry in self.told.values()])

    def forget(self) -> None:
        """gobgpd is lost, and tells the same again."""
        entries = [*self.told.values()]
        self.told.clear()
        self.told.replace(entries)

    def lose(self) -> None:
        """gobgpd is lost, and nothing is told yet."""
        self.routes.lost(0.0)
        self.told.clear()

    def settle(self) -> None:
        """All is told."""
        self.routes.stale.settle(Told.ALL, 1.0)

    def end(self, hops: list[str]) -> None:
        self.routes.stale.ended(hops)

    def fail(self) -> None:
        self.table.breaks = True

    def announce(self, net: Prefix) -> None:
        self.announced ^= {net}

    def fall_back(self, net: Prefix) -> None:
        self.fallbacks ^= {net}

    def give(self, net: Prefix, foreign: bool) -> None:
        """Somebody adds a local path to the daemon, or we do."""
        ours = None if foreign else LocalPath(net, ip_address(0))
        self.told.put(replace(self.told.get(net) or learned(net), ours=ours, foreign=foreign))

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
    step("forget"),
    step("lose"),
    step("settle"),
    step("end", st.lists(st.sampled_from(HOPS), max_size=2)),
    step("fail"),
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
    story.table.breaks = False
    story.settle()
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
