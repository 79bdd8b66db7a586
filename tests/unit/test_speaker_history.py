"""What changed lately: kept within bounds, and drawn as it was."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from speaker import history, log
from speaker.history import History, Turn
from speaker.page import strip

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600.0


@pytest.fixture
def kept() -> Iterator[History]:
    made = History()
    log.follow(made.note)
    log.set_up("error", io.StringIO())
    yield made
    log.follow(History().note)


def test_the_log_and_the_history_have_one_source(kept: History) -> None:
    log.info("virtual IP", vip="198.51.100.10", state="withdrawn", reason="none is healthy")
    log.debug("endpoint still up", pod="a")
    [change] = kept.changes(10)
    assert (change.level, change.event) == ("info", "virtual IP")
    assert dict(change.fields) == {
        "vip": "198.51.100.10",
        "state": "withdrawn",
        "reason": "none is healthy",
    }


def test_a_flood_drives_nothing_else_out(kept: History) -> None:
    log.warning("peer down", peer="10.0.0.2", reason="x" * 5000)
    for number in range(5000):
        log.info("endpoint up", pod=number)
        log.info("route added", prefix=number)
    found = kept.changes(history.KEPT)
    assert len(found) == 2 * history.KEPT + 1
    assert found[-1].event == "peer down"
    assert len(dict(found[-1].fields)["reason"]) == history.LONGEST


def test_peers_turn(kept: History) -> None:
    log.info("peer added", peer="a", asn=1)
    log.info("peer up", peer="a", asn=1)
    log.error("peer refused by gobgpd", peer="b", reason="no")
    log.warning("gobgpd lost", reason="gone")
    log.info("peer up", peer="a", asn=1)
    log.warning("peer down", peer="a", asn=1)
    log.info("peer removed", peer="a")
    assert [turn.up for turn in kept.turns("a")] == [False, True, None, True, False]
    assert kept.turns("b") == ()


def test_only_so_many_peers_are_kept(kept: History) -> None:
    for number in range(history.PEERS + 50):
        kept.note("info", "peer up", {"peer": number})
    for _ in range(200):
        kept.note("info", "peer up", {"peer": "last"})
        kept.note("warning", "peer down", {"peer": "last"})
    assert kept.turns("0") == ()
    assert len(kept.turns("last")) == history.TURNS


def test_a_session_that_is_older_than_the_speaker_is_drawn_so() -> None:
    assert strip.since([Turn(900.0, True)], 1000.0, 500.0) == [(500.0, True)]
    assert strip.since([Turn(100.0, True), Turn(800.0, None), Turn(900.0, True)], 1000.0, 990.0) == [
        (10.0, True)
    ]
    # After an end that was seen, the session is no older than what is told of it.
    down = [Turn(100.0, True), Turn(800.0, False), Turn(900.0, True)]
    assert strip.since(down, 1000.0, 99.0) == [(100.0, True), (800.0, False), (900.0, True)]
    assert strip.since([], 1000.0, 7.0) == [(993.0, True)]
    assert strip.since([], 1000.0, None) == []


def test_the_window_is_cut_where_the_state_changes() -> None:
    states = [(-9000.0, True), (600.0, False), (700.0, True), (5000.0, True)]
    found = strip.spans(states, 1000.0, HOUR)
    assert found == [(-2600.0, 600.0, True), (600.0, 700.0, False), (700.0, 1000.0, True)]
    assert strip.words(found, HOUR) == "last 1h00m: up 97.2 % of 1h00m, ended 1 time"
    drawn = strip.draw(found, HOUR)
    assert drawn.count("<path") == 2
    assert 'class="down" d="M' in drawn
    assert strip.spans([], 1000.0, HOUR) == [(-2600.0, 1000.0, None)]
    assert strip.draw([], HOUR) == ""


@pytest.mark.parametrize(("known", "seconds"), [(990.0, 600), (0.0, 3600), (-9000.0, 21600), (-1e6, 86400)])
def test_the_window_has_room_for_what_is_known(known: float, seconds: int) -> None:
    assert strip.window(1000.0, [known, 999.0]) == seconds
