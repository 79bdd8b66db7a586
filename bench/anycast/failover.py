"""How long it takes until a rack's table follows, and until traffic does, when something fails on a node."""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING

from bench.anycast import numbers
from bench.anycast.stage import silence, unsilence
from lab import netns
from lab.load import drive
from lab.processes import end_all
from lab.service import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.anycast.numbers import Row
    from bench.anycast.stage import Stage
    from lab.service import Service

POOL = "plain"
FAILING, OTHER = "node1", "node2"
RATE = 200.0  # requests a second
HANG_CHECK = "http://:8080/healthz interval=200ms timeout=200ms fast=200ms rise=1 fall=3"
HANG_SECONDS = 0.6  # fall times interval


def table(stage: Stage, runs: int) -> list[Row]:
    """A pod is deleted or hangs: until its node is no next hop of the rack any more, and ADD until it is one."""
    service = stage.service(POOL)
    other = stage.add(service, OTHER)
    rack = stage.rack_of(FAILING)
    stage.await_nodes(stage.rack_of(OTHER), service, {OTHER: 1})
    rows = []
    deleted, called, added = [], [], []
    with drive.Routes(stage.lab.namespace(rack)) as routes:
        for _ in range(runs):
            start = time.monotonic()
            pod = stage.add(service, FAILING, check="")
            added.append(_told(stage, routes, service, start, here=True))
            _breathe()
            end_all([stage.pods[pod].namespace])
            start = time.monotonic()
            stage.remove(pod)
            called.append(time.monotonic() - start)
            deleted.append(_told(stage, routes, service, start, here=False))
            _breathe()
        rows += [
            numbers.times("ADD of a pod → in the rack's table", added),
            numbers.times("DEL of the last pod, the call itself", called),
            numbers.times("DEL of the last pod → out of the rack's table", deleted),
        ]
        rows += _hang(stage, routes, service, runs)
    stage.remove(other)
    return rows


def _hang(stage: Stage, routes: drive.Routes, service: Service, runs: int) -> list[Row]:
    """The same pod again and again: it stops, which its kernel does not, and goes on."""
    pod = stage.add(service, FAILING, check=HANG_CHECK)
    _told(stage, routes, service, 0.0, here=True)
    server = service.server(stage.pods[pod])
    waits = []
    for _ in range(runs):
        _breathe()
        start = time.monotonic()
        server.signal(signal.SIGSTOP)
        waits.append(_told(stage, routes, service, start, here=False))
        start = time.monotonic()
        server.signal(signal.SIGCONT)
        _told(stage, routes, service, start, here=True)
    stage.remove(pod)
    beyond = [max(0.0, wait - HANG_SECONDS) for wait in waits]
    return [
        numbers.times("process hangs → out of the rack's table", waits),
        numbers.times("the same beyond fall times interval (600 ms)", beyond),
    ]


def _told(stage: Stage, routes: drive.Routes, service: Service, start: float, *, here: bool) -> float:
    """Seconds until the rack's table has, or has not, the node as next hop, for the slower of both families."""
    end = time.monotonic() + 30.0
    found = dict.fromkeys(VERSIONS, 0.0)
    while not all(found.values()):
        for version in VERSIONS:
            node = str(stage.node_address(FAILING, version))
            for event in routes.prefix(service.prefix(version), start):
                if (event["event"] == "new" and node in event["gateways"]) == here:
                    found[version] = event["at"]
                    break
        if time.monotonic() > end:
            raise TimeoutError(f"the rack did not follow: {routes.events[-5:]}")
        time.sleep(0.005)
    return max(found.values()) - start


def _breathe() -> None:
    """Some time, and never the same: nothing that ticks is to be met at the same moment of its period."""
    time.sleep(random.uniform(0.8, 1.6))  # noqa: S311


def traffic(stage: Stage, runs: int) -> list[Row]:
    """A node is gone, with its link or without a word: until requests are answered by the other."""
    service = stage.service(POOL)
    for node in (FAILING, OTHER):
        stage.add(service, node)
    stage.await_client(service)
    node = stage.lab.namespace(FAILING)

    def link_down() -> Callable[[], None]:
        netns.set_link(node, "uplink", "down")
        return lambda: netns.set_link(node, "uplink", "up")

    def silent() -> Callable[[], None]:
        silence(node, "uplink")
        return lambda: unsilence(node)

    rows = []
    for what, fail, seconds in (
        ("node gone with its link → last lost request", link_down, 2.0),
        ("node silent → last lost request", silent, stage.lab.topology.timers.hold + 1.0),
    ):
        rows.append(numbers.times(what, [_outage(stage, service, fail, seconds) for _ in range(runs)]))
    stage.clear()
    return rows


def _outage(stage: Stage, service: Service, fail: Callable[[], Callable[[], None]], seconds: float) -> float:
    """Seconds from the failure, which lasts for so many, until the last request was begun that was lost."""
    version = random.choice(VERSIONS)  # noqa: S311
    where = stage.client, service.vip(version), RATE
    with drive.Requests(*where, sources=stage.sources(version)) as requests:
        _breathe()
        start = time.monotonic()
        undo = fail()
        try:
            time.sleep(seconds)
        finally:
            undo()
    lost = [event["begun"] for event in requests.of("lost", start)]
    stage.await_spine(service, 2)
    stage.await_nodes(stage.rack_of(FAILING), service, {FAILING: 1})
    return max(lost, default=start) - start
