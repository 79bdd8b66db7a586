"""Who reaches a virtual IP, over which protocols, and whose address the pod sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.load import drive
from lab.service import VERSIONS

if TYPE_CHECKING:
    from bench.anycast.numbers import Row
    from bench.anycast.stage import Stage
    from lab.service import Service

COUNT = 1000
FLOWS = 200


def clients(stage: Stage) -> list[Row]:
    """TCP, UDP and flows over UDP from the client's 64 addresses, to pods on both nodes."""
    service = stage.service("shared")
    for node in ("node1", "node2"):
        stage.add(service, node)
    stage.await_client(service)
    rows: list[Row] = []
    for version in VERSIONS:
        where, sources = (stage.client, service.vip(version)), stage.sources(version)
        for protocol, load in (("TCP", drive.spread), ("UDP", drive.ask)):
            found = load(*where, COUNT, sources=sources)
            rows.append(_row(protocol, version, COUNT, found))
        with drive.Flows(*where, FLOWS, sources=sources) as flows:
            counts = flows.report()["counts"]
        found = drive.Spread(
            flows.last["pods"], {"moved": counts.get("moved", 0)}, counts.get("wrong_source", 0)
        )
        rows.append(_row("UDP flows", version, FLOWS, found))
    stage.clear()
    return rows


def _row(protocol: str, version: int, count: int, found: drive.Spread) -> Row:
    return {
        "protocol": protocol,
        "family": f"IPv{version}",
        "asked": count,
        "answered by": " + ".join(f"{pod} {number}" for pod, number in sorted(found.pods.items())),
        "failed": sum(found.failed.values()),
        "pods that saw another's address": found.wrong_source,
    }


def pods(stage: Stage) -> list[Row]:
    """From an endpoint itself, and from pods that are none: beside one, and on a node without any."""
    service = stage.service("shared")
    endpoint = stage.add(service, "node1")
    stage.await_members("node1", service, {endpoint})
    stage.await_nodes("rack1", service, {"node1": 1})
    lab = stage.lab
    others = {f"pod on {node}": lab.attach(f"asker-{node}", node) for node in ("node1", "node2")}
    rows = []
    for who, asker in {"the endpoint itself": stage.pods[endpoint], **others}.items():
        rows += [
            _asked(service, who, asker.namespace, asker.address(version), version) for version in VERSIONS
        ]
    for asker in others.values():
        lab.detach(asker)
    stage.clear()
    return rows


def _asked(service: Service, who: str, namespace: str, own: str, version: int) -> Row:
    vip = service.vip(version)
    # An endpoint that asks its own VIP has it as source as well: the kernel's choice on a loopback.
    source = "" if who == "the endpoint itself" else own
    found = [load(namespace, vip, 50, sources=source) for load in (drive.spread, drive.ask)]
    return {
        "from": who,
        "family": f"IPv{version}",
        "TCP": dict(found[0].pods),
        "UDP": dict(found[1].pods),
        "failed": sum(sum(one.failed.values()) for one in found),
        "pods that saw another's address": sum(one.wrong_source for one in found),
    }
