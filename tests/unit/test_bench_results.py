"""Rows of results.json: medians, ratios, verdicts, and the file they are kept in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.results import Row, compared, keep, percentile, show

if TYPE_CHECKING:
    from pathlib import Path


def test_a_row_compares_medians() -> None:
    row = compared("add", "ADD", [1.0, 9.0, 3.0], [2.0, 2.0, 50.0], bound=1.6)
    assert (row.ours, row.peer, row.ratio, row.runs) == (3.0, 2.0, 1.5, 3)
    assert row.samples == {"anypod": [1.0, 9.0, 3.0], "bridge + host-local": [2.0, 2.0, 50.0]}


@pytest.mark.parametrize(
    ("ours", "peer", "bound", "at_least", "holds"),
    [
        (12.0, 10.0, 1.2, False, True),
        (12.1, 10.0, 1.2, False, False),
        (12.0, 10.0, 1.2, True, True),
        (11.9, 10.0, 1.2, True, False),
        (14.0, None, 14.0, False, True),
        (14.1, None, 14.0, False, False),
        (14.0, 10.0, None, False, None),
    ],
)
def test_a_bound_is_for_the_ratio_or_else_for_the_number(
    ours: float, peer: float | None, bound: float | None, at_least: bool, holds: bool | None
) -> None:
    row = Row("key", "what", "ms", ours, "peer", peer, bound, at_least)
    assert row.holds is holds


@pytest.mark.parametrize(
    ("count", "percent", "expected"),
    [(1, 50, 1), (1, 99, 1), (2, 50, 1), (4, 0, 1), (10, 90, 9), (10, 99, 10), (100, 50, 50), (100, 99, 99)],
)
def test_percentile_is_the_smallest_value_that_enough_others_do_not_exceed(
    count: int, percent: float, expected: float
) -> None:
    assert percentile([float(number) for number in range(count, 0, -1)], percent) == expected


def test_a_row_is_kept_in_place_of_the_older_one(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    keep(str(file), [Row("b", "first", "ms", 1.0), Row("a", "second", "ms", 2.0)])
    keep(str(file), [Row("b", "again", "ms", 3.0, "peer", 2.0, 2.0)])
    held = json.loads(file.read_text())
    assert [(key, row["what"]) for key, row in held.items()] == [("b", "again"), ("a", "second")]
    assert (held["b"]["ratio"], held["b"]["holds"], held["a"]["ratio"]) == (1.5, True, None)


def test_without_a_path_nothing_is_kept() -> None:
    keep("", [Row("a", "what", "ms", 1.0)])


def test_a_person_reads_number_peer_ratio_and_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        [
            Row("a", "ADD", "ms", 30.0, "bridge", 20.0, 1.2),
            Row("b", "pods", "pods/s", 30.0, "bridge", 20.0, 1.2, at_least=True),
            Row("c", "memory", "MiB", 13.5),
        ]
    )
    assert capsys.readouterr().out.splitlines() == [
        "ADD: 30.00 ms, bridge 20.00 ms: 1.50 x (<= 1.2: MISSED)",
        "pods: 30.00 pods/s, bridge 20.00 pods/s: 1.50 x (>= 1.2: holds)",
        "memory: 13.50 MiB",
    ]
