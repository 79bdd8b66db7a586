"""What each item's table comes to in results.json. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.results import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.anycast import numbers

    Table = Sequence[numbers.Row]

PLAIN = "a plain group"


def rows(item: str, table: Table) -> list[Row]:
    """Those of one item, with the command that repeats it."""
    command = f"sudo python -m bench.anycast {item}"
    return [
        _named(row, f"anycast-{item}-{number}", command) for number, row in enumerate(ITEMS[item](table), 1)
    ]


def _named(row: Row, key: str, command: str) -> Row:
    return Row(
        key, row.what, row.unit, row.ours, row.peer_name, row.peer, row.bound, runs=row.runs, command=command
    )


def _count(row: numbers.Row, key: str) -> float:
    value = row[key]
    assert isinstance(value, int | float)  # noqa: S101 - a column of numbers
    return float(value)


def _sharing(table: Table) -> Iterator[Row]:
    for row in table:
        shared = row["pool"] == "shared"
        key, off = ("off equal pods, %", "a pod") if shared else ("off the nodes' shares, %", "a node")
        how = "with link bandwidth" if shared else "without link bandwidth"
        what = f"{row['connections']} connections to nodes with 1 and 3 pods, {how}, {row['family']}"
        yield Row("", f"{what}: {off} off its share", "%", _count(row, key), bound=10)


def _scaling(table: Table) -> Iterator[Row]:
    plain = {row["pods"]: _count(row, "broken of others") for row in table if row["group"] == "plain"}
    for row in table:
        if row["group"] != "plain":
            what = f"pods {row['pods']}, {row['flows before']} connections: broken ones of pods that stayed"
            yield _beside(what, _count(row, "broken of others"), plain.get(row["pods"]))
            what = f"pods {row['pods']}, as many UDP flows: moved ones of pods that stayed"
            yield Row("", what, "flows", _count(row, "UDP flows of others moved"), bound=0)


def _rolling(table: Table) -> Iterator[Row]:
    plain = next((_count(row, "broken") for row in table if row["group"] == "plain"), None)
    for row in table:
        if row["group"] != "plain":
            what = f"all pods of a node replaced, {row['connections']} connections meanwhile: broken"
            yield _beside(what, _count(row, "broken"), plain)


def _beside(what: str, ours: float, plain: float | None) -> Row:
    """A plain group that breaks nothing is no peer to divide by."""
    return Row("", what, "connections", ours, PLAIN if plain else "", plain or None, bound=0)


def _times(table: Table) -> Iterator[Row]:
    for row in table:
        for part in ("p50", "p99"):
            yield Row("", f"{row['what']}, {part}", "ms", _count(row, part), runs=int(_count(row, "runs")))


def _drain(table: Table) -> Iterator[Row]:
    for row in table:
        what = f"{row['drains']} drains of a cluster, {row['requests']} requests meanwhile: lost"
        yield Row("", what, "requests", _count(row, "lost"), bound=0)
        switched = "on their way at a switch of the spine, and lost"
        yield Row("", f"of them besides {switched}", "requests", _count(row, switched))


def _reach(table: Table) -> Iterator[Row]:
    who = "pods" if "from" in table[0] else "clients"
    bad = sum(_count(row, "failed") + _count(row, "pods that saw another's address") for row in table)
    what = f"TCP and UDP from {who}, IPv4 and IPv6: lost, or another's address seen"
    yield Row("", what, "requests", bad, bound=0)


ITEMS: dict[str, Callable[[Table], Iterator[Row]]] = {
    "sharing": _sharing,
    "scaling": _scaling,
    "rolling": _rolling,
    "table": _times,
    "traffic": _times,
    "drain": _drain,
    "protocols": _reach,
    "pods": _reach,
}
