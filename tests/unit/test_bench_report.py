"""The pages say what results.json says, and what is made of rows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench import report
from bench.plots import PLOTS
from bench.results import compared, keep, written
from bench.topics import TOPICS

MACHINE: dict[str, object] = {
    "date": "2026-01-02",
    "processors": 2,
    "processor": "Some",
    "memory-gib": 4,
    "kernel": "6.1.0",
    "distribution": "Debian",
    "python": "3.11.2",
    "packages": {"frr": "8.4"},
}
ADD = compared("add", "ADD", [30.0, 31.0, 32.0], [20.0, 20.5, 21.0], bound=1.6)
DEL = compared("del", "DEL", [30.0], [20.0], bound=1.1)
RATE = compared("rate", "16 at a time", [90.0], [100.0], unit="pods/s", bound=1.2, at_least=True)


def results(tmp_path: Any, **topics: Any) -> dict[str, Any]:
    held: dict[str, Any] = {}
    for name, rows in topics.items():
        file = tmp_path / f"{name}.json"
        keep(str(file), rows)
        topic = next(topic for topic in TOPICS if topic.name == name)
        held = report.merged(held, topic, json.loads(file.read_text()), MACHINE)
    return held


@pytest.mark.parametrize("page", report.PAGES, ids=lambda page: page.name)
def test_a_page_says_what_the_results_say(page: Any) -> None:
    text = page.read_text()
    assert report.filled(text, report.load(report.RESULTS)) == text, "run: python -m bench.report"


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_shows_what_the_results_say(name: str) -> None:
    drawn = PLOTS[name](report.rows(report.load(report.RESULTS)))
    assert (report.DRAWINGS / name).read_text() == drawn, "run: python -m bench.report"


def test_topics_come_in_the_order_of_their_table_and_replace_older_rows(tmp_path: Any) -> None:
    held = results(tmp_path, parallel=[RATE], attach=[ADD, DEL])
    assert list(report.rows(held)) == ["add", "del", "rate"]
    again = report.merged(held, TOPICS[0], {}, MACHINE | {"date": "2026-02-03"})
    assert list(report.rows(again)) == ["rate"]
    assert again["topics"]["parallel"]["measured"] == "2026-01-02"
    assert report.rows(held)["add"] == ADD


def test_a_table_has_number_peer_ratio_target_and_verdict(tmp_path: Any) -> None:
    held = results(tmp_path, attach=[ADD, DEL], parallel=[RATE])
    assert report.table(held, "plugin").splitlines()[2:] == [
        "| ADD | 31.0 ms | 20.5 ms, bridge + host-local | 1.51 × | ≤ 1.6 × | reached |",
        "| DEL | 30.0 ms | 20.0 ms, bridge + host-local | 1.50 × | ≤ 1.1 × | **missed** |",
        "| 16 at a time | 90.0 pods/s | 100 pods/s, bridge + host-local | 0.90 × | ≥ 1.2 × | **missed** |",
    ]
    assert report.table(held, "speaker") == "Not measured yet."


def test_what_is_missed_is_named(tmp_path: Any) -> None:
    assert report.verdicts(results(tmp_path, attach=[ADD])) == "1 of 1 targets are reached."
    assert report.verdicts(results(tmp_path, attach=[ADD, DEL], parallel=[RATE])).splitlines() == [
        "1 of 3 targets are reached. Missed:",
        "",
        "- DEL: 1.50 ×, target ≤ 1.1 ×",
        "- 16 at a time: 0.90 ×, target ≥ 1.2 ×",
    ]
    assert report.verdicts({}) == "No target was measured."


def test_only_what_is_between_markers_is_made_anew(tmp_path: Any) -> None:
    held = results(tmp_path, attach=[ADD])
    page = "a\n<!-- made from results.json: verdicts -->\nold\n<!-- end -->\nb\n"
    new = report.filled(page, held)
    assert new == page.replace("old", "\n1 of 1 targets are reached.\n")
    assert report.filled(new, held) == new


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.456, "0.46"), (9.87, "9.87"), (12.34, "12.3"), (1234.5, "1,234"), (0.0, "0"), (3.0, "3")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert report.number(value) == text


def test_lists_of_numbers_are_kept_on_one_line() -> None:
    text = written({"a": [1.23456789, 12, 0.5e-7], "b": ["x"], "c": []})
    assert json.loads(text) == {"a": [1.235, 12, 5e-08], "b": ["x"], "c": []}
    assert ' "a": [1.235, 12, 5e-08],' in text.splitlines()
