"""Three nodes and a FRR router that peer with a reflector and with nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import Member, wait
from tests.system.peers_rig import ASN, configure, join, peer
from tests.system.peers_routers import Frr, frr_conf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODES = (1, 2, 11)
REFLECTOR, CLIENT = 5, 12
DYNAMIC = {"four": "10.97.0.8/29", "six": "fd97::8/125"}  # node 11 and the client
CLUSTER = "192.0.2.9"
BOTH = ["ipv4", "ipv6"]


def v4(number: int) -> str:
    return f"10.97.0.{number}"


def v6(number: int) -> str:
    return f"fd97::{number:x}"


def subnets(number: int) -> tuple[str, str]:
    return f"10.244.{number}.0/24", f"fd24:{number}::/64"


class Cluster:
    """One LAN; members are numbered, and so are their addresses."""

    def __init__(self, directory: Path) -> None:
        self.members: list[Member] = []
        try:
            self.build(directory)
        except BaseException:
            self.close()
            raise

    def build(self, directory: Path) -> None:
        self.lan = self.add(Member("lan", directory))
        self.lan.ip("link", "add", "lan", "type", "bridge")
        self.lan.ip("link", "set", "lan", "up")
        self.nodes = {number: self.add(Member(f"node{number}", directory), number) for number in NODES}
        self.reflector = self.add(Member("reflector", directory), REFLECTOR)
        self.client = Frr("client", directory, CLIENT)
        self.add(self.client, CLIENT)

    def add(self, member: Member, number: int = 0) -> Member:
        self.members.append(member)
        if number:
            join(self.lan, f"port{number}", member, "lan")
            self.lan.ip("link", "set", f"port{number}", "master", "lan")
            member.ip("address", "add", f"{v4(number)}/24", "dev", "lan")
            member.ip("address", "add", f"{v6(number)}/64", "dev", "lan", "nodad")
        return member

    def up(self) -> None:
        waits = "".join(
            peer(address(number), ASN, reflector_client=True, cluster_id=CLUSTER, passive=True)
            for number in NODES[:2]
            for address in (v4, v6)
        )
        groups = "".join(
            f'[[dynamic-peer]]\nname = "{name}"\nprefixes = ["{prefix}"]\nasn = {ASN}\n'
            f'reflector-client = true\ncluster-id = "{CLUSTER}"\n'
            for name, prefix in DYNAMIC.items()
        )
        body = f"{waits}{groups}[kernel]\ninstall = false\n"
        configure(self.reflector, ASN, v4(REFLECTOR), "", body)
        for number, node in self.nodes.items():
            own = ", ".join(f'"{subnet}"' for subnet in subnets(number))
            body = peer(v4(REFLECTOR), ASN) + peer(v6(REFLECTOR), ASN) + f"[announce]\nsubnets = [{own}]\n"
            configure(node, ASN, v4(number), "", body)
        lines = f"neighbor {v4(REFLECTOR)} remote-as {ASN}\nneighbor {v4(REFLECTOR)} timers connect 1\n"
        self.client.start_frr(frr_conf(ASN, CLIENT, lines, "network 10.4.0.0/16\n"))
        for member in (self.reflector, *self.nodes.values()):
            member.start_gobgpd()
            member.start_speaker()

    def close(self) -> None:
        for member in self.members:
            member.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("reflectors"))
    try:
        cluster.up()
        wait("seven sessions", lambda: cluster.reflector.established() == 7, 40)
        yield cluster
    finally:
        cluster.close()


def test_every_node_routes_to_the_others_themselves(cluster: Cluster) -> None:
    for here, node in cluster.nodes.items():
        assert len(node.neighbours()) == 2
        for there in set(NODES) - {here}:
            for prefix, hop in zip(subnets(there), (v4(there), v6(there)), strict=True):
                wait(f"{prefix} at node{here}", lambda n=node, p=prefix, h=hop: n.gateways(p) == {h}, 15)  # type: ignore[misc]


def test_a_client_of_another_make_is_one_of_them(cluster: Cluster) -> None:
    for number, node in cluster.nodes.items():
        prefix = subnets(number)[0]
        wait(prefix, lambda p=prefix: cluster.client.has(p), 15)  # type: ignore[misc]
        path = cluster.client.paths(prefix)[0]
        assert path["originatorId"] == v4(number)
        assert path["clusterList"]["list"] == [CLUSTER]
        assert path["nexthops"][0]["ip"] == v4(number)
        wait("its own", lambda n=node: n.gateways("10.4.0.0/16") == {v4(CLIENT)}, 15)  # type: ignore[misc]


def test_the_reflector_itself_is_no_hop(cluster: Cluster) -> None:
    assert cluster.reflector.ip("route", "show", "proto", "177") == ""


def test_a_node_that_goes_is_forgotten_by_all_and_comes_back(cluster: Cluster) -> None:
    prefix = subnets(11)[0]
    gone = cluster.nodes[11]
    wait("it is there", lambda: cluster.nodes[1].gateways(prefix) == {v4(11)}, 15)
    gone.kill("gobgpd")
    for number in (1, 2):
        wait("it goes", lambda n=number: cluster.nodes[n].routes(prefix) == [], 15)  # type: ignore[misc]
    gone.start_gobgpd()
    for number in (1, 2):
        wait("it is back", lambda n=number: cluster.nodes[n].gateways(prefix) == {v4(11)}, 30)  # type: ignore[misc]
