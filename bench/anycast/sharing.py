"""How connections are shared over two nodes with 1 and 3 pods, with and without link bandwidth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.load import drive
from lab.service import VERSIONS

if TYPE_CHECKING:
    from bench.anycast.numbers import Row
    from bench.anycast.stage import Stage

PODS = {"node1": 1, "node2": 3}
POOLS = {"shared": {"node1": 1, "node2": 3}, "plain": {"node1": 1, "node2": 1}}  # with the racks' proportion


def share(stage: Stage, count: int) -> list[Row]:
    """`count` TCP connections of 64 clients in each pool and family; both nodes are under rack1."""
    rows = []
    for pool, expected in POOLS.items():
        service = stage.service(pool)
        names = [stage.add(service, node) for node, number in PODS.items() for _ in range(number)]
        stage.await_nodes("rack1", service, expected)
        stage.await_client(service)
        for node in PODS:
            stage.await_members(node, service, {name for name in names if name.startswith(node)})
        for version in VERSIONS:
            found = drive.spread(stage.client, service.vip(version), count, sources=stage.sources(version))
            rows.append(_row(pool, version, count, expected, found))
        stage.clear()
    return rows


def _row(pool: str, version: int, count: int, expected: dict[str, int], found: drive.Spread) -> Row:
    nodes = {node: sum(n for pod, n in found.pods.items() if pod.startswith(f"{node}-")) for node in PODS}
    due = {node: count * part / sum(expected.values()) for node, part in expected.items()}
    fair = count / sum(PODS.values())
    return {
        "pool": pool,
        "family": f"IPv{version}",
        "connections": count,
        **{f"{node}, pods: {number}": nodes[node] for node, number in PODS.items()},
        "off the nodes' shares, %": percent(max(abs(nodes[node] / due[node] - 1) for node in PODS)),
        "by pod": sorted(found.pods.values()),
        "off equal pods, %": percent(max(abs(number / fair - 1) for number in found.pods.values())),
        "failed": sum(found.failed.values()),
        "wrong source": found.wrong_source,
    }


def percent(part: float) -> float:
    """A part of one, of a hundred."""
    return round(100 * part, 1)
