"""kube-proxy's own rules in front of our bridge: who reaches a service's address, on one node and across nodes.

The nodes, their speakers and the rack between them are the lab's.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from lab import netns, observe
from lab.plan import SERVICE_RANGES
from lab.topology import RackKind
from tests.system import kube_checks
from tests.system.kube_rig import (
    CONFLIST,
    EXAMPLES,
    FAMILIES,
    GATEWAY,
    PORT,
    SERVICES,
    UNUSED,
    WEB,
    Stand,
    everywhere,
    feed,
)
from tests.system.plugin_node import SECONDS, Node
from tests.system.traffic import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.rig import Lab


@pytest.fixture(scope="module")
def lab(make_lab: Callable[[RackKind], Lab]) -> Lab:
    """A lab whose nodes have each other's pod subnets, and whose rack sends services to both nodes.

    Each node has a default route, without which nothing of its own could ask a service.
    """
    made = make_lab(RackKind.GOBGP)
    topology = made.topology
    for node in topology.nodes:
        rack = topology.end("rack", node.name)
        netns.add_default_routes(topology.namespace(node.name), [one.ip for one in rack.addresses])
    assert {str(one) for one in SERVICE_RANGES} == set(SERVICES.values())
    for here, there in (topology.nodes, topology.nodes[::-1]):
        for subnet in there.subnets:
            gateway = topology.end("rack", here.name).address(subnet.version)
            observe.route_via(made, here.name, subnet, [gateway], seconds=observe.SESSION_SECONDS)
    for prefix in SERVICE_RANGES:
        hops = [topology.end(node.name, "rack").address(prefix.version) for node in topology.nodes]
        observe.route_via(made, "rack", prefix, hops, seconds=observe.SESSION_SECONDS)
    return made


@pytest.fixture(scope="module")
def stand(lab: Lab) -> Iterator[Stand]:
    nodes = [
        Node(lab.installation.plugin, lab.place(one.name).state, lab.topology.namespace(one.name))
        for one in lab.topology.nodes
    ]
    made = Stand(*nodes)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module", params=["iptables", "nftables"])
def mode(request: pytest.FixtureRequest, stand: Stand) -> str:
    """kube-proxy's rules of one of its modes on both nodes."""
    stand.proxy(request.param)
    return str(request.param)


@pytest.mark.usefixtures("mode")
def test_pods_of_both_nodes_and_a_node_reach_a_service(stand: Stand) -> None:
    kube_checks.pods_of_both_nodes_and_a_node_reach_a_service(stand)


@pytest.mark.usefixtures("mode")
def test_a_service_is_shared_between_its_pods_of_both_nodes(stand: Stand) -> None:
    kube_checks.a_service_is_shared_between_its_pods_of_both_nodes(stand)


@pytest.mark.usefixtures("mode")
def test_a_pod_reaches_itself_by_its_service(stand: Stand) -> None:
    kube_checks.a_pod_reaches_itself_by_its_service(stand)


@pytest.mark.usefixtures("mode")
def test_past_the_bridges_filter_pods_of_the_same_node_go_without(stand: Stand) -> None:
    kube_checks.past_the_bridges_filter_pods_of_the_same_node_go_without(stand)


def test_past_the_bridges_filter_masquerading_brings_the_answers_back(mode: str, stand: Stand) -> None:
    stand.filter_bridges(on=False)
    stand.proxy(mode, masquerade_all=True)
    try:
        assert stand.answers(stand.b.namespace, WEB) == everywhere("a", GATEWAY)
    finally:
        stand.proxy(mode)


@pytest.mark.usefixtures("mode")
def test_a_client_outside_reaches_a_service_by_the_range_that_nodes_announce(lab: Lab, stand: Stand) -> None:
    stand.filter_bridges(on=True)
    client = lab.namespace("client")
    for family in FAMILIES:
        # By the pod's node, or by the other one, which masquerades to have the answer come back.
        other = str(lab.topology.end("node2", "rack").address(family))
        assert ask(client, WEB[family], PORT) in {f"a {GATEWAY[family]}", f"a {other}"}


def test_what_is_sent_to_no_service_ends_at_the_first_node(mode: str, lab: Lab, stand: Stand) -> None:
    client = lab.namespace("client")
    # Where the rack sends it, the default route leads back to the rack; kube-proxy's nftables mode drops it.
    assert travels_in_circles(client) is (mode == "iptables")
    with ending_it(stand):
        assert {ask(client, UNUSED[family], PORT) for family in FAMILIES} == {"refused"}
        assert not travels_in_circles(client)
        assert stand.answers(stand.b.namespace, WEB) == everywhere("a", stand.b.addresses)


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("on", [False, True], ids=["past the filter", "through the filter"])
def test_doctor_tells_what_kube_proxy_needs(lab: Lab, stand: Stand, tmp_path: Path, on: bool) -> None:
    stand.filter_bridges(on)
    conflist = tmp_path / "10-pods.conflist"
    conflist.write_text(CONFLIST.read_text().replace('"hairpinMode": true,', ""))
    node = stand.nodes[0]
    argv = [*lab.installation.anypod, "doctor", "-o", "json", "--conflists", str(tmp_path)]
    shown = subprocess.run(
        ["ip", "netns", "exec", node.name, *argv, "--state-dir", str(node.state)],
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    ).stdout
    found = [one for one in json.loads(shown) if one["about"] == "bridge-netfilter" and one["level"] != "ok"]
    assert [("hairpinMode" if on else "br_netfilter") in one["fix"] for one in found] == [True]


@contextmanager
def ending_it(stand: Stand) -> Iterator[None]:
    """With the example's rules for the service ranges on both nodes."""
    for node in stand.nodes:
        feed(node, (EXAMPLES / "service-range.nft").read_text(), "nft", "-f", "-")
    try:
        yield
    finally:
        for node in stand.nodes:
            feed(node, "delete table inet service-range", "nft", "-f", "-")


def travels_in_circles(client: str) -> bool:
    """Whether a packet to an address without a service is passed on until its time to live is over."""
    pings = [
        subprocess.run(
            ["ip", "netns", "exec", client, "ping", "-c1", "-W2", UNUSED[family]],
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        ).stdout
        for family in FAMILIES
    ]
    return all("exceeded" in one for one in pings)
