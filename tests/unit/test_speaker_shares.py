"""Weights of next-hop groups, judged by what the kernel makes of them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni.nexthop import HEAVIEST, HEAVIEST_BEFORE_6_12
from speaker.kernel.shares import Weights, plain_weights, resilient_weights

Members = list[tuple[int, int]]


def wanted_buckets(weights: Weights, buckets: int) -> dict[int, int]:
    """nh_res_group_rebalance of net/ipv4/nexthop.c, with its DIV_ROUND_CLOSEST."""
    total = sum(weight for _, weight in weights)
    found = {}
    summed = previous = 0
    for number, weight in weights:
        summed += weight
        bound = (buckets * summed + total // 2) // total
        found[number] = bound - previous
        previous = bound
    return found


def check(members: Members, buckets: int, heaviest: int) -> dict[int, int]:
    """What holds for every group; the wanted buckets of each member."""
    weights = resilient_weights(members, buckets, heaviest)
    assert sorted(number for number, _ in weights) == sorted(number for number, _ in members)
    assert all(1 <= weight <= heaviest for _, weight in weights)
    found = wanted_buckets(weights, buckets)
    assert sum(found.values()) == buckets
    return found


def shares_are_kept(members: Members, found: dict[int, int], buckets: int, tolerance: float) -> None:
    total = sum(weight for _, weight in members)
    for number, weight in members:
        assert abs(found[number] - buckets * weight / total) <= tolerance, (members, found)


@pytest.mark.parametrize("buckets", [1, 2, 16, 100, 128, 255, 256, 1024, 4096])
@pytest.mark.parametrize("active", [1, 2, 3, 5, 8, 16])
@pytest.mark.parametrize("draining", [1, 2, 3, 5, 7])
def test_a_draining_member_gets_no_bucket(buckets: int, active: int, draining: int) -> None:
    numbers = list(range(active + draining))
    for first, weight in itertools.product((0, active // 2, active), (1, 7, 100)):
        drain = set(numbers[first : first + draining])
        members = [(number, 0 if number in drain else weight) for number in numbers]
        found = check(members, buckets, HEAVIEST)
        assert {found[number] for number in drain} == {0}
        # Rounding costs each bound up to a half; another half is what the draining ones weigh together.
        shares_are_kept(members, found, buckets, 1.5)


@given(
    st.lists(
        st.tuples(st.integers(1, 1 << 31), st.integers(1, 100)),
        min_size=1,
        max_size=12,
        unique_by=lambda m: m[0],
    ),
    st.lists(st.integers(1 << 31, 0xFFFFFFFF), max_size=8, unique=True),
    st.integers(1, 4000),
)
def test_any_weights_with_any_draining(active: Members, draining: list[int], buckets: int) -> None:
    members = [
        *((number, 0) for number in draining),
        *((number, weight) for number, weight in active if number < 1 << 31),
    ]
    if not any(weight for _, weight in members):
        return
    found = check(members, buckets, HEAVIEST)
    assert all(found[number] == 0 for number in draining)
    shares_are_kept(members, found, buckets, 1.5)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=12), st.sampled_from([16, 64, 128, 256]))
def test_one_byte_is_enough_for_one_draining_member(weights: list[int], buckets: int) -> None:
    """Before Linux 6.12, where 256 buckets are not more than one byte can tell apart."""
    members = [(0, 0), *((number + 1, max(1, weight)) for number, weight in enumerate(weights))]
    found = check(members, min(buckets, 128), HEAVIEST_BEFORE_6_12)
    assert found[0] == 0


@given(st.lists(st.integers(0, 100), min_size=1, max_size=12), st.integers(1, 12), st.integers(1, 1024))
def test_with_one_byte_a_draining_member_keeps_a_bucket_at_most(
    weights: list[int], draining: int, buckets: int
) -> None:
    active = [(100 + number, max(1, weight)) for number, weight in enumerate(weights)]
    members = [*active, *((number, 0) for number in range(draining))]
    found = check(members, buckets, HEAVIEST_BEFORE_6_12)
    heaviest = max(weight for _, weight in active)
    # What a weight of 1 is worth among weights of which the heaviest is as heavy as can be.
    worth = buckets / (sum(weight * (HEAVIEST_BEFORE_6_12 // heaviest) for _, weight in active) + draining)
    assert all(found[number] <= worth + 1 for number in range(draining))


def test_two_pods_drain_and_two_stay_on_an_old_kernel() -> None:
    found = check([(1, 1), (2, 0), (3, 1), (4, 0)], 128, HEAVIEST_BEFORE_6_12)
    assert found == {1: 64, 2: 0, 3: 64, 4: 0}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_where_all_drain_they_share(count: int) -> None:
    members = [(number, 0) for number in range(count)]
    found = check(members, 128, HEAVIEST)
    assert max(found.values()) - min(found.values()) <= 1
    assert plain_weights(members) == tuple((number, 1) for number in range(count))


def test_weights_without_a_draining_member_are_what_was_asked_for() -> None:
    assert resilient_weights([(3, 5), (1, 100), (2, 1)], 128, HEAVIEST) == ((1, 100), (2, 1), (3, 5))
    assert plain_weights([(3, 5), (1, 100)]) == ((1, 100), (3, 5))


def test_a_draining_member_is_not_in_a_plain_group() -> None:
    assert plain_weights([(1, 0), (2, 3), (3, 0)]) == ((2, 3),)


def test_the_order_in_which_members_come_says_nothing() -> None:
    members = [(number, number % 3) for number in range(9)]
    found = {
        resilient_weights(order, 128, HEAVIEST)
        for order in (members, members[::-1], members[4:] + members[:4])
    }
    assert len(found) == 1
