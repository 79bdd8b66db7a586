"""The kernel's side of the comparison: the routes that should be there against those that are."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Protocol, TypeVar

from speaker import log
from speaker.desired import unreachable_routes
from speaker.kernel.learned import Learned, Verdict
from speaker.kernel.stale import StaleRoutes
from speaker.plan import plan_routes
from speaker.prefixes import inside

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from speaker.bgp import Address, Destination, Prefix
    from speaker.desired import Held, KernelRoute, NextHop, RouteKey
    from speaker.plan import RoutePlan
    from speaker.settings import Config, Kernel


Thing = TypeVar("Thing")


class Table(Protocol):
    """The part of speaker.kernel.fib.Fib that is used here."""

    known: Held
    watched: Collection[Address]
    vips: int

    def read(self) -> None:
        """Reads everything anew."""

    def apply(self, plan: RoutePlan) -> dict[RouteKey, str]:
        """Writes; why each refused route was refused."""

    def move(self, kernel: Kernel) -> None:
        """Goes to another table, protocol or metric."""

    def leave(self) -> int:
        """Removes what stands where the routes were before; how many."""


class Routes:
    """Keeps the kernel in step. Times are the caller's clock, in seconds."""

    def __init__(self, config: Config, table: Table) -> None:
        self._config = config
        self._table = table
        table.vips = config.anycast.protocol
        self._learned = Learned(config)
        self._verdict = Verdict()
        self._tried: dict[RouteKey, KernelRoute] = {}  # refused as they are, and the kernel is as it was
        # What was left out, as the log has it; and of this what nobody has told again since the daemon was lost.
        self._said = self._unsure = Verdict()
        self._written: Held | None = None  # what the kernel held when the last verdict was written
        self.stale = StaleRoutes(config.stale_routes)
        # The last `sync` went through, with at least some of what was learned.
        self.in_step = False
        # Routes that the kernel refuses, with its reason and what to do.
        self.refused: dict[RouteKey, str] = {}

    @property
    def unresolved(self) -> Mapping[NextHop, int]:
        """Next hops that can't be reached, and how many prefixes need them."""
        return self._verdict.unresolved

    @property
    def wanted(self) -> Mapping[RouteKey, KernelRoute]:
        """Learned routes that should be in the kernel."""
        return self._verdict.routes

    @property
    def beyond_maximum(self) -> int:
        """How many accepted routes accept.maximum leaves out."""
        return self._verdict.beyond_maximum

    @property
    def held(self) -> Held:
        """What the kernel held when it was last read or written."""
        return self._table.known

    def why_unreachable(self, hop: NextHop) -> str:
        """Why a next hop of `unresolved` can't be reached, in words."""
        return _why(hop, self._table.known)

    def adopt(self, now: float) -> None:
        """Reads what an earlier process left; it stays until the daemon has told everything."""
        self._table.read()
        self.lost(now)
        if self.stale.routes:
            log.info("routes adopted", count=len(self.stale.routes))

    def lost(self, now: float) -> None:
        """The daemon is gone: what it told is kept for a while, and put back if a link's flap takes it away."""
        self._unsure = self._said
        held = {key: route for key, route in self._table.known.ours.items() if route.next_hops}
        self.stale.lost({**held, **self._verdict.routes} if self._config.kernel.install else {}, now)

    def reload(self, config: Config) -> None:
        """Another configuration; the next `sync` writes what that changes."""
        before, self._config = self._config.kernel, config
        self._written = None
        self._learned = Learned(config)
        self.stale.limit = config.stale_routes
        self._table.vips = config.anycast.protocol
        if config.kernel != before:
            self._table.move(config.kernel)
            moved = [replace(route, metric=config.kernel.metric) for route in self.stale.routes.values()]
            self.stale.routes = {route.key: route for route in moved if config.kernel.install}
            self._reread()

    def clear(self) -> None:
        """Takes all routes of ours out of the kernel, for good."""
        self._table.read()
        plan = plan_routes({}, self._table.known.ours)
        self._tell(plan, self._table.apply(plan))

    def reread(self) -> None:
        """Somebody else changed routes or links. What they took of ours is told: it may not be wanted back."""
        before = self._table.known.ours
        self._reread()
        now = self._table.known.ours
        if len(now) < len(before):  # hashing prefixes is what costs
            _each(log.info, "route gone", [route for key, route in before.items() if key not in now], _fields)

    def _reread(self) -> None:
        self.in_step = False
        self._tried = {}
        self._table.read()

    def sync(
        self,
        table: Mapping[Prefix, Destination],
        announced: Collection[Prefix],
        fallbacks: Collection[Prefix] = (),
        changed: Collection[Prefix] | None = None,
    ) -> None:
        """Writes the difference. A refused route does not hinder the others, and is tried again after `reread`.

        `fallbacks` are those of the announced prefixes whose learned routes are installed nevertheless. `changed` are
        the prefixes whose entries may be others than at the last call that was made; None: any may.
        """
        self.in_step = False
        known, written, self._written = self._table.known, self._written, None
        self._verdict = self._learned.judge(table, known, announced, self.stale.routes, fallbacks, changed)
        learned = self._verdict.routes
        self._table.watched = {hop.address for hop in (*self._verdict.off_link, *self._verdict.unresolved)}
        self._tell_left_out()
        self.stale.learned(learned)
        differ = None if written is not known or self.stale.routes else self._verdict.changed
        plan = self._without_tried(self._plan(known, differ))
        refused = self._table.apply(plan) if len(plan) else {}
        self._tell(plan, refused)
        self._remember(plan, refused)
        left = self._table.leave()
        if left:
            log.info("routes of the former table removed", count=left)
        self._written = None if self.stale.routes else known
        self.in_step = not learned or not learned.keys() <= self.refused.keys()

    def _plan(self, known: Held, changed: Collection[RouteKey] | None) -> RoutePlan:
        """All differences; or only those of changed keys, where the others were written before."""
        learned = self._verdict.routes
        if changed is not None:
            return plan_routes(_only(learned, changed), _only(known.ours, changed))
        return plan_routes({**unreachable_routes(self._config), **self.stale.routes, **learned}, known.ours)

    def _without_tried(self, plan: RoutePlan) -> RoutePlan:
        if not self._tried:
            return plan

        def untried(routes: Iterable[KernelRoute]) -> tuple[KernelRoute, ...]:
            return tuple(route for route in routes if self._tried.get(route.key) != route)

        return replace(plan, add=untried(plan.add), change=untried(plan.change))

    def _remember(self, plan: RoutePlan, refused: Mapping[RouteKey, str]) -> None:
        """Refusals of before count as long as nothing was done about them and somebody still wants the route."""
        if not self.refused and not refused:
            return
        done = {route.key for route in (*plan.remove, *plan.add, *plan.change, *plan.retire)}
        unreachable, ours = unreachable_routes(self._config), self._table.known.ours
        wanted = (self._verdict.routes, self.stale.routes, unreachable, ours)
        open_ = [key for key in self.refused if key not in done and any(key in routes for routes in wanted)]
        tried = {route.key: route for route in (*plan.add, *plan.change) if route.key in refused}
        self._tried = {**_only(self._tried, open_), **tried}
        self.refused = {**{key: self.refused[key] for key in open_}, **refused}

    @property
    def complete(self) -> bool:
        """Whether what peers tell is in the kernel: some of it, or all of nothing once they had time to tell it."""
        return self.in_step and bool(self._verdict.routes or not self.stale.waiting)

    # ---- saying so

    def _tell_left_out(self) -> None:
        before, now, maximum = self._said, self._judged_left_out(), self._config.accept.maximum
        self._said = now
        lost = [hop for hop in now.unresolved if hop not in before.unresolved]
        _each(log.warning, "next hop unreachable", lost, self._unreachable)
        found = [hop for hop in before.unresolved if hop not in now.unresolved]
        _each(log.info, "next hop no longer unreachable", found, lambda hop: {"via": hop})
        if now.beyond_maximum and not before.beyond_maximum:
            log.warning("accept.maximum reached", maximum=maximum, left_out=now.beyond_maximum)
        elif before.beyond_maximum and not now.beyond_maximum:
            log.info("accept.maximum no longer reached", maximum=maximum)

    def _judged_left_out(self) -> Verdict:
        """What was so when the daemon was lost is not over before all is told anew, or that itself is."""
        now, unsure = self._verdict, self._unsure if self.stale.waiting else Verdict()
        hops = {hop: count for hop, count in unsure.unresolved.items() if hop not in now.unresolved}
        beyond = 0 if now.beyond_maximum else unsure.beyond_maximum
        self._unsure = Verdict(unresolved=hops, beyond_maximum=beyond)
        return Verdict(unresolved={**hops, **now.unresolved}, beyond_maximum=beyond or now.beyond_maximum)

    def _unreachable(self, hop: NextHop) -> dict[str, object]:
        why = _why(hop, self._table.known)
        return {"via": hop, "prefixes": self._verdict.unresolved[hop], "reason": why}

    def _tell(self, plan: RoutePlan, refused: Mapping[RouteKey, str]) -> None:
        removed = (*plan.remove, *plan.retire)
        for event, routes in (
            ("route added", plan.add),
            ("route changed", plan.change),
            ("route removed", removed),
        ):
            _each(log.info, event, _apart_from(routes, refused), _fields)
        news = [
            route
            for route in (*plan.add, *plan.change, *removed)
            if refused and refused.get(route.key) not in {None, self.refused.get(route.key)}
        ]
        _each(
            log.warning,
            "route refused by the kernel",
            news,
            lambda route: {**_fields(route), "reason": refused[route.key]},
        )


