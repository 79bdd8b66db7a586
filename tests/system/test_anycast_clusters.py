"""Two nodes in racks of their own under a spine, as two clusters are: who reaches a VIP, and who takes over."""

from __future__ import annotations

import signal
import time
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from bench.anycast import draining, reach
from bench.anycast.failover import HANG_CHECK
from bench.anycast.stage import silence, standing, unsilence
from lab import netns, observe, routing
from lab.load import drive
from lab.service import VERSIONS, Service
from lab.topology import Layout
from lab.waiting import until
from tests.system.conftest import unique_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.anycast.stage import Stage
    from lab.installed import Installation

NODE, OTHER = "node1", "node2"
FEW = 200


@pytest.fixture(scope="module")
def lab(installation: Installation) -> Iterator[Stage]:
    with standing(installation, Layout.ANYCAST, unique_name()) as made:
        yield made


@pytest.fixture
def stage(lab: Stage) -> Iterator[Stage]:
    """The lab without pods, before and after."""
    yield lab
    lab.clear()


@pytest.fixture
def both(stage: Stage) -> Service:
    """A service with a pod on each node, which both answer the client."""
    service = stage.service("plain")
    for node in (NODE, OTHER):
        stage.add(service, node)
    stage.await_client(service)
    answered_by(stage, service, {NODE, OTHER})
    return service


def answered_by(stage: Stage, service: Service, nodes: set[str]) -> None:
    """Waits until the client is answered from these nodes and no others, every time and with its own address."""

    def look(version: int) -> tuple[set[str], int, int]:
        sources = stage.sources(version)
        found = drive.spread(stage.client, service.vip(version), FEW, sources=sources)
        return {pod.partition("-")[0] for pod in found.pods}, sum(found.failed.values()), found.wrong_source

    for version in VERSIONS:
        until(
            lambda version=version: look(version),  # type: ignore[misc]
            lambda seen: seen == (nodes, 0, 0),
            seconds=30,
            what=f"{service.vip(version)} is answered from {sorted(nodes)}",
        )


def test_client_is_answered_over_every_protocol_and_seen_with_its_own_address(stage: Stage) -> None:
    rows = reach.clients(stage)
    assert {(row["protocol"], row["family"]) for row in rows} == {
        (protocol, family) for protocol in ("TCP", "UDP", "UDP flows") for family in ("IPv4", "IPv6")
    }
    for row in rows:
        assert (row["failed"], row["pods that saw another's address"]) == (0, 0), row
        assert str(row["answered by"]).count("node") == 2, row


def test_pods_reach_a_vip_from_its_node_from_another_and_from_an_endpoint(stage: Stage) -> None:
    rows = reach.pods(stage)
    assert len(rows) == 6
    for row in rows:
        assert (row["failed"], row["pods that saw another's address"]) == (0, 0), row
        for protocol in ("TCP", "UDP"):
            assert sum(dict(row[protocol]).values()) == 50, row  # type: ignore[call-overload]


def test_other_cluster_takes_over_when_the_last_pod_is_deleted(stage: Stage, both: Service) -> None:
    stage.remove(next(pod for pod in stage.pods if pod.startswith(NODE)))
    answered_by(stage, both, {OTHER})
    # On the node too: what the other announces stands where the group was.
    asker = stage.lab.attach("asker", NODE)
    try:
        for version in VERSIONS:
            rack = stage.lab.topology.uphill(NODE).address(version)
            observe.route_via(stage.lab, NODE, ip_network(both.prefix(version)), [rack])
            found = drive.spread(asker.namespace, both.vip(version), 20, sources=asker.address(version))
            assert (found.failed, found.wrong_source) == ({}, 0)
            assert all(pod.startswith(OTHER) for pod in found.pods)
    finally:
        stage.lab.detach(asker)
    stage.add(both, NODE)
    answered_by(stage, both, {NODE, OTHER})


def test_pod_that_hangs_is_left_out_until_it_goes_on(stage: Stage) -> None:
    service = stage.service("plain")
    pod = stage.pods[stage.add(service, NODE, check=HANG_CHECK)]
    stage.add(service, OTHER)
    answered_by(stage, service, {NODE, OTHER})
    server = service.server(pod)
    server.signal(signal.SIGSTOP)
    try:
        answered_by(stage, service, {OTHER})
    finally:
        server.signal(signal.SIGCONT)
    answered_by(stage, service, {NODE, OTHER})


def test_pod_whose_process_is_killed_is_left_out_before_any_del(stage: Stage) -> None:
    service = stage.service("plain")
    pod = stage.pods[stage.add(service, NODE, check=HANG_CHECK)]
    stage.add(service, OTHER)
    answered_by(stage, service, {NODE, OTHER})
    service.server(pod).signal(signal.SIGKILL)
    answered_by(stage, service, {OTHER})


