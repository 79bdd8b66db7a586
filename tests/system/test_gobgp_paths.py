"""Paths of a real gobgpd as FRR has them: attributes, next hops, reflection; and a peer at another port."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest

from speaker.bgp import Attributes, Family, LocalPath, Peer, Rule, Source
from tests.system.gobgp_rig import wait
from tests.system.gobgp_steered import KINDS, OPEN, Neighbour, Steered, options, rack, steered_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.peers_routers import Frr

PORT = 1179
TAGGED = Attributes(frozenset({65001 << 16 | 100}), frozenset({(65001, 1, 2)}), local_pref=250, med=9)
PATHS = (
    LocalPath(ip_network("10.244.1.0/24"), ip_address(0), TAGGED),
    LocalPath(ip_network("10.244.2.0/24"), ip_address("10.98.1.77")),
    LocalPath(ip_network("fd24:1::/64"), ip_address("::"), TAGGED),
    LocalPath(ip_network("fd24:2::/64"), ip_address("fd98:1::77")),
)
REFLECTED = "10.60.0.0/16"


class Node:
    """A gobgpd with an eBGP rack at another port, over IPv6 only, and two clients of its reflector."""

    def __init__(self, steered: Steered) -> None:
        self.steered = steered
        self.rack = rack(steered, 65002, "-p", str(PORT))
        self.clients = [rack(steered, 65001, name=f"client{number}") for number in (1, 2)]
        steered.do(steered.session.set_policies(OPEN))
        steered.do(steered.session.announce(PATHS))
        Neighbour(self.rack, 65002, self.rack.node_v6, 65001, "passive").__enter__()
        steered.add(Peer(ip_address(self.rack.v6), options(65002), port=PORT))
        for router in self.clients:
            Neighbour(router, 65001, router.node_v4, 65001).__enter__()
            reflecting = options(65001, reflector_client=True, cluster_id="10.0.0.99", families={Family.IPV4})
            steered.add(Peer(ip_address(router.v4), reflecting))
        self.clients[0].vtysh(
            "configure terminal", "router bgp 65001", "address-family ipv4 unicast", f"network {REFLECTED}"
        )
        steered.wait_up(self.rack.v6, *(router.v4 for router in self.clients))


@pytest.fixture(scope="module", params=KINDS)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with steered_in(tmp_path_factory.mktemp("steered"), request.param) as steered:
        yield Node(steered)


def path(router: Frr, prefix: str) -> dict[str, Any]:
    wait(prefix, lambda: router.has(prefix))
    return router.paths(prefix)[0]


def hops(router: Frr, prefix: str) -> list[str]:
    return [hop["ip"] for hop in path(router, prefix)["nexthops"] if hop.get("scope", "global") == "global"]


def test_a_peer_at_another_port_is_dialled_there(node: Node) -> None:
    assert node.steered.status(node.rack.v6).peer.port == PORT
    assert node.rack.neighbour(node.rack.node_v6)["portLocal"] == PORT


@pytest.mark.parametrize("prefix", ["10.244.1.0/24", "fd24:1::/64"])
def test_attributes_reach_an_external_peer(node: Node, prefix: str) -> None:
    found = path(node.rack, prefix)
    assert (found["community"]["string"], found["largeCommunity"]["string"]) == ("65001:100", "65001:1:2")
    assert (found["metric"], found["aspath"]["string"]) == (9, "65001")
    assert "locPrf" not in found


def test_the_local_preference_reaches_an_internal_peer(node: Node) -> None:
    for router in node.clients:
        found = path(router, "10.244.1.0/24")
        assert (found["locPrf"], found["metric"], found["aspath"]["string"]) == (250, 9, "Local")
        assert path(router, "10.244.2.0/24")["locPrf"] == 100


def test_an_unspecified_next_hop_is_the_sessions_address(node: Node) -> None:
    """Also of an IPv4 prefix over an IPv6 session (RFC 8950)."""
    for prefix in ("10.244.1.0/24", "fd24:1::/64"):
        assert hops(node.rack, prefix) == [node.rack.node_v6]
    for router in node.clients:
        assert hops(router, "10.244.1.0/24") == [router.node_v4]


def test_a_next_hop_that_is_given_stays(node: Node) -> None:
    assert hops(node.rack, "fd24:2::/64") == ["fd98:1::77"]
    for router in node.clients:
        assert hops(router, "10.244.2.0/24") == ["10.98.1.77"]


def test_attributes_come_back_as_they_went(node: Node) -> None:
    found = node.steered.do(node.steered.session.table([path.prefix for path in PATHS]))
    assert {entry.ours for entry in found} == set(PATHS)


def test_a_change_of_an_attribute_reaches_the_peer(node: Node) -> None:
    changed = LocalPath(PATHS[0].prefix, PATHS[0].next_hop, Attributes(med=11))
    node.steered.do(node.steered.session.announce([changed]))
    wait("the MED", lambda: path(node.rack, "10.244.1.0/24")["metric"] == 11)
    assert "community" not in path(node.rack, "10.244.1.0/24")
    node.steered.do(node.steered.session.announce(PATHS))
    wait("as before", lambda: path(node.rack, "10.244.1.0/24")["metric"] == 9)


def test_a_clients_path_is_not_told_by_rules_for_local_ones(node: Node) -> None:
    wait("it", lambda: node.steered.do(node.steered.session.table([ip_network(REFLECTED)])))
    assert not node.clients[1].has(REFLECTED)


def test_a_clients_path_is_reflected_with_its_cluster(node: Node) -> None:
    internal = Rule(accept=True, source=Source.INTERNAL)
    node.steered.do(node.steered.session.set_policies(replace(OPEN, exports=(*OPEN.exports, internal))))
    found = path(node.clients[1], REFLECTED)
    assert found["originatorId"] == node.clients[0].v4
    assert found["clusterList"]["list"] == ["10.0.0.99"]
    assert hops(node.clients[1], REFLECTED) == [node.clients[0].v4]
    (entry,) = node.steered.do(node.steered.session.table([ip_network(REFLECTED)]))
    assert [one.external for one in entry.learned] == [False]
