"""When the kernel's routes are compared: after each change, and not when there was none."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, cast

from speaker.bgp import Destination
from speaker.desired import KernelRoute, NextHop
from speaker.kernel.stale import StaleRoutes, Told
from speaker.table import Table
from speaker.upkeep import Upkeep

if TYPE_CHECKING:
    from speaker.kernel.fib import Fib
    from speaker.kernel.routes import Routes

ENTRY = Destination(ip_network("10.1.0.0/24"), None, False, ())


class Compared:
    """Counts what is asked of it."""

    def __init__(self) -> None:
        self.stale = StaleRoutes(0.0)
        self.synced = 0
        self.read = 0

    def sync(self, *_: object) -> None:
        self.synced += 1

    def reread(self) -> None:
        self.read += 1


def test_it_compares_after_a_change_and_only_then() -> None:
    async def run() -> None:
        routes = Compared()
        upkeep = Upkeep(cast("Fib", None), cast("Routes", routes))
        table = Table()
        for entry, synced in ((None, 1), (None, 1), (ENTRY, 2), (ENTRY, 2)):
            if entry is not None:
                table.put(entry)
            upkeep.compare(Told.ALL, table, frozenset())
            assert routes.synced == synced
        upkeep.due = asyncio.get_running_loop().time()
        upkeep.compare(Told.ALL, table, frozenset())
        assert (routes.synced, routes.read) == (3, 1)
        upkeep.compare(Told.ALL, table, frozenset())
        assert (routes.synced, routes.read) == (3, 1)

    asyncio.run(run())


def test_waiting_for_peers_comes_to_an_end_though_nothing_changes() -> None:
    async def run() -> None:
        routes = Compared()
        upkeep = Upkeep(cast("Fib", None), cast("Routes", routes))
        upkeep.compare(Told.PART, Table(), frozenset())
        routes.stale.lost({}, asyncio.get_running_loop().time() - 1)
        upkeep.compare(Told.PART, Table(), frozenset())
        assert not routes.stale.waiting
        assert routes.stale.next_check(Told.PART) is None
        assert routes.synced == 2

    asyncio.run(run())


def test_the_last_stale_route_that_goes_is_written_though_nothing_else_changes() -> None:
    async def run() -> None:
        routes = Compared()
        upkeep = Upkeep(cast("Fib", None), cast("Routes", routes))
        now = asyncio.get_running_loop().time()
        route = KernelRoute(ip_network("10.1.0.0/24"), 1190, frozenset({NextHop(ip_address("10.0.0.2"))}))
        routes.stale = StaleRoutes(90.0)
        routes.stale.lost({route.key: route}, now)
        upkeep.compare(Told.PART, Table(), frozenset())
        routes.stale.ended({"10.0.0.2"})
        upkeep.compare(Told.PART, Table(), frozenset())
        assert routes.synced == 2
        upkeep.compare(Told.PART, Table(), frozenset())
        assert routes.synced == 2

    asyncio.run(run())
