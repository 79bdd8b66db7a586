"""A node, which is all of its cluster, is drained and taken back under load: which requests are lost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.load import drive
from lab.service import VERSIONS

if TYPE_CHECKING:
    from bench.anycast.numbers import Row
    from bench.anycast.stage import Stage
    from lab.service import Service

POOL = "plain"
NODE, OTHER = "node1", "node2"
RATE = 200.0  # requests a second
SETTLED = 1.0
LATE = 0.5  # seconds at most after a switch until a request that it broke has noticed


@dataclass(frozen=True, slots=True)
class Drained:
    """Requests of one drain; `switched` are the lost ones that were on their way when the spine took the other node.

    An answer to those can only come from a node that does not know them: that is so wherever a router does not
    balance by connections that it remembers.
    """

    sent: int
    lost: int
    switched: int
    seconds: float


def drain(stage: Stage, runs: int) -> list[Row]:
    """Drains and takes back `runs` times in each family."""
    service = stage.service(POOL)
    for node in (NODE, OTHER):
        stage.add(service, node)
    stage.await_client(service)
    found = [once(stage, service, version) for _ in range(runs) for version in VERSIONS]
    stage.clear()
    return [
        {
            "drains": len(found),
            "requests": sum(one.sent for one in found),
            "lost": sum(one.lost - one.switched for one in found),
            "on their way at a switch of the spine, and lost": sum(one.switched for one in found),
        }
    ]


def once(stage: Stage, service: Service, version: int) -> Drained:
    """One drain and its end."""
    where = stage.client, service.vip(version), RATE
    with (
        drive.Routes(stage.lab.namespace("spine")) as routes,
        drive.Requests(*where, sources=stage.sources(version), patience=3.0) as requests,
    ):
        start = time.monotonic()
        stage.anypod(NODE, "drain", "--node")
        seconds = time.monotonic() - start
        time.sleep(SETTLED)
        stage.anypod(NODE, "undrain", "--node")
        stage.await_spine(service, 2)
        time.sleep(SETTLED)
    switches = [event["at"] for event in routes.prefix(service.prefix(version))]
    lost = requests.of("lost")
    switched = [one for one in lost if any(one["begun"] <= at <= one["at"] + LATE for at in switches)]
    return Drained(requests.last["sent"], len(lost), len(switched), seconds)
