"""kube-proxy's IPVS mode in front of our bridge, on a kernel that has IPVS.

Two nodes and a router between them, with static routes: the machine has no BGP speaker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system import kube_checks, kube_ipvs
from tests.system.kube_proxy import Cluster
from tests.system.kube_rig import FAMILIES, GATEWAY, PLAIN, PODS, SERVICES, WEB, Stand, everywhere, feed
from tests.system.plugin_node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUTER = {4: "192.0.2.{}1", 6: "2001:db8:{}::1"}
UPLINK = {4: "192.0.2.{}2", 6: "2001:db8:{}::2"}
LENGTH = {4: 28, 6: 64}
SUBNET = {4: "10.244.{}.0/24", 6: "fd00:10:244:{}::/64"}


def join(router: Node, node: Node, number: int) -> None:
    """A link between a node and the router, the node's default route, and the route to its pods."""
    uplink = f"to-{number}"
    node.execute(node.name, *f"ip link add up0 type veth peer name {uplink} netns {router.name}".split())
    for one, device, addresses in ((node, "up0", UPLINK), (router, uplink, ROUTER)):
        for family in FAMILIES:
            address = f"{addresses[family].format(number)}/{LENGTH[family]}"
            one.ip("addr", "add", address, "dev", device, "nodad")
        one.execute(one.name, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        one.ip("link", "set", device, "up")
    service = (WEB, PLAIN)[number - 1]
    for family in FAMILIES:
        node.ip("route", "add", "default", "via", ROUTER[family].format(number))
        # As racks do with a service range that nodes announce; here each node gets another service.
        router.ip("route", "add", service[family], "via", UPLINK[family].format(number))
        router.ip("route", "add", SUBNET[family].format(number), "via", UPLINK[family].format(number))


def balance(stand: Stand) -> None:
    """Has IPVS on both nodes do what kube-proxy would have it do."""
    for node in stand.nodes:
        for key in kube_ipvs.SYSCTLS:
            node.execute(node.name, "sysctl", "-qw", f"net.ipv4.vs.{key}=1")
        node.ip("link", "add", kube_ipvs.DEVICE, "type", "dummy")
        held = {one.partition("/")[0] for addresses in node.held().values() for one in addresses}
        for family in FAMILIES:
            ports, cluster = stand.ports(family), Cluster(PODS[family], SERVICES[family])
            for address in {one.cluster_ip for one in ports}:
                node.ip("addr", "add", f"{address}/{32 if family == 4 else 128}", "dev", kube_ipvs.DEVICE)
            feed(node, kube_ipvs.servers(ports), "ipvsadm", "-R")
            feed(node, kube_ipvs.sets(ports, cluster, held), "ipset", "restore")
            program = "iptables-nft-restore" if family == 4 else "ip6tables-nft-restore"
            feed(node, kube_ipvs.iptables(cluster), program)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def router(plugin: Path, state: Path) -> Iterator[Node]:
    """What joins the nodes, and a client outside of them."""
    made = Node(plugin, state / "router")
    made.up()
    yield made
    made.down()


@pytest.fixture(scope="module")
def stand(plugin: Path, state: Path, router: Node) -> Iterator[Stand]:
    nodes = [Node(plugin, state / name) for name in ("first", "second")]
    try:
        for number, node in enumerate(nodes, 1):
            node.up()
            join(router, node, number)
        made = Stand(*nodes)
        balance(made)
        yield made
        made.close()
    finally:
        for node in nodes:
            node.down()


def test_pods_of_both_nodes_and_a_node_reach_a_service(stand: Stand) -> None:
    kube_checks.pods_of_both_nodes_and_a_node_reach_a_service(stand)


def test_a_client_outside_reaches_a_service_by_either_node(stand: Stand, router: Node) -> None:
    stand.filter_bridges(on=True)
    kube_checks.answered(stand, router.name, WEB, everywhere("a", GATEWAY))
    other = {family: UPLINK[family].format(2) for family in FAMILIES}
    kube_checks.answered(stand, router.name, PLAIN, everywhere("plain", other))


def test_a_service_is_shared_between_its_pods_of_both_nodes(stand: Stand) -> None:
    kube_checks.a_service_is_shared_between_its_pods_of_both_nodes(stand)


def test_a_pod_reaches_itself_by_its_service(stand: Stand) -> None:
    kube_checks.a_pod_reaches_itself_by_its_service(stand)


def test_past_the_bridges_filter_pods_of_the_same_node_go_without(stand: Stand) -> None:
    kube_checks.past_the_bridges_filter_pods_of_the_same_node_go_without(stand)
