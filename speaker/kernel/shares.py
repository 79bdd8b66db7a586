"""Which weights give each member of a next-hop group its share of the buckets, and a draining one none. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Weights = tuple[
    tuple[int, int], ...
]  # ids of next hops with the weights that the kernel is to get, in this order


def resilient_weights(members: Iterable[tuple[int, int]], buckets: int, heaviest: int) -> Weights:
    """The members of a resilient group. A weight of 0 is a draining one: in the group, so that its busy buckets stay.

    The kernel knows no weight 0. It gives each member the difference of two bounds, the rounded shares of what is
    summed up so far (nh_res_group_rebalance in net/ipv4/nexthop.c). So draining members weigh 1, the others enough more
    that those bounds are the same before and after: that takes weights of up to twice the buckets for each draining
    member. Where `heaviest` does not allow that, as before Linux 6.12 with several of them, the last ones keep a bucket
    each. If all drain, they share as if none did.
    """
    active = sorted(member for member in members if member[1])
    draining = sorted(number for number, weight in members if not weight)
    if not active or not draining:
        return tuple(active) or tuple((number, 1) for number in draining)
    active = _heavier(active, 2 * buckets * len(draining), heaviest)
    total = sum(weight for _, weight in active) + len(draining)
    found: list[tuple[int, int]] = []
    before = 0
    for number, weight in active:
        while draining and _bound(before + 1, total, buckets) == _bound(before, total, buckets):
            found.append((draining.pop(0), 1))
            before += 1
        found.append((number, weight))
        before += weight
    return (*found, *((number, 1) for number in draining))


def plain_weights(members: Iterable[tuple[int, int]]) -> Weights:
    """The members of a group that is not resilient: a draining one would keep nothing there, and is left out."""
    active = sorted(member for member in members if member[1])
    return tuple(active) or tuple(sorted((number, 1) for number, _ in members))


def _heavier(active: list[tuple[int, int]], enough: int, heaviest: int) -> list[tuple[int, int]]:
    """The same shares, with weights of more than `enough` in sum, or as many as there can be."""
    factor = enough // sum(weight for _, weight in active) + 1
    most = max(weight for _, weight in active)
    if most * factor <= heaviest:
        return [(number, weight * factor) for number, weight in active]
    return [(number, max(1, weight * heaviest // most)) for number, weight in active]


def _bound(weight: int, total: int, buckets: int) -> int:
    """How many buckets the kernel has given away when members of this weight had theirs."""
    return (buckets * weight + total // 2) // total
