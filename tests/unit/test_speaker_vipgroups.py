"""What is written for virtual IPs, and in which order: a VIP that has members is never without a route."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from cni.nexthop import FIRST_GROUP, HEAVIEST
from speaker.kernel.vipgroups import (
    ELSEWHERE,
    LAST_GROUP,
    UNREACHABLE,
    Group,
    Member,
    Rules,
    VipRoute,
    VipsHeld,
    fresh_numbers,
    plan_vips,
)
from speaker.settings import Anycast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.kernel.vipgroups import VipPlan

ANYCAST = Anycast()
RULES = Rules(ANYCAST, HEAVIEST)
USABLE = range(1, 20)
V4 = ip_network("198.51.100.1/32")
V6 = ip_network("2001:db8::1/128")
KEY = V4, ANYCAST.metric
BEHIND = V4, ANYCAST.metric + 1


def vip(*members: tuple[int, int], unreachable: bool = False) -> VipRoute:
    return VipRoute(V4, tuple(Member(*member) for member in members), unreachable)


def plan(held: VipsHeld, *wanted: VipRoute, rules: Rules = RULES, usable: Iterable[int] = USABLE) -> VipPlan:
    taken = (held.groups, held.taken)
    return plan_vips(
        wanted, held, set(usable), rules, fresh_numbers(FIRST_GROUP, max(held.groups, default=0), taken)
    )


def carried_out(held: VipsHeld, done: VipPlan) -> VipsHeld:
    """As the kernel would, step by step; the order of a plan is what it promises."""
    groups, routes = {**held.groups, **done.groups}, {**held.routes, **done.routes}
    assert all(group in groups for group in routes.values() if group > 0)
    for key in done.drop_routes:
        del routes[key]
    for number in done.drop_groups:
        assert number not in routes.values(), "the kernel would remove the route, too"
        del groups[number]
    return replace(held, groups=groups, routes=routes)


def test_a_new_vip_gets_a_group_and_a_route() -> None:
    found = plan(VipsHeld(), vip((1, 1), (2, 3)))
    group = Group(((1, 1), (2, 3)), ANYCAST.buckets, ANYCAST.idle_timer, ANYCAST.unbalanced_timer)
    assert found.groups == {FIRST_GROUP: group}
    assert found.routes == {KEY: FIRST_GROUP}
    assert (found.drop_routes, found.drop_groups) == ((), ())


def test_what_is_as_wanted_is_not_written() -> None:
    wanted = [vip((1, 1), (2, 0), unreachable=True), replace(vip((3, 1)), prefix=V6)]
    held = carried_out(VipsHeld(), plan(VipsHeld(), *wanted))
    again = plan(held, *wanted)
    assert (again.groups, again.routes, again.drop_routes, again.drop_groups) == ({}, {}, (), ())


def test_other_members_change_the_group_and_not_the_route() -> None:
    held = carried_out(VipsHeld(), plan(VipsHeld(), vip((1, 1))))
    found = plan(held, vip((1, 1), (2, 1)))
    assert [group.members for group in found.groups.values()] == [((1, 1), (2, 1))]
    assert list(found.groups) == list(held.groups)
    assert (found.routes, found.drop_routes, found.drop_groups) == ({}, (), ())


def test_the_last_member_takes_the_route_along_and_unreachable_stays_behind() -> None:
    held = carried_out(VipsHeld(), plan(VipsHeld(), vip((1, 1), unreachable=True)))
    assert held.routes == {KEY: FIRST_GROUP, BEHIND: UNREACHABLE}
    found = plan(held, vip(unreachable=True))
    assert (found.groups, found.routes) == ({}, {})
    assert (found.drop_routes, found.drop_groups) == ((KEY,), (FIRST_GROUP,))
    assert plan(held).drop_routes == (KEY, BEHIND)


def test_a_member_that_cannot_be_used_is_left_out() -> None:
    found = plan(VipsHeld(), vip((1, 1), (99, 1)))
    assert [group.members for group in found.groups.values()] == [((1, 1),)]
    assert plan(VipsHeld(), vip((99, 1))).routes == {}


def test_another_number_of_buckets_is_another_group_to_which_the_route_moves() -> None:
    held = carried_out(VipsHeld(), plan(VipsHeld(), vip((1, 1), (2, 1))))
    found = plan(held, vip((1, 1), (2, 1)), rules=replace(RULES, anycast=replace(ANYCAST, buckets=256)))
    assert found.routes == {KEY: FIRST_GROUP + 1}
    assert found.drop_groups == (FIRST_GROUP,)
    assert found.drop_routes == ()


def test_other_timers_are_told_to_the_same_group() -> None:
    held = carried_out(VipsHeld(), plan(VipsHeld(), vip((1, 1))))
    found = plan(held, vip((1, 1)), rules=replace(RULES, anycast=replace(ANYCAST, idle_timer=7)))
    assert list(found.groups) == [FIRST_GROUP]
    assert (found.routes, found.drop_groups) == ({}, ())


@pytest.mark.parametrize(
    ("idle_timer", "drain", "members", "wanted"),
    [
        (120, 30, ((1, 1), (2, 1)), 120),
        (120, 30, ((1, 0), (2, 1)), 5),
        (120, 30, ((1, 0), (2, 0)), 120),  # nobody is there to take them
        (3, 30, ((1, 0), (2, 1)), 3),
        (120, 2, ((1, 0), (2, 1)), 1),
    ],
)
def test_buckets_of_a_draining_member_are_given_up_within_its_drain(
    idle_timer: int, drain: int, members: tuple[tuple[int, int], ...], wanted: int
) -> None:
    rules = replace(RULES, anycast=replace(ANYCAST, idle_timer=idle_timer, drain=drain))
    (group,) = plan(VipsHeld(), vip(*members), rules=rules).groups.values()
    assert group.idle_timer == wanted


def test_a_plain_group_has_no_buckets_and_no_draining_member() -> None:
    found = plan(VipsHeld(), vip((1, 2), (2, 0)), rules=replace(RULES, plain=True))
    assert list(found.groups.values()) == [Group(((1, 2),))]


def test_another_metric_is_another_route_and_the_former_one_goes_afterwards() -> None:
    held = carried_out(VipsHeld(), plan(VipsHeld(), vip((1, 1))))
    found = plan(held, vip((1, 1)), rules=replace(RULES, anycast=replace(ANYCAST, metric=50)))
    assert list(found.routes) == [(V4, 50)]
    assert found.drop_routes == (KEY,)


@pytest.mark.parametrize("metric", [50, ANYCAST.metric + 1])
def test_another_metric_keeps_the_group_and_with_it_the_connections(metric: int) -> None:
    held = carried_out(VipsHeld(), plan(VipsHeld(), vip((1, 1), unreachable=True)))
    rules = replace(RULES, anycast=replace(ANYCAST, metric=metric))
    found = plan(held, vip((1, 1), unreachable=True), rules=rules)
    assert (found.groups, found.drop_groups) == ({}, ())
    assert found.routes[V4, metric] == held.routes[KEY]


def test_groups_that_no_route_leads_to_are_removed() -> None:
    held = VipsHeld(groups={FIRST_GROUP + 5: Group(((1, 1),), 128, 120)})
    assert plan(held).drop_groups == (FIRST_GROUP + 5,)


@pytest.mark.parametrize("group", [ELSEWHERE, UNREACHABLE, FIRST_GROUP + 9])
def test_a_route_that_leads_elsewhere_is_put_right(group: int) -> None:
    found = plan(VipsHeld(routes={KEY: group}), vip((1, 1)))
    assert found.routes == {KEY: next(iter(found.groups))}


def test_two_vips_never_share_a_group() -> None:
    group = Group(((1, 1),), 128, 120)
    other = replace(vip((1, 1)), prefix=V6)
    held = VipsHeld(groups={FIRST_GROUP: group}, routes={KEY: FIRST_GROUP, (V6, ANYCAST.metric): FIRST_GROUP})
    found = carried_out(held, plan(held, vip((1, 1)), other))
    assert len(set(found.routes.values())) == 2


def test_a_part_is_what_some_vips_have() -> None:
    held = carried_out(
        VipsHeld(), plan(VipsHeld(), vip((1, 1), unreachable=True), replace(vip((2, 1)), prefix=V6))
    )
    part = held.part([V6, ip_network("192.0.2.1/32")], ANYCAST.metric)
    assert list(part.routes) == [(V6, ANYCAST.metric)]
    assert list(part.groups) == [FIRST_GROUP + 1]


def test_numbers_of_groups_are_not_used_again_at_once() -> None:
    assert list(islice(fresh_numbers(10, 12, ({13, 15}, {16})), 3)) == [14, 17, 18]
    last = fresh_numbers(LAST_GROUP - 1, LAST_GROUP, ({LAST_GROUP},))
    assert list(last) == [LAST_GROUP - 1]


def test_any_change_leaves_every_vip_with_members_a_route_at_any_moment() -> None:
    """`carried_out` fails where a route would lead nowhere, even between two steps."""
    dice = random.Random(5)  # noqa: S311 - a test that can be repeated
    prefixes = [ip_network(ip_address("198.51.100.0") + number) for number in range(6)]
    held, rules = VipsHeld(), RULES
    for _ in range(500):
        if dice.random() < 0.1:
            anycast = Anycast(buckets=dice.choice([64, 128]), metric=dice.choice([50, 190]))
            rules = Rules(anycast, HEAVIEST, plain=dice.random() < 0.3)
        wanted = [
            VipRoute(
                prefix,
                tuple(Member(hop, dice.randrange(4)) for hop in dice.sample(USABLE, dice.randrange(4))),
                dice.random() < 0.5,
            )
            for prefix in dice.sample(prefixes, dice.randrange(7))
        ]
        usable = set(dice.sample(USABLE, 15))
        held = carried_out(held, plan(held, *wanted, rules=rules, usable=usable))
        for route in wanted:
            group = rules.group(route, usable)
            number = held.routes.get((route.prefix, rules.anycast.metric))
            assert (held.groups.get(number) if number else None) == group
            assert ((route.prefix, rules.anycast.metric + 1) in held.routes) is route.unreachable
        assert set(held.groups) == {number for number in held.routes.values() if number > 0}
