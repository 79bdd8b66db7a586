"""Samples as rows and tables, and what the items of bench.anycast come to in results.json."""

from __future__ import annotations

from bench.anycast import numbers
from bench.anycast.__main__ import ITEMS
from bench.anycast.rows import ITEMS as MAKERS
from bench.anycast.rows import rows


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


def test_each_item_comes_to_rows() -> None:
    assert MAKERS.keys() == ITEMS.keys()


def test_connections_that_broke_stand_beside_those_of_a_plain_group() -> None:
    def row(group: str, pods: str, others: int, **more: object) -> numbers.Row:
        return {"group": group, "pods": pods, "flows before": 1000, "broken of others": others, **more}

    moved = {"UDP flows of others moved": 2}
    table = [row("resilient", "4 → 3", 1, **moved), row("plain", "4 → 3", 250)]
    broken, flows = rows("scaling", table)
    assert (broken.ours, broken.peer, broken.holds) == (1, 250, False)
    assert (flows.ours, flows.peer, flows.holds) == (2, None, False)
    assert (broken.key, flows.key) == ("anycast-scaling-1", "anycast-scaling-2")
    assert broken.command == "sudo python -m bench.anycast scaling"
    held = rows("scaling", [row("resilient", "3 → 5", 0, **moved), row("plain", "3 → 5", 0)])[0]
    assert (held.peer, held.holds) == (None, True)


def test_shares_are_by_pods_with_link_bandwidth_and_by_nodes_without() -> None:
    off = {"off equal pods, %": 12.0, "off the nodes' shares, %": 3.0}
    table = [{"pool": pool, "connections": 100, "family": "IPv4", **off} for pool in ("shared", "plain")]
    assert [(row.ours, row.holds) for row in rows("sharing", table)] == [(12.0, False), (3.0, True)]


def test_times_are_shown_at_two_places_without_a_target() -> None:
    p50, p99 = rows("table", [numbers.times("x", [0.001, 0.002])])
    assert (p50.what, p50.ours, p50.runs, p50.holds) == ("x, p50", 1.0, 2, None)
    assert (p99.what, p99.ours) == ("x, p99", 2.0)


def test_a_drain_and_a_question_may_lose_nothing() -> None:
    drain = {"drains": 2, "requests": 10, "lost": 0, "on their way at a switch of the spine, and lost": 1}
    asked = {"protocol": "UDP", "family": "IPv6", "failed": 0, "pods that saw another's address": 0}
    assert [(row.ours, row.holds) for row in rows("drain", [drain])] == [(0, True), (1, None)]
    assert [row.holds for row in rows("protocols", [asked])] == [True]
