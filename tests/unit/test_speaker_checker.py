"""When endpoints are probed and what is said of it, on a clock that jumps; the probes themselves are scripted."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING

import pytest

from speaker.anycast.checker import AT_A_TIME, COMMANDS_AT_A_TIME
from speaker.anycast.health import Detail, Health
from speaker.anycast.probes.errors import ProbeFailedError
from tests.unit.checker_stage import Stage, hung, key, no_descriptors, play, refused, target

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# An interval that is stretched by a tenth, a start that waits for the next tick, and a clock of floats.
STRETCHED = 1.13


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    monkeypatch.setattr(logging.getLogger("anypod.speaker"), "propagate", True)
    caplog.set_level("INFO", "anypod.speaker")
    return lambda: [f"{record.levelname} {record.message}" for record in caplog.records]


def test_an_endpoint_is_up_after_two_probes_a_second_apart(lines: Callable[[], list[str]]) -> None:
    async def story(stage: Stage) -> None:
        stage.follow(target())
        assert stage.checker.health(key(1)) is Health.UNKNOWN
        await asyncio.sleep(0.5)
        assert len(stage.probes) == 1
        assert stage.checker.health(key(1)) is Health.UNKNOWN
        await asyncio.sleep(1)
        assert stage.checker.health(key(1)) is Health.UP

    stage = play(story)
    assert stage.changes == 1
    assert lines() == [
        'INFO event="endpoint up" pod=dns/pod-1 address=10.0.0.1 check=tcp://:53',
    ]


def test_as_long_as_all_is_well_it_is_probed_every_interval(lines: Callable[[], list[str]]) -> None:
    async def story(stage: Stage) -> None:
        stage.follow(target())
        await asyncio.sleep(3600)

    stage = play(story)
    gaps = [later - earlier for earlier, later in itertools.pairwise(stage.times()[1:])]
    assert min(gaps) >= 5 * 0.89
    assert max(gaps) <= 5 * STRETCHED
    assert len({round(gap, 3) for gap in gaps}) > 5  # not in step
    assert 680 < len(gaps) < 760
    assert stage.changes == len(lines()) == 1


@pytest.mark.parametrize(("answer", "seconds"), [(refused, 2 * STRETCHED), (hung, 6 * STRETCHED)])
def test_down_is_said_after_three_failures_in_a_row(
    answer: Callable[[], Awaitable[None]], seconds: float, lines: Callable[[], list[str]]
) -> None:
    async def story(stage: Stage) -> None:
        stage.follow(target())
        await asyncio.sleep(60)
        stage.answers["dns/pod-1"] = answer
        failed_at, before = stage.now, len(stage.probes)
        stage.news.clear()
        await stage.news.wait()
        assert len(stage.probes) - before == 3
        assert stage.times()[before] - failed_at <= 5 * STRETCHED
        assert stage.now - stage.times()[before] <= seconds
        detail = stage.checker.detail(key(1))
        assert detail.health is Health.DOWN
        assert stage.now - detail.since < 0.1
        assert detail.error in {"connection refused", "no answer within 2 s"}
        assert detail.latency == pytest.approx(2 if answer is hung else 0)
        # One that is down is no reason for haste either.
        before = len(stage.probes)
        await asyncio.sleep(50)
        assert 8 <= len(stage.probes) - before <= 12

    assert play(story).changes == 2
    assert len(lines()) == 2
    assert 'event="endpoint down" pod=dns/pod-1 address=10.0.0.1 check=tcp://:53 reason=' in lines()[1]


def test_failures_that_stay_fewer_are_no_change(lines: Callable[[], list[str]]) -> None:
    async def story(stage: Stage) -> None:
        results = itertools.cycle([refused, refused, None])

        async def by_turns() -> None:
            result = next(results)
            if result is not None:
                await result()

        stage.follow(target())
        await asyncio.sleep(10)
        stage.answers["dns/pod-1"] = by_turns
        await asyncio.sleep(3600)

    assert play(story).changes == len(lines()) == 1


def test_what_served_before_a_restart_counts_until_its_first_verdict(lines: Callable[[], list[str]]) -> None:
    async def story(stage: Stage) -> None:
        stage.answers["dns/pod-2"] = refused
        stage.follow(target(1), target(2), adopted=True)
        assert all(stage.checker.health(key(number)) is Health.ADOPTED for number in (1, 2))
        await asyncio.sleep(0.5)
        assert stage.checker.health(key(1)) is Health.UP
        assert stage.checker.health(key(2)) is Health.ADOPTED
        await asyncio.sleep(3)
        assert stage.checker.health(key(2)) is Health.DOWN

    assert play(story).changes == 2
    assert [line.split("address")[0] for line in lines()] == ['INFO event="endpoint down" pod=dns/pod-2 ']


def test_another_vip_or_name_changes_nothing() -> None:
    async def story(stage: Stage) -> None:
        stage.follow(target())
        await asyncio.sleep(10)
        before = len(stage.probes)
        for number in range(50):
            stage.follow(target(vip=f"198.51.100.{number}"))
        assert stage.checker.health(key(1)) is Health.UP
        await asyncio.sleep(0.1)
        assert len(stage.probes) <= before + 1

    assert play(story).changes == 1


@pytest.mark.parametrize(("answer", "health"), [(None, Health.ADOPTED), (refused, Health.UNKNOWN)])
def test_with_another_check_it_is_counted_anew_from_what_it_was(
    answer: Callable[[], Awaitable[None]] | None, health: Health
) -> None:
    async def story(stage: Stage) -> None:
        if answer is not None:
            stage.answers["dns/pod-1"] = answer
        stage.follow(target())
        await asyncio.sleep(10)
        stage.follow(target(check="tcp://:54"))
        assert stage.checker.health(key(1)) is health

    play(story)


def test_who_is_followed_no_longer_is_probed_no_longer() -> None:
    async def story(stage: Stage) -> None:
        ends: list[str] = []

        async def waits() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        stage.answers["dns/pod-1"] = waits
        stage.follow(target(1), target(2))
        await asyncio.sleep(10)
        stage.follow(target(2))
        assert stage.checker.health(key(1)) is Health.UNKNOWN
        assert stage.checker.detail(key(1)) == Detail(Health.UNKNOWN, 0.0)
        await asyncio.sleep(60)
        assert ends == ["cancelled"]
        assert len(stage.times(1)) == 1
        assert stage.checker.health(key(2)) is Health.UP
        # It comes back as one that nobody knows.
        stage.follow(target(1), target(2))
        assert stage.checker.health(key(1)) is Health.UNKNOWN

    play(story)


def test_the_first_probe_is_at_once_and_those_of_many_are_spread() -> None:
    async def story(stage: Stage) -> None:
        start = stage.now
        stage.follow(*(target(number) for number in range(500)))
        await asyncio.sleep(4)
        firsts = [stage.times(number)[0] - start for number in range(500)]
        assert min(firsts) < 0.01
        assert 1 < max(firsts) < 3
        assert max(sum(at <= first < at + 0.1 for first in firsts) for at in firsts) <= 30

    play(story)


def test_who_hangs_holds_nobody_up_who_serves() -> None:
    async def long() -> None:
        await asyncio.sleep(60)
        raise ProbeFailedError("no answer within 60 s")

    async def story(stage: Stage) -> None:
        stage.follow(*(target(number) for number in range(20)))
        await asyncio.sleep(10)
        hanging = [target(number, "tcp://:53 interval=60 timeout=60") for number in range(100, 900)]
        stage.answers |= {one.pod: long for one in hanging}
        stage.follow(*(target(number) for number in range(20)), *hanging)
        await asyncio.sleep(600)
        for number in range(20):
            gaps = [later - earlier for earlier, later in itertools.pairwise(stage.times(number)[2:])]
            assert max(gaps) <= 5 * STRETCHED
        # Nor does anybody starve among those that hang.
        assert min(len(stage.times(number)) for number in range(100, 900)) >= 2

    assert play(story).most_busy <= 2 * AT_A_TIME


def test_commands_are_fewer_at_a_time() -> None:
    async def story(stage: Stage) -> None:
        crowd = [target(number, "exec:/bin/x timeout=5") for number in range(200)]
        stage.answers |= {one.pod: hung for one in crowd}
        stage.follow(*crowd)
        await asyncio.sleep(20)

    assert play(story).most_busy == COMMANDS_AT_A_TIME


def test_what_the_node_lacks_is_no_verdict(lines: Callable[[], list[str]]) -> None:
    async def story(stage: Stage) -> None:
        stage.follow(target(1), target(2))
        await asyncio.sleep(10)
        stage.answers |= {f"dns/pod-{number}": no_descriptors for number in (1, 2)}
        await asyncio.sleep(600)
        assert stage.checker.health(key(1)) is Health.UP
        assert stage.checker.detail(key(1)).error == "not asked: too many open files"
        stage.answers.clear()
        await asyncio.sleep(10)
        assert stage.checker.detail(key(1)).error == ""

    assert play(story).changes == 2
    assert lines()[2:] == [
        'WARNING event="health checks hindered" reason="too many open files"'
        ' kept="what was known of endpoints"',
        'INFO event="health checks no longer hindered"',
    ]


@pytest.mark.parametrize("delay", [0, 1])
def test_a_watch_that_breaks_is_told(delay: float) -> None:
    async def breaks() -> None:
        raise LookupError("a mistake of ours")

    async def story(stage: Stage) -> None:
        stage.answers["dns/pod-1"] = breaks
        stage.follow(target(1), target(2))
        await asyncio.sleep(delay)
        with pytest.raises(LookupError, match="a mistake of ours"):
            await stage.checker.run()

    play(story)
