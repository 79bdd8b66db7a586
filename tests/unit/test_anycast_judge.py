"""What follows for a VIP from its endpoints, their health and what is drained."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from speaker.anycast.drain import Drain, Drains, Scope
from speaker.anycast.endpoints import Endpoint
from speaker.anycast.health import Health
from speaker.anycast.judge import Refusals, Standing, Verdict, judge
from speaker.prefixes import host
from speaker.settings import Announcement, LoadShare, Pool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from speaker.bgp import Prefix

VIP = ip_address("198.51.100.10")
POOL = Pool(Announcement("edge", (ip_network("198.51.100.0/24"),)))
NOW, SECONDS = 1000.0, 30.0
LEAVING, GONE = NOW - 1, NOW - SECONDS


def endpoint(number: int, weight: int = 1) -> Endpoint:
    via = ip_address(f"10.1.0.{number}")
    return Endpoint(VIP, (f"c{number}", "eth0", str(via)), via, number, weight, f"dns/{number}", None)


def verdict(
    health: Sequence[Health],
    pool: Pool | None = None,
    drains: Sequence[Drain] = (),
    unusable: Sequence[int] = (),
    weights: Sequence[int] = (),
    refused: Mapping[Prefix, str] | None = None,
    before: Verdict | None = None,
) -> Verdict:
    """Of endpoints numbered from 1 in these states."""
    held = [endpoint(number, weights[number - 1] if weights else 1) for number in range(1, len(health) + 1)]
    states = {one.key: state for one, state in zip(held, health, strict=True)}
    found = judge(
        held,
        lambda one: states[one.key],
        Drains(drains, NOW, SECONDS),
        lambda _: pool,
        Refusals(dict.fromkeys(unusable, "no link"), refused or {}),
        {} if before is None else {VIP: before},
    )
    return found[VIP]


def pod(number: int, since: float) -> Drain:
    return Drain(Scope.POD, f"c{number}", "", since)


def members(found: Verdict) -> dict[int, int]:
    return {one.nexthop: one.weight for one in found.route.members}


UP, DOWN, UNKNOWN, ADOPTED = Health.UP, Health.DOWN, Health.UNKNOWN, Health.ADOPTED


def test_announced_while_one_is_healthy() -> None:
    found = verdict([UP, DOWN, UNKNOWN])
    assert (found.standing, found.reason) == (Standing.ANNOUNCED, "")
    assert members(found) == {1: 1}
    assert str(found.route.prefix) == "198.51.100.10/32"


def test_unknown_is_not_healthy() -> None:
    found = verdict([UNKNOWN, DOWN])
    assert found.standing is Standing.WITHDRAWN
    assert found.route.members == ()
    assert found.reason == "none of its endpoints here is healthy, of 2"


def test_what_served_before_a_restart_serves_until_it_is_known_better() -> None:
    assert verdict([ADOPTED, UNKNOWN]).standing is Standing.ANNOUNCED


def test_an_endpoint_that_the_kernel_does_not_reach_is_not_counted_and_not_given_up() -> None:
    assert verdict([UP], unusable=[1]).standing is Standing.WITHDRAWN
    found = verdict([UP, UP], unusable=[1])
    assert (found.standing, len(found.serving)) == (Standing.ANNOUNCED, 1)
    assert members(found) == {1: 1, 2: 1}


def test_a_vip_that_the_kernel_does_not_route_is_not_announced() -> None:
    found = verdict([UP], refused={ip_network("198.51.100.10/32"): "no memory"})
    assert (found.standing, found.reason) == (Standing.WITHDRAWN, "no memory")
    assert members(found) == {1: 1}  # it is tried again


def test_a_drained_vip_is_depreferred_and_then_withdrawn_and_its_group_stays() -> None:
    for drain in (Drain(Scope.VIP, str(VIP), "", LEAVING), Drain(Scope.NODE, "", "", LEAVING)):
        assert (verdict([UP], drains=[drain]).standing) is Standing.DEPREFERRED
        over = verdict([UP], drains=[replace(drain, since=GONE)])
        assert (over.standing, over.reason) == (Standing.WITHDRAWN, "drained")
        assert members(over) == {1: 1}


def test_a_draining_pod_has_no_share_and_is_out_at_the_end() -> None:
    assert members(verdict([UP, UP], drains=[pod(1, LEAVING)])) == {1: 0, 2: 1}
    assert members(verdict([UP, UP], drains=[pod(1, GONE)])) == {2: 1}
    assert verdict([UP, UP], drains=[pod(1, LEAVING)]).standing is Standing.ANNOUNCED


def test_the_last_pod_that_drains_takes_the_vip_along() -> None:
    leaving = verdict([UP, DOWN], drains=[pod(1, LEAVING)])
    assert (leaving.standing, leaving.reason) == (Standing.DEPREFERRED, "its last pods are draining")
    assert verdict([UP, DOWN], drains=[pod(1, GONE)]).standing is Standing.WITHDRAWN


def test_below_min_endpoints_it_is_depreferred_or_withdrawn() -> None:
    few = replace(POOL, min_endpoints=2)
    assert verdict([UP, UP], few).standing is Standing.ANNOUNCED
    found = verdict([UP, DOWN], few)
    assert (found.standing, found.reason) == (Standing.DEPREFERRED, "1 healthy, min-endpoints is 2")
    gone = verdict([UP, DOWN], replace(few, withdraw_below=True))
    assert (gone.standing, gone.reason) == (Standing.WITHDRAWN, "1 healthy, min-endpoints is 2")
    assert members(gone) == {1: 1}


def test_the_load_is_what_takes_new_connections() -> None:
    drains = [pod(3, LEAVING)]
    health, weights = [UP, UP, UP, DOWN], [5, 2, 9, 9]
    assert verdict(health, POOL, drains, weights=weights).load == 0
    counted = replace(POOL, load_share=LoadShare.ENDPOINTS)
    assert verdict(health, counted, drains, weights=weights).load == 2
    weighed = replace(POOL, load_share=LoadShare.WEIGHT)
    assert verdict(health, weighed, drains, weights=weights).load == 7


STATES = st.sampled_from(list(Health))


@given(
    st.lists(STATES, min_size=1, max_size=6),
    st.lists(STATES, min_size=1, max_size=6),
    st.sets(st.integers(1, 6)),
)
def test_replacing_pods_withdraws_nothing_while_any_of_them_is_healthy(
    before: list[Health], after: list[Health], draining: set[int]
) -> None:
    """Whatever came and went in between: only the set as it is now counts."""
    drains = [pod(number, LEAVING) for number in draining]
    for health in (before, after):
        found = verdict(health, drains=drains)
        any_up = any(one in {UP, ADOPTED} for one in health)
        assert (found.standing is Standing.WITHDRAWN) == (not any_up)
        fresh = [
            number
            for number, one in enumerate(health, start=1)
            if one in {UP, ADOPTED} and number not in draining
        ]
        assert (found.standing is Standing.ANNOUNCED) == bool(fresh)
        assert {number for number, weight in members(found).items() if weight} == set(fresh)


SCENES = st.fixed_dictionaries(
    {
        "health": st.lists(STATES, min_size=1, max_size=3),
        "pool": st.sampled_from(
            [None, POOL, replace(POOL, min_endpoints=2), replace(POOL, load_share=LoadShare.WEIGHT)]
        ),
        "drains": st.lists(
            st.sampled_from(
                [
                    pod(1, LEAVING),
                    pod(2, GONE),
                    Drain(Scope.NODE, "", "", GONE),
                    Drain(Scope.VIP, str(VIP), "", LEAVING),
                ]
            ),
            max_size=2,
        ),
        "unusable": st.lists(st.integers(1, 3), max_size=1),
        "weights": st.sampled_from([(1, 1, 1), (1, 2, 3)]),
        "refused": st.sampled_from([None, {host(VIP): "no room"}]),
    }
)


@given(SCENES, SCENES)
def test_what_was_found_before_stays_only_where_it_would_be_found_anew(
    before: dict[str, Any], now: dict[str, Any]
) -> None:
    known = verdict(**before)
    fresh, found = verdict(**now), verdict(**now, before=known)
    assert found == fresh
    assert (found is known) == (found.ground == known.ground)
    assert verdict(**before, before=known) is known
