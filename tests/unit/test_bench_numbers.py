"""Percentiles are samples, by nearest rank."""

from __future__ import annotations

import pytest

from bench.anycast import numbers


@pytest.mark.parametrize(
    ("count", "part", "expected"),
    [(1, 0.5, 1), (1, 0.99, 1), (2, 0.5, 1), (10, 0.9, 9), (10, 0.99, 10), (100, 0.5, 50), (100, 0.99, 99)],
)
def test_percentile_is_the_smallest_sample_that_enough_others_do_not_exceed(
    count: int, part: float, expected: int
) -> None:
    assert numbers.percentile([float(n) for n in range(count, 0, -1)], part) == expected


def test_times_are_told_in_milliseconds() -> None:
    row = numbers.times("x", [0.001, 0.002, 0.0035])
    assert row == {"what": "x", "runs": 3, "p50": 2.0, "p90": 3.5, "p99": 3.5, "max": 3.5}
    assert numbers.times("x", []) == {"what": "x", "runs": 0}


def test_table_has_all_columns_and_empty_cells() -> None:
    assert numbers.table([{"a": 1}, {"a": 2, "b": "x"}]) == [
        "| a | b |",
        "| --- | --- |",
        "| 1 |  |",
        "| 2 | x |",
    ]
