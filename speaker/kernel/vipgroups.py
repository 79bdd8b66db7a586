"""Which next-hop groups and routes virtual IPs call for, against those that the kernel holds. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from speaker.kernel.shares import Weights, plain_weights, resilient_weights

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from speaker.bgp import Prefix
    from speaker.desired import RouteKey
    from speaker.settings import Anycast

LAST_GROUP = 0x5FFFFFFF
# So often in the first phase of a drain a bucket may become idle.
IDLE_IN_DRAIN = 6


@dataclass(frozen=True, slots=True)
class Member:
    """A next hop in a VIP's group, by its object's number. Weight 0: it drains, keeps what is busy and gets no more."""

    nexthop: int
    weight: int


@dataclass(frozen=True, slots=True)
class VipRoute:
    """How a VIP (a host prefix) is routed on this node; without members by no route of its own.

    `unreachable`: a route behind the group's refuses packets where there is none.
    """

    prefix: Prefix
    members: tuple[Member, ...] = ()
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class Hop:
    """A next-hop object: the gateway, packed, and the index of the link that it is on."""

    gateway: bytes
    link: int


@dataclass(frozen=True, slots=True)
class Group:
    """A group as the kernel has it; one without buckets is not resilient. Timers in seconds."""

    members: Weights
    buckets: int = 0
    idle_timer: int = 0
    unbalanced_timer: int = 0


# Instead of a group's number: a route that rejects, and one that is not as we write it.
UNREACHABLE = 0
ELSEWHERE = -1


@dataclass(slots=True)
class VipsHeld:
    """What the kernel holds of ours: next-hop objects and groups by number, routes with the group that they lead to.

    `former` and `former_numbers` were ours under another protocol number, `taken` are numbers of other programs.
    """

    hops: dict[int, Hop] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)
    routes: dict[RouteKey, int] = field(default_factory=dict)
    former: set[RouteKey] = field(default_factory=set)
    former_numbers: set[int] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)

    def part(self, prefixes: Iterable[Prefix], metric: int) -> VipsHeld:
        """Routes of these prefixes, and the groups that they lead to."""
        keys = [(prefix, metric + behind) for prefix in prefixes for behind in (0, 1)]
        routes = {key: self.routes[key] for key in keys if key in self.routes}
        groups = {number: self.groups[number] for number in routes.values() if number in self.groups}
        return VipsHeld(groups=groups, routes=routes)


@dataclass(frozen=True, slots=True)
class Rules:
    """How groups are made on this kernel: their shape, and the heaviest weight that it takes."""

    anycast: Anycast
    heaviest: int
    plain: bool = False

    def group(self, route: VipRoute, usable: Collection[int]) -> Group | None:
        """The group of a VIP, of those members that can be used; None without any."""
        members = [(member.nexthop, member.weight) for member in route.members if member.nexthop in usable]
        if not members:
            return None
        if self.plain:
            return Group(plain_weights(members))
        wanted = self.anycast
        weights = resilient_weights(members, wanted.buckets, self.heaviest)
        return Group(weights, wanted.buckets, self._idle_timer(members), wanted.unbalanced_timer)

    def _idle_timer(self, members: Sequence[tuple[int, int]]) -> int:
        """While one drains beside others, its buckets have to be given up within the time that the drain takes."""
        wanted = self.anycast
        drains = len({bool(weight) for _, weight in members}) == 2
        return min(wanted.idle_timer, max(1, wanted.drain // IDLE_IN_DRAIN)) if drains else wanted.idle_timer


@dataclass(frozen=True, slots=True)
class VipPlan:
    """Writes to the kernel, in this order: a VIP has a route until it has another, or is to have none."""

    groups: Mapping[int, Group]
    routes: Mapping[RouteKey, int]
    drop_routes: tuple[RouteKey, ...] = ()
    drop_groups: tuple[int, ...] = ()


def plan_vips(
    wanted: Iterable[VipRoute],
    held: VipsHeld,
    usable: Collection[int],
    rules: Rules,
    fresh: Iterator[int],
) -> VipPlan:
    """What makes the routes and groups of `held` those of these VIPs. `fresh` has numbers for new groups."""
    groups: dict[int, Group] = {}
    routes: dict[RouteKey, int] = {}
    # With another metric the group stays: a new one would share out established connections anew.
    standing = {prefix: number for (prefix, _), number in held.routes.items() if number in held.groups}
    for route in wanted:
        group = rules.group(route, usable)
        key = route.prefix, rules.anycast.metric
        if group is not None:
            number = held.routes.get(key, UNREACHABLE)
            if number not in held.groups:
                number = standing.get(route.prefix, UNREACHABLE)
            before = held.groups.get(number)
            # The number of buckets is for ever, and so is whether there are any.
            if before is None or before.buckets != group.buckets or number in groups:
                number = next(fresh)
            groups[number] = group
            routes[key] = number
        if route.unreachable:
            routes[route.prefix, rules.anycast.metric + 1] = UNREACHABLE
    return VipPlan(
        groups={number: group for number, group in groups.items() if held.groups.get(number) != group},
        routes={key: number for key, number in routes.items() if held.routes.get(key) != number},
        drop_routes=tuple(key for key in held.routes if key not in routes),
        drop_groups=tuple(number for number in held.groups if number not in groups),
    )


def fresh_numbers(first: int, after: int, taken: Iterable[Collection[int]]) -> Iterator[int]:
    """Numbers that no group has, each once, those behind `after` first: one that went is not back at once."""
    sets = tuple(taken)
    for numbers in (range(max(first, after + 1), LAST_GROUP + 1), range(first, after + 1)):
        for number in numbers:
            if not any(number in other for other in sets):
                yield number
