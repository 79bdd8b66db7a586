"""Established connections while pods come and go on a node: which break, with the speaker and with a plain group."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from bench.anycast.byhand import VIP, PlainGroup
from lab.load import drive
from lab.waiting import until

if TYPE_CHECKING:
    from bench.anycast.numbers import Row
    from bench.anycast.stage import Stage

NODE = "node1"
SETTLED = 4.0  # seconds; whoever broke has noticed (lab.load.held.PATIENCE)
LIFE = 3.0  # seconds at most of a connection in a rolling update; less than a drain
VERSION = 4


def scale(stage: Stage, count: int) -> list[Row]:
    """`count` connections over IPv4 and flows over IPv6 that stay; 4 pods become 3 and then 5."""
    service = stage.service("plain")
    pods = [stage.add(service, NODE) for _ in range(4)]
    stage.await_client(service)
    stage.await_members(NODE, service, set(pods))
    rows: list[Row] = []
    with (
        drive.Held(stage.client, service.vip(VERSION), count, sources=stage.sources(VERSION)) as held,
        drive.Flows(stage.client, service.vip(6), count, sources=stage.sources(6)) as udp,
    ):
        gone, start = pods.pop(), time.monotonic()
        had = held.report()["pods"][gone]
        stage.remove(gone)
        time.sleep(SETTLED)
        rows.append(_broken("resilient", "4 → 3", held, start, gone, had) | _moved(udp, start, gone))
        start = time.monotonic()
        pods += [stage.add(service, NODE) for _ in range(2)]
        time.sleep(2 * SETTLED)  # also for their health checks
        rows.append(_broken("resilient", "3 → 5", held, start, "", 0) | _moved(udp, start, ""))
    stage.clear()
    return rows


def scale_plain(stage: Stage, count: int) -> list[Row]:
    """The same with a plain group."""
    group = PlainGroup(stage, NODE)
    pods = [group.add() for _ in range(4)]
    group.send_to(pods)
    _await(stage, VIP, set(pods))
    rows: list[Row] = []
    with drive.Held(stage.client, VIP, count, sources=stage.sources(VERSION)) as held:
        gone, start = pods.pop(), time.monotonic()
        had = held.report()["pods"][gone]
        group.remove(gone)
        time.sleep(SETTLED)
        rows.append(_broken("plain", "4 → 3", held, start, gone, had))
        new = [group.add() for _ in range(2)]
        start = time.monotonic()
        group.send_to([*pods, *new])
        time.sleep(SETTLED)
        rows.append(_broken("plain", "3 → 5", held, start, "", 0))
    group.close()
    return rows


def _moved(udp: drive.Flows, start: float, gone: str) -> dict[str, object]:
    moved = Counter(event["from"] for event in udp.of("moved", start))
    return {"UDP flows of it moved": moved.pop(gone, 0), "UDP flows of others moved": sum(moved.values())}


def _broken(group: str, what: str, held: drive.Held, start: float, gone: str, had: int) -> dict[str, object]:
    broken = Counter(event["pod"] for event in held.of("broken", start))
    return {
        "group": group,
        "pods": what,
        "flows before": sum(held.report()["pods"].values()) + sum(broken.values()),
        "of the pod that went": had,
        "broken of it": broken.pop(gone, 0),
        "broken of others": sum(broken.values()),
    }


def roll(stage: Stage, count: int, pods: int = 4) -> list[Row]:
    """Replaces all pods one by one, each drained first, while `count` connections live for a few seconds each."""
    service = stage.service("plain")
    names = [stage.add(service, NODE) for _ in range(pods)]
    stage.await_client(service)
    stage.await_members(NODE, service, set(names))
    where = stage.client, service.vip(VERSION), count
    with drive.Held(*where, sources=stage.sources(VERSION), interval=0.5, life=LIFE) as held:
        start = time.monotonic()
        for old in names:
            new = stage.add(service, NODE)
            _await(stage, service.vip(VERSION), {new})
            stage.anypod(NODE, "drain", "--pod", f"{stage.lab.topology.name}-{old}")
            stage.remove(old)
        time.sleep(SETTLED)
        rows = [_rolled("resilient, drained", held, start)]
    stage.clear()
    return rows


def roll_plain(stage: Stage, count: int) -> list[Row]:
    """The same with a plain group, whose pods are given as much time between leaving it and being deleted."""
    from lab.configs import DRAIN

    group = PlainGroup(stage, NODE)
    pods = [group.add() for _ in range(4)]
    group.send_to(pods)
    _await(stage, VIP, set(pods))
    with drive.Held(
        stage.client, VIP, count, sources=stage.sources(VERSION), interval=0.5, life=LIFE
    ) as held:
        start = time.monotonic()
        for old in pods:
            pods = [*pods[1:], group.add()]
            group.send_to(pods)
            time.sleep(DRAIN)
            group.remove(old)
        time.sleep(SETTLED)
        rows = [_rolled("plain", held, start)]
    group.close()
    return rows


def _rolled(group: str, held: drive.Held, start: float) -> Row:
    counts = held.report()["counts"]
    return {
        "group": group,
        "connections": counts["begun"],
        "a second": round(counts["begun"] / (time.monotonic() - start)),
        "broken": len(held.of("broken")),
        "not made": len(held.of("failed")),
    }


def _await(stage: Stage, vip: str, pods: set[str]) -> None:
    """Waits until these pods answer some of their node's connections."""
    namespace = stage.lab.namespace(NODE)
    until(
        lambda: set(drive.spread(namespace, vip, 400).pods),
        lambda seen: seen >= pods,
        seconds=60,
        what=f"{vip} is answered by {sorted(pods)}",
    )
