"""Log lines: one for each event, readable by people and by programs."""

from __future__ import annotations

import io

import pytest

from speaker import log


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"peer": "10.0.0.1"}, "event=up peer=10.0.0.1"),
        ({"reason": "no route"}, 'event=up reason="no route"'),
        ({"reason": 'a "b"\nc=d\\'}, 'event=up reason="a \\"b\\"\\nc=d\\\\"'),
        ({"reason": ""}, 'event=up reason=""'),
        ({"reason": "é\x1b[2J\x85\u2028\0\ud800"}, 'event=up reason="é\\x1b[2J\\x85\\u2028\\x00\\ud800"'),
    ],
)
def test_values_are_quoted_where_a_reader_could_stumble(fields: dict[str, object], text: str) -> None:
    assert log.line("up", fields) == text


def test_long_lists_are_counted() -> None:
    stream = io.StringIO()
    log.set_up("info", stream)
    log.info_each("announced", [{"prefix": number} for number in range(log.LISTED + 5)])
    lines = stream.getvalue().splitlines()
    assert len(lines) == log.LISTED + 1
    assert lines[-1].endswith("level=info event=announced more=5")


def test_levels_below_the_chosen_one_are_silent() -> None:
    stream = io.StringIO()
    log.set_up("warning", stream)
    log.info("up")
    log.debug("detail")
    log.warning("down", peer="10.0.0.1")
    assert [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()] == [
        "level=warning event=down peer=10.0.0.1"
    ]
