"""The kernel's side of the comparison: the routes that should be there against those that are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from speaker import log
from speaker.desired import learned_routes, unreachable_routes
from speaker.plan import plan_routes
from speaker.stale import StaleRoutes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from speaker.config import Config
    from speaker.desired import KernelRoute, RouteKey
    from speaker.fib import Held
    from speaker.gobgp.session import Destination, Prefix
    from speaker.plan import RoutePlan


class Table(Protocol):
    """The part of speaker.fib.Fib that is used here."""

    known: Held

    def read(self) -> None:
        """Reads everything anew."""

    def apply(self, plan: RoutePlan) -> dict[RouteKey, str]:
        """Writes; why each refused route was refused."""


class Routes:
    """Keeps the kernel in step. Times are the caller's clock, in seconds."""

    def __init__(self, config: Config, table: Table) -> None:
        self._config = config
        self._table = table
        self._refused: dict[RouteKey, str] = {}
        self._learned: dict[RouteKey, KernelRoute] = {}
        self.stale = StaleRoutes(config.stale_routes)
        # The last `sync` went through, with at least some of what was learned.
        self.in_step = False

    def adopt(self, now: float) -> None:
        """Reads what an earlier process left; it stays until the daemon has told everything."""
        self._table.read()
        self.lost(now)
        if self.stale.routes:
            log.info("routes adopted", count=len(self.stale.routes))

    def lost(self, now: float) -> None:
        """The daemon is gone: what it told is kept for a while, and put back if a link's flap takes it away."""
        held = {key: route for key, route in self._table.known.ours.items() if route.next_hops}
        self.stale.lost({**held, **self._learned} if self._config.kernel.install else {}, now)

    def reread(self) -> None:
        """Somebody else changed routes or links."""
        self.in_step = False
        self._table.read()

    def sync(self, table: Mapping[Prefix, Destination], announced: Collection[Prefix]) -> None:
        """Writes the difference. A refused route does not hinder the others and is tried again."""
        self.in_step = False
        known = self._table.known
        learned = learned_routes(self._config, table, announced, known.connected)
        self._learned = learned
        self.stale.learned(learned)
        wanted = {**unreachable_routes(self._config), **self.stale.routes, **learned}
        plan = plan_routes(wanted, known.ours)
        refused = self._table.apply(plan) if len(plan) else {}
        self._tell(plan, refused)
        self._refused = refused
        self.in_step = not learned or not learned.keys() <= refused.keys()

    @property
    def complete(self) -> bool:
        """Whether what peers tell is in the kernel: some of it, or all of nothing once they had time to tell it."""
        return self.in_step and bool(self._learned or not self.stale.waiting)

    def _tell(self, plan: RoutePlan, refused: Mapping[RouteKey, str]) -> None:
        named = (("route added", plan.add), ("route changed", plan.change), ("route removed", plan.remove))
        for event, routes in named:
            log.info_each(event, [_fields(route) for route in routes if route.key not in refused])
            for route in routes:
                reason = refused.get(route.key)
                if reason is not None and self._refused.get(route.key) != reason:
                    log.warning("route refused by the kernel", **_fields(route), reason=reason)


def _fields(route: KernelRoute) -> dict[str, object]:
    via = ",".join(str(hop) for hop in sorted(route.next_hops, key=int)) or "unreachable"
    return {"prefix": route.prefix, "via": via}
