"""What decides about kernel routes, with a kernel in a dictionary."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from speaker.bgp import BgpGlobal, Destination, LearnedPath
from speaker.desired import Held, KernelRoute, NextHop
from speaker.kernel.routes import Routes
from speaker.kernel.stale import Told
from speaker.settings import Announce, Announcement, Api, Config, Kernel

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
    """A kernel in a dictionary. It refuses prefixes at will, and counts what is written.

    `breaks`: the next time it takes one route and gives up.
    """

    kernel: dict[RouteKey, KernelRoute] = field(default_factory=dict)
    others: dict[Prefix, KernelRoute] = field(default_factory=dict)
    refuse: set[Prefix] = field(default_factory=set)
    breaks: bool = False
    down: frozenset[Prefix | str] = frozenset()
    writes: int = 0
    known: Held = field(default_factory=Held)
    watched: Collection[Address] = ()
    vips: int = 0

    def read(self) -> None:
        self.known = Held(dict(self.kernel), LINKS, LINKS, self.down, dict(self.others))

    def apply(self, plan: RoutePlan) -> dict[RouteKey, str]:
        if self.breaks:
            self.breaks = False
            self.apply(replace(plan, remove=(), add=plan.add[:1], change=(), retire=()))
            raise OSError("no buffer space")
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


def learned(prefix: Prefix, *hops: str) -> Destination:
    paths = (LearnedPath(ip_address(hop), hop, 100, 1, 0, 0, True) for hop in hops)
    return Destination(prefix, None, False, tuple(paths))


def started(config: Config = CONFIG, table: FakeTable | None = None) -> tuple[Routes, FakeTable]:
    table = table or FakeTable()
    routes = Routes(config, table)
    routes.adopt(0.0)
    routes.stale.settle(Told.ALL, 1.0)
    return routes, table
