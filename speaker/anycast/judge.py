"""What follows for each VIP from its endpoints, their health and what is drained. Pure: no clock, no I/O.

The endpoints of a VIP are judged as one set: that some of them went, and others came, is nothing that anybody is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from speaker.anycast.drain import Phase
from speaker.kernel.vipgroups import Member, VipRoute
from speaker.prefixes import host
from speaker.settings import LoadShare

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from speaker.anycast.drain import Drains
    from speaker.anycast.endpoints import Endpoint
    from speaker.anycast.health import Health
    from speaker.bgp import Address, Prefix
    from speaker.settings import Pool


class Standing(Enum):
    """What peers are told of a VIP."""

    ANNOUNCED = "announced"
    DEPREFERRED = "depreferred"  # with GRACEFUL_SHUTDOWN: whoever has another way takes that
    WITHDRAWN = "withdrawn"


class State(NamedTuple):
    """An endpoint, and what is known of it; `refused`: the kernel does not take its next hop."""

    endpoint: Endpoint
    healthy: bool
    phase: Phase
    refused: bool


class Ground(NamedTuple):
    """All that a verdict is made from; `refused`: why the kernel does not take the VIP."""

    vip: Address
    pool: Pool | None
    phase: Phase
    refused: str
    states: tuple[State, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One VIP: the next-hop group it should have here, what peers are told, and why it is not simply announced.

    `serving` are the endpoints that take new connections, `load` their number or weight as the pool wants it told.
    `ground` is what it follows from: the same leads to the same.
    """

    vip: Address
    pool: Pool | None
    route: VipRoute
    standing: Standing
    reason: str
    serving: tuple[Endpoint, ...]
    endpoints: tuple[Endpoint, ...]
    load: int
    ground: Ground | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Refusals:
    """What the kernel did not take, and why: next hops by number, and VIPs whose group or route it refuses."""

    next_hops: Mapping[int, str] = field(default_factory=dict)
    vips: Mapping[Prefix, str] = field(default_factory=dict)


def judge(
    endpoints: Iterable[Endpoint],
    health: Callable[[Endpoint], Health],
    drains: Drains,
    pool_of: Callable[[Address], Pool | None],
    refusals: Refusals,
    before: Mapping[Address, Verdict],
) -> dict[Address, Verdict]:
    """A verdict for each VIP that any endpoint is there for; that of `before` where its ground is the same."""
    by_vip: dict[Address, list[State]] = {}
    for one in endpoints:
        state = State(one, health(one).serves, drains.of_endpoint(one), one.nexthop in refusals.next_hops)
        by_vip.setdefault(one.vip, []).append(state)
    found: dict[Address, Verdict] = {}
    for vip, states in by_vip.items():
        refused = refusals.vips.get(host(vip), "") if refusals.vips else ""
        ground = Ground(vip, pool_of(vip), drains.of_vip(vip), refused, tuple(states))
        known = before.get(vip)
        found[vip] = known if known is not None and known.ground == ground else _judge(ground)
    return found


def _judge(ground: Ground) -> Verdict:
    pool = ground.pool
    routed = [one for one in ground.states if one.healthy and one.phase is not Phase.GONE]
    members = tuple(
        Member(one.endpoint.nexthop, one.endpoint.weight if one.phase is Phase.SERVING else 0)
        for one in routed
    )
    reached = [one for one in routed if not one.refused]
    serving = tuple(one.endpoint for one in reached if one.phase is Phase.SERVING)
    standing, reason = _standing(ground, len(serving), bool(reached))
    if standing is not Standing.WITHDRAWN and ground.refused:
        standing, reason = Standing.WITHDRAWN, ground.refused
    return Verdict(
        vip=ground.vip,
        pool=pool,
        route=VipRoute(host(ground.vip), members, pool is not None and pool.unreachable),
        standing=standing,
        reason=reason,
        serving=serving,
        endpoints=tuple(one.endpoint for one in ground.states),
        load=_load(serving, pool),
        ground=ground,
    )


def _standing(ground: Ground, serving: int, reached: bool) -> tuple[Standing, str]:
    phase, pool = ground.phase, ground.pool
    least = pool.min_endpoints if pool else 1
    too_few = f"{serving} healthy, min-endpoints is {least}" if 0 < serving < least else ""
    if not reached:
        return Standing.WITHDRAWN, f"none of its endpoints here is healthy, of {len(ground.states)}"
    if phase is Phase.GONE or (too_few and pool is not None and pool.withdraw_below):
        return Standing.WITHDRAWN, "drained" if phase is Phase.GONE else too_few
    if phase is Phase.LEAVING or not serving:
        return Standing.DEPREFERRED, "draining" if serving else "its last pods are draining"
    return (Standing.DEPREFERRED, too_few) if too_few else (Standing.ANNOUNCED, "")


def _load(serving: Collection[Endpoint], pool: Pool | None) -> int:
    if pool is None or pool.load_share is LoadShare.NONE:
        return 0
    if pool.load_share is LoadShare.ENDPOINTS:
        return len(serving)
    return sum(one.weight for one in serving)


def next_hops(endpoints: Iterable[Endpoint]) -> Mapping[int, Address]:
    """The next hops of these endpoints, by their number."""
    return {one.nexthop: one.via for one in endpoints}
