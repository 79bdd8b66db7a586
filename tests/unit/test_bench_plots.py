"""Plots: every row is there, better is left, and a file is well-formed whatever the rows are."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from bench.plots import PLOTS, cost, distribution, held, ratios
from bench.results import Row, compared
from bench.svg import Drawing, Scale

SVG = "{http://www.w3.org/2000/svg}"
GOOD = compared("add", "ADD <fast> & flat", [5.0, 6.0, 7.0], [10.0, 11.0, 12.0], bound=1.2)
BAD = compared("del", "DEL", [50.0], [10.0], bound=1.2)
RATE = compared("rate", "pods", [50.0], [100.0], unit="pods/s", bound=1.2, at_least=True)
HELD = {
    f"{verb}-held-{size}": compared("x", "x", [20.0], [float(10 + size)])
    for verb in ("add", "del")
    for size in (0, 10)
}


def texts(svg: str) -> list[str]:
    return [mark.text or "" for mark in ElementTree.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314 - our own


@pytest.mark.parametrize("name", PLOTS)
def test_no_row_is_no_failure(name: str) -> None:
    assert texts(PLOTS[name]({}))


def test_each_row_with_peer_and_target_has_a_line_with_its_verdict() -> None:
    svg = ratios({"a": GOOD, "b": BAD, "c": Row("memory", "memory", "MiB", 11, bound=14), "d": RATE})
    assert {"ADD <fast> & flat", "0.55 ×", "target ≤ 1.2", "target ≥ 1.2"} <= set(texts(svg))
    assert "memory" not in texts(svg)
    assert [svg.count(f'r="6" class="{look}"') for look in ("good", "bad")] == [
        2,
        3,
    ]  # the legend's own among them


def test_less_is_better_also_for_rates() -> None:
    assert cost(RATE, 0.5) == 2
    assert cost(BAD, 5.0) == 5


def test_held_has_a_point_for_each_size_and_side() -> None:
    svg = held(HELD)
    assert svg.count("<path") == 4
    assert [texts(svg).count(size) for size in ("0", "10", "10,000")] == [2, 4, 0]


def test_distribution_has_a_dot_for_each_call() -> None:
    svg = distribution({"add": GOOD})
    assert svg.count('r="2.5"') == 6
    assert {"6.0", "11.0"} <= set(texts(svg))


@pytest.mark.parametrize(("value", "place"), [(1, 0), (10, 50), (100, 100), (0.1, 0), (1000, 100)])
def test_a_scale_ends_where_it_ends(value: float, place: float) -> None:
    assert Scale(1, 100, 0, 100, logarithmic=True)(value) == pytest.approx(place)


def test_words_are_escaped() -> None:
    drawing = Drawing(10, 10, "a < b")
    drawing.text(0, 0, "c & d")
    assert texts(drawing.svg()) == ["c & d"]