def _each(
    tell: Callable[..., None],
    event: str,
    things: Sequence[Thing],
    fields: Callable[[Thing], dict[str, object]],
) -> None:
    """One line for each, and a count for those beyond the first."""
    for thing in things[: log.LISTED]:
        tell(event, **fields(thing))
    if len(things) > log.LISTED:
        tell(event, more=len(things) - log.LISTED)


def _apart_from(routes: Sequence[KernelRoute], refused: Mapping[RouteKey, str]) -> Sequence[KernelRoute]:
    return [route for route in routes if route.key not in refused] if refused else routes


def _why(hop: NextHop, held: Held) -> str:
    if hop.address in held.own:
        return "an address of this node itself"
    nets = [net for net in held.down if not isinstance(net, str)]
    if hop.interface in held.down or inside(ip_network(hop.address), nets):
        return "the link to it has no carrier"
    if hop.address.is_link_local:
        return "link-local, and it is not known on which link"
    return (
        "on none of this node's networks, and no other route leads there; peer with a neighbour on a"
        " connected network, or have it announce itself as next hop"
    )


def _only(routes: Mapping[RouteKey, KernelRoute], keys: Collection[RouteKey]) -> dict[RouteKey, KernelRoute]:
    return {key: routes[key] for key in keys if key in routes}


def _fields(route: KernelRoute) -> dict[str, object]:
    via = ",".join(sorted(map(str, route.next_hops))) or "unreachable"
    return {"prefix": route.prefix, "via": via}
