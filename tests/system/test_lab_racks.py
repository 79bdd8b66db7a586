"""Pods reach each other through every kind of rack router, and between nodes without one."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from lab import measure, netns, observe
from lab.plan import SERVICE_RANGES
from lab.topology import RackKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.rig import Lab
    from lab.runtime import Attachment
    from lab.topology import Prefix

VERSIONS = (4, 6)


@dataclass(frozen=True, slots=True)
class Stand:
    """A lab with a pod on each node, each with an echo server."""

    lab: Lab
    a: Attachment
    b: Attachment

    @property
    def hub(self) -> str:
        """The router that node1's traffic to node2 goes to."""
        return "rack" if self.lab.topology.rack_router else "node2"


@pytest.fixture(scope="module", params=list(RackKind), ids=lambda kind: kind.value)
def stand(request: pytest.FixtureRequest, make_lab: Callable[[RackKind], Lab]) -> Stand:
    lab = make_lab(request.param)
    pods = [lab.attach(f"pod-{letter}", node) for letter, node in (("a", "node1"), ("b", "node2"))]
    for pod in pods:
        lab.in_pod(pod, "server", measure.server()).start()
    made = Stand(lab, *pods)
    await_subnets(made)
    return made


def await_subnets(stand: Stand) -> None:
    """Waits until the nodes have each other's subnets."""
    topology = stand.lab.topology
    for here, there in (topology.nodes, topology.nodes[::-1]):
        neighbour = topology.rack_router or there
        for subnet in there.subnets:
            gateway = topology.end(neighbour.name, here.name).address(subnet.version)
            observe.route_via(stand.lab, here.name, subnet, [gateway], seconds=observe.SESSION_SECONDS)


def via(stand: Stand, router: str, towards: str, prefix: Prefix) -> None:
    gateway = stand.lab.topology.end(towards, router).address(prefix.version)
    observe.route_via(stand.lab, router, prefix, [gateway])


@pytest.mark.parametrize("version", VERSIONS)
def test_pod_reaches_pod_by_plain_routing(stand: Stand, version: int) -> None:
    saw = observe.reply(stand.a.namespace, stand.b.address(version))
    assert saw.source == stand.a.address(version)
    routers = 2 if stand.lab.topology.rack is RackKind.NONE else 3
    assert saw.ttl == 64 - routers
    hops = measure.trace(stand.a.namespace, stand.b.address(version))
    assert len(hops) == routers + 1
    assert hops[-1] == measure.Hop(stand.b.address(version), arrived=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_everybody_reaches_both_pods_and_is_seen_with_an_address_of_its_own(
    stand: Stand, version: int
) -> None:
    askers = {pod.namespace: pod.address(version) for pod in (stand.a, stand.b)}
    client = stand.lab.topology.client
    if client:
        askers[stand.lab.namespace(client)] = str(stand.lab.topology.end(client, "rack").address(version))
    for namespace, own in askers.items():
        for pod in (stand.a, stand.b):
            assert observe.reply(namespace, pod.address(version)).source == own


def test_range_of_both_nodes_has_two_next_hops_at_the_rack_until_one_goes(stand: Stand) -> None:
    topology = stand.lab.topology
    if topology.rack_router is None:
        # Each node announces the range itself: its own path wins, and no route to it may come from the other.
        for node in topology.nodes:
            for shared in SERVICE_RANGES:
                observe.route_via(stand.lab, node.name, shared, [], seconds=0)
        return
    gateways = {
        s: [topology.end(n.name, "rack").address(s.version) for n in topology.nodes] for s in SERVICE_RANGES
    }
    for shared in SERVICE_RANGES:
        observe.route_via(stand.lab, "rack", shared, gateways[shared])
    gobgpd = stand.lab.program("node2", "gobgpd")
    gobgpd.signal(signal.SIGKILL)
    try:
        for shared in SERVICE_RANGES:
            observe.route_via(stand.lab, "rack", shared, gateways[shared][:1])
    finally:
        gobgpd.start()
    for shared in SERVICE_RANGES:
        observe.route_via(stand.lab, "rack", shared, gateways[shared], seconds=observe.SESSION_SECONDS)
    await_subnets(stand)


def test_pod_outside_its_node_s_subnets_is_announced_while_it_lives(stand: Stand) -> None:
    lone = stand.lab.attach("pod-c", "node2", "single")
    hosts = [ip_network(lone.address(version)) for version in VERSIONS]
    try:
        for host in hosts:
            via(stand, "node1", stand.hub, host)
        stand.lab.in_pod(lone, "server", measure.server()).start()
        for version in VERSIONS:
            assert observe.reply(stand.a.namespace, lone.address(version)).source == stand.a.address(version)
    finally:
        stand.lab.detach(lone)
    for host in hosts:
        observe.route_via(stand.lab, "node1", host, [])


def test_lost_link_removes_the_routes_behind_it_and_its_return_restores_them(stand: Stand) -> None:
    topology = stand.lab.topology
    away = topology.router("node2")
    netns.set_link(stand.lab.namespace("node2"), "uplink", "down")
    try:
        for subnet in away.subnets:
            observe.route_via(stand.lab, "node1", subnet, [], seconds=30)
    finally:
        netns.set_link(stand.lab.namespace("node2"), "uplink", "up")
    await_subnets(stand)
    for version in VERSIONS:
        assert observe.reply(stand.a.namespace, stand.b.address(version)).source == stand.a.address(version)


def test_no_router_has_a_tunnel_or_translates_addresses(stand: Stand) -> None:
    for router in stand.lab.topology.routers:
        expected = {end.device for end in stand.lab.topology.ends(router.name)}
        assert observe.only_plain_devices(stand.lab.namespace(router.name)).keys() >= expected
        observe.no_address_translation(stand.lab.namespace(router.name))