def test_pod_that_says_it_is_not_well_is_left_out_until_it_is(stage: Stage, both: Service) -> None:
    pod = next(pod for pod in stage.pods if pod.startswith(NODE))
    file = both.health_file(stage.pods[pod])
    file.write_text("fail")
    answered_by(stage, both, {OTHER})
    file.write_text("ok")
    answered_by(stage, both, {NODE, OTHER})


def link_down(stage: Stage) -> Callable[[], None]:
    node = stage.lab.namespace(NODE)
    netns.set_link(node, "uplink", "down")
    return lambda: netns.set_link(node, "uplink", "up")


def silent(stage: Stage) -> Callable[[], None]:
    node = stage.lab.namespace(NODE)
    silence(node, "uplink")
    return lambda: unsilence(node)


@pytest.mark.parametrize("fail", [link_down, silent])
def test_other_cluster_takes_over_when_a_node_is_gone(
    stage: Stage, both: Service, fail: Callable[[Stage], Callable[[], None]]
) -> None:
    undo = fail(stage)
    try:
        answered_by(stage, both, {OTHER})
        for version in VERSIONS:
            spine = routing.gateways(stage.lab.namespace("spine"), ip_network(both.prefix(version)))
            assert len(spine) == 1
    finally:
        undo()
    answered_by(stage, both, {NODE, OTHER})


def test_drain_of_a_cluster_loses_no_request(stage: Stage, both: Service) -> None:
    for version in VERSIONS:
        found = draining.once(stage, both, version)
        assert found.sent > 1000
        assert found.lost == found.switched <= 5


def test_speaker_that_is_restarted_loses_no_request(stage: Stage, both: Service) -> None:
    for pod in [pod for pod in stage.pods if pod.startswith(OTHER)]:
        stage.remove(pod)
    answered_by(stage, both, {NODE})
    speaker = stage.lab.program(NODE, "speaker")
    where = stage.client, both.vip(6), 100.0
    with drive.Requests(*where, sources=stage.sources(6), patience=3.0) as requests:
        for number in (signal.SIGTERM, signal.SIGKILL):
            speaker.signal(number)
            time.sleep(0.5)
            speaker.start()
            time.sleep(2.0)
    assert requests.of("lost") == []
    assert requests.last["pods"].keys() == {pod for pod in stage.pods if pod.startswith(NODE)}


def sent_by_rack(stage: Stage, service: Service, nearest: bool) -> None:
    """Waits until node1's own rack sends to node1 alone, or elsewhere alone."""
    for version in VERSIONS:
        until(
            lambda version=version: set(stage.shares(stage.rack_of(NODE), service, version)),  # type: ignore[misc]
            lambda seen: seen == {NODE} if nearest else len(seen) == 1 and NODE not in seen,
            seconds=30,
            what=f"{NODE}'s rack sends {service.vip(version)} to the nearest cluster: {nearest}",
        )


def test_nearest_cluster_answers_and_another_while_that_one_is_drained(stage: Stage, both: Service) -> None:
    sent_by_rack(stage, both, nearest=True)
    stage.anypod(NODE, "drain", "--vip", both.vip(4), "--no-wait")
    stage.anypod(NODE, "drain", "--vip", both.vip(6), "--no-wait")
    sent_by_rack(stage, both, nearest=False)
    for version in VERSIONS:
        stage.anypod(NODE, "undrain", "--vip", both.vip(version))
    sent_by_rack(stage, both, nearest=True)


def test_cluster_with_too_few_endpoints_answers_only_when_no_other_does(stage: Stage, both: Service) -> None:
    config = stage.lab.place(NODE).speaker_toml
    text = config.read_text()
    config.write_text(text.replace('name = "plain"\n', 'name = "plain"\nmin-endpoints = 2\n'))
    try:
        answered_by(stage, both, {OTHER})
        second = stage.add(both, NODE)
        answered_by(stage, both, {NODE, OTHER})
        stage.remove(second)
        answered_by(stage, both, {OTHER})
        for pod in [pod for pod in stage.pods if pod.startswith(OTHER)]:
            stage.remove(pod)
        answered_by(stage, both, {NODE})
    finally:
        config.write_text(text)
    stage.add(both, OTHER)
    answered_by(stage, both, {NODE, OTHER})


def test_drain_outlives_kills_of_speaker_and_gobgpd(stage: Stage, both: Service) -> None:
    stage.anypod(NODE, "drain", "--node", "--no-wait")
    answered_by(stage, both, {OTHER})
    programs = [stage.lab.program(NODE, name) for name in ("speaker", "gobgpd")]
    for program in programs:
        program.signal(signal.SIGKILL)
    for program in reversed(programs):
        program.start()
    observe.sessions_up(stage.lab, NODE)
    stage.anypod(NODE, "drain", "--node")  # waits for its end, and starts nothing anew
    sent_by_rack(stage, both, nearest=False)
    answered_by(stage, both, {OTHER})
    stage.anypod(NODE, "undrain", "--node")
    answered_by(stage, both, {NODE, OTHER})
