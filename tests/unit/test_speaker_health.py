"""Rise and fall: what a row of results makes of an endpoint, against a model that looks at the whole row."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cni.healthcheck import HealthCheck, parse_check
from speaker.anycast.health import Health, Tally

RESULTS = st.lists(st.booleans(), max_size=40)
THOUSAND = settings(max_examples=1000)


def check(rise: int, fall: int) -> HealthCheck:
    return parse_check(f"tcp://:53 interval=5 fast=1 rise={rise} fall={fall}")


CHECKS = st.builds(check, st.integers(1, 6), st.integers(1, 6))


def after(tally: Tally, results: list[bool]) -> Tally:
    for result in results:
        tally.record(result)
    return tally


def model(check: HealthCheck, adopted: bool, results: list[bool]) -> Health:
    """The last row that was long enough decides; for an adopted one the first success does if nothing did before."""
    signs = "".join("+" if ok else "-" for ok in results)
    verdict = Health.ADOPTED if adopted else Health.UNKNOWN
    early = {"-" * failures + "+" for failures in range(check.fall)} if adopted else set()
    for end in range(1, len(signs) + 1):
        row = signs[:end]
        if row.endswith("+" * check.rise) or row in early:
            verdict = Health.UP
        elif row.endswith("-" * check.fall):
            verdict = Health.DOWN
    return verdict


@THOUSAND
@given(CHECKS, st.booleans(), RESULTS)
def test_it_is_what_the_model_says(check: HealthCheck, adopted: bool, results: list[bool]) -> None:
    assert after(Tally(check, adopted), results).health is model(check, adopted, results)


@THOUSAND
@given(CHECKS, st.booleans(), RESULTS, st.booleans())
def test_a_long_enough_row_decides_whatever_was_before(
    check: HealthCheck, adopted: bool, before: list[bool], ok: bool
) -> None:
    tally = after(Tally(check, adopted), before)
    after(tally, [ok] * (check.rise if ok else check.fall))
    assert tally.health is (Health.UP if ok else Health.DOWN)
    assert tally.settled


@THOUSAND
@given(CHECKS, st.booleans(), RESULTS)
def test_no_verdict_is_ever_forgotten(check: HealthCheck, adopted: bool, results: list[bool]) -> None:
    tally, decided = Tally(check, adopted), False
    for result in results:
        tally.record(result)
        decided = decided or tally.health in {Health.UP, Health.DOWN}
        assert (tally.health in {Health.UP, Health.DOWN}) is decided


@THOUSAND
@given(CHECKS, st.booleans(), RESULTS)
def test_fast_while_a_change_may_be_on_its_way(
    check: HealthCheck, adopted: bool, results: list[bool]
) -> None:
    tally = after(Tally(check, adopted), results)
    agreed = bool(results) and tally.health is (Health.UP if results[-1] else Health.DOWN)
    assert tally.interval == (5.0 if agreed else 1.0)
    assert tally.settled is agreed


@THOUSAND
@given(CHECKS, st.booleans(), RESULTS)
def test_results_by_turns_change_nothing_where_rows_are_asked_for(
    check: HealthCheck, adopted: bool, results: list[bool]
) -> None:
    tally = after(Tally(check, adopted), [*results, True])
    if check.rise < 2 or check.fall < 2:
        return
    before = tally.health
    after(tally, [False, True] * 5)
    assert tally.health is before


@pytest.mark.parametrize(
    ("adopted", "results", "health"),
    [
        (False, "", Health.UNKNOWN),
        (False, "+", Health.UNKNOWN),
        (False, "++", Health.UP),
        (False, "--", Health.UNKNOWN),
        (False, "---", Health.DOWN),
        (False, "++--+--+", Health.UP),
        (False, "++---+", Health.DOWN),
        (False, "++---++", Health.UP),
        (True, "", Health.ADOPTED),
        (True, "--", Health.ADOPTED),
        (True, "--+", Health.UP),
        (True, "+", Health.UP),
        (True, "---", Health.DOWN),
        (True, "---+", Health.DOWN),
    ],
)
def test_rise_2_and_fall_3(adopted: bool, results: str, health: Health) -> None:
    assert after(Tally(check(2, 3), adopted), [sign == "+" for sign in results]).health is health


def test_unknown_is_not_up_and_adopted_is() -> None:
    assert {health for health in Health if health.serves} == {Health.UP, Health.ADOPTED}
