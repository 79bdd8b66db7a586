"""What follows for each VIP from its endpoints, their health and what is drained. Pure: no clock, no I/O.

The endpoints of a VIP are judged as one set: that some of them went, and others came, is nothing that anybody is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_network
from typing import TYPE_CHECKING

from speaker.anycast.drain import Phase
from speaker.kernel.vipgroups import Member, VipRoute
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """One VIP: the next-hop group it should have here, what peers are told, and why it is not simply announced.

    `serving` are the endpoints that take new connections, `load` their number or weight as the pool wants it told.
    """

    vip: Address
    pool: Pool | None
    route: VipRoute
    standing: Standing
    reason: str
    serving: tuple[Endpoint, ...]
    endpoints: tuple[Endpoint, ...]
    load: int


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
) -> dict[Address, Verdict]:
    """A verdict for each VIP that any endpoint is there for."""
    by_vip: dict[Address, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_vip.setdefault(endpoint.vip, []).append(endpoint)
    return {vip: _judge(vip, held, health, drains, pool_of(vip), refusals) for vip, held in by_vip.items()}


def _judge(
    vip: Address,
    held: list[Endpoint],
    health: Callable[[Endpoint], Health],
    drains: Drains,
    pool: Pool | None,
    refusals: Refusals,
) -> Verdict:
    healthy = [one for one in held if health(one).serves]
    phases = {one.key: drains.of_endpoint(one) for one in healthy}
    routed = [one for one in healthy if phases[one.key] is not Phase.GONE]
    members = tuple(
        Member(one.nexthop, one.weight if phases[one.key] is Phase.SERVING else 0) for one in routed
    )
    reached = [one for one in routed if one.nexthop not in refusals.next_hops]
    serving = tuple(one for one in reached if phases[one.key] is Phase.SERVING)
    standing, reason = _standing(vip, held, len(serving), bool(reached), pool, drains)
    if standing is not Standing.WITHDRAWN and host(vip) in refusals.vips:
        standing, reason = Standing.WITHDRAWN, refusals.vips[host(vip)]
    return Verdict(
        vip=vip,
        pool=pool,
        route=VipRoute(host(vip), members, pool is not None and pool.unreachable),
        standing=standing,
        reason=reason,
        serving=serving,
        endpoints=tuple(held),
        load=_load(serving, pool),
    )


def _standing(
    vip: Address, held: list[Endpoint], serving: int, reached: bool, pool: Pool | None, drains: Drains
) -> tuple[Standing, str]:
    phase = drains.of_vip(vip)
    least = pool.min_endpoints if pool else 1
    too_few = f"{serving} healthy, min-endpoints is {least}" if 0 < serving < least else ""
    if not reached:
        return Standing.WITHDRAWN, f"none of its endpoints here is healthy, of {len(held)}"
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


def host(vip: Address) -> Prefix:
    """The VIP as a prefix."""
    return ip_network(vip)


def next_hops(endpoints: Iterable[Endpoint]) -> Mapping[int, Address]:
    """The next hops of these endpoints, by their number."""
    return {one.nexthop: one.via for one in endpoints}
