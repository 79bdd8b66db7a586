"""The design "rack" of cluster.toml: two nodes, each behind a router of another make, which know each other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from lab import netns
from tests.system.gobgp_rig import Member, wait
from tests.system.peers_rig import join
from tests.system.peers_routers import Bird, Frr, Router, bird_conf, frr_conf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RACK_ASN = {1: 65701, 2: 65702}
CLUSTER = '[cluster]\ndesign = "rack"\n' + "".join(
    f'[[rack]]\nname = "r{n}"\n'
    f'[[rack.router]]\naddress = "10.98.{n}.2"\nasn = {asn}\n'
    f'[[rack.router]]\naddress = "fd98:{n}::2"\nasn = {asn}\n'
    f'[[node]]\nname = "behind-{n}"\naddresses = ["10.98.{n}.1", "fd98:{n}::1"]\n'
    f'subnets = ["10.244.{n}.0/24", "fd24:{n}::/64"]\nasn = {65000 + n}\nrack = "r{n}"\n'
    for n, asn in RACK_ASN.items()
)


class Chain:
    """node 1, FRR, BIRD, node 2, in a row."""

    def __init__(self, directory: Path) -> None:
        self.members: list[Member] = []
        try:
            self.build(directory)
        except BaseException:
            self.close()
            raise

    def build(self, directory: Path) -> None:
        self.nodes = {n: self.add(Member(f"node{n}", directory)) for n in RACK_ASN}
        self.frr, self.bird = Frr("frr", directory, 1), Bird("bird", directory, 2)
        routers: tuple[Router, Router] = (self.frr, self.bird)
        for router in routers:
            self.add(router)
        for n, router in enumerate(routers, start=1):
            join(self.nodes[n], "uplink", router, "node")
            for member, device, host in ((self.nodes[n], "uplink", 1), (router, "node", 2)):
                member.ip("address", "add", f"10.98.{n}.{host}/24", "dev", device)
                member.ip("address", "add", f"fd98:{n}::{host}/64", "dev", device, "nodad")
        join(self.frr, "core", self.bird, "core")
        for n, router in enumerate(routers, start=1):
            router.ip("address", "add", f"10.98.9.{n}/24", "dev", "core")
            router.ip("address", "add", f"fd98:9::{n}/64", "dev", "core", "nodad")

    def add(self, member: Member) -> Member:
        self.members.append(member)
        netns.configure(member.ns)  # no duplicate detection: FRR waits for link-local addresses
        return member

    def up(self) -> None:
        neighbours = [("10.98.1.1", 65001), ("fd98:1::1", 65001), ("10.98.9.2", 65702), ("fd98:9::2", 65702)]
        lines = "".join(
            f"neighbor {address} remote-as {asn}\nneighbor {address} timers connect 1\n"
            for address, asn in neighbours
        )
        six = "".join(f"neighbor {address} activate\n" for address, _ in neighbours if ":" in address)
        self.frr.start_frr(frr_conf(65701, 1, lines, ipv6=six))
        sessions = [
            ("10.98.2", 1, 65002),
            ("10.98.9", 1, 65701),
            ("fd98:2:", 1, 65002),
            ("fd98:9:", 1, 65701),
        ]
        self.bird.start_bird(bird_conf(2, *(bird_session(*session) for session in sessions)))
        for node in self.nodes.values():
            file = node.directory / "cluster.toml"
            file.write_text(
                f'{CLUSTER}[gobgpd]\napi = "unix://{node.socket}"\n[state]\ndir = "{node.directory / "state"}"\n'
            )
            node.start_gobgpd()
            command = [sys.executable, "-m", "speaker.cli", "speaker", "run", "--cluster", str(file)]
            node.start("speaker", command, node.log)

    def close(self) -> None:
        for member in self.members:
            member.close()


def bird_session(network: str, host: int, asn: int) -> str:
    dot, version = (":", 6) if ":" in network else (".", 4)
    return (
        f"protocol bgp {{ local {network}{dot}2 as 65702; neighbor {network}{dot}{host} as {asn};"
        f" connect delay time 1; ipv{version} {{ import all; export all; }}; }}"
    )


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    chain = Chain(tmp_path_factory.mktemp("chain"))
    try:
        chain.up()
        yield chain
    finally:
        chain.close()


def reaches(node: Member, prefix: str, hop: str) -> None:
    wait(f"{prefix} at {node.directory.name}", lambda: node.gateways(prefix) == {hop}, 30)


def test_each_node_reaches_the_other_over_its_racks_router(chain: Chain) -> None:
    for here, there in ((1, 2), (2, 1)):
        reaches(chain.nodes[here], f"10.244.{there}.0/24", f"10.98.{here}.2")
        reaches(chain.nodes[here], f"fd24:{there}::/64", f"fd98:{here}::2")


def test_nodes_peer_with_nobody_but_their_router(chain: Chain) -> None:
    for n, node in chain.nodes.items():
        assert {entry["conf"]["neighbor_address"] for entry in node.neighbours()} == {
            f"10.98.{n}.2",
            f"fd98:{n}::2",
        }


def test_the_path_between_them_is_of_four_systems(chain: Chain) -> None:
    wait("the subnet", lambda: chain.bird.has("10.244.1.0/24"), 30)
    assert chain.bird.attributes("10.244.1.0/24")["as_path"] == "65701 65001"
    assert chain.frr.paths("10.244.2.0/24")[0]["aspath"]["string"] == "65702 65002"
