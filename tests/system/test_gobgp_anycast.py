"""One virtual IP from two nodes, each with a real gobgpd, as an FRR rack has it: shares of the load, and draining."""

from __future__ import annotations

import json
import time
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest

from speaker.anycast.judge import Standing, Verdict
from speaker.anycast.paths import path_of
from speaker.bgp import BgpGlobal, Family, Peer
from speaker.kernel.vipgroups import VipRoute
from speaker.policy import policies
from speaker.settings import Announcement, Anycast, Api, Config, PeerPolicy, Pool
from tests.system.gobgp_rig import run, wait
from tests.system.gobgp_steered import KINDS, Neighbour, Steered, options, rack, steered_in
from tests.system.peers_rig import join

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODES = (BgpGlobal(65001, "10.98.0.1"), BgpGlobal(4200000002, "10.98.0.2"))
ADDRESSES = {65001: ("10.98.1.1", "fd98:1::1"), 4200000002: ("10.98.201.1", "fd98:201::1")}
RACK = 65100
VIPS = ("198.51.100.10", "2001:db8:a::10")
POOL = Announcement("edge", (ip_network("198.51.100.0/24"), ip_network("2001:db8:a::/64")))
SECONDS = 15


class Fabric:
    """Two nodes of different ASes at one rack; the first has an iBGP neighbour and rules for its rack, too."""

    def __init__(self, nodes: tuple[Steered, Steered]) -> None:
        self.nodes = nodes
        first, second = nodes
        self.rack = rack(first, RACK, name="rack")
        self.inner = rack(first, 65001, name="inner")
        join(second.node, "r201", self.rack, "node2")
        for member, device, host in ((second.node, "r201", 1), (self.rack, "node2", 2)):
            member.ip("address", "add", f"10.98.201.{host}/24", "dev", device)
            member.ip("address", "add", f"fd98:201::{host}/64", "dev", device, "nodad")
        families = (f"address-family {family} unicast" for family in ("ipv4", "ipv6"))
        paths = (word for family in families for word in (family, "maximum-paths 8", "exit"))
        self.rack.vtysh("configure terminal", f"router bgp {RACK}", *paths)
        for steered, own, number in zip(nodes, NODES, (1, 201), strict=True):
            self._peer(steered, own, [f"10.98.{number}.2", f"fd98:{number}::2"])
        Neighbour(self.inner, 65001, self.inner.node_v4, 65001).__enter__()
        first.add(Peer(ip_address(self.inner.v4), options(65001)))
        first.wait_up(self.inner.v4)

    def _peer(self, steered: Steered, own: BgpGlobal, there: list[str]) -> None:
        peers = tuple(
            Peer(address, options(RACK, families=frozenset({Family(address.version)})))
            for address in map(ip_address, there)
        )
        # The MED is overruled for what drains; and what the rack tells of a VIP does not take the place of the own.
        rules = dict.fromkeys(there, PeerPolicy(export_med=7, import_local_pref=200))
        config = Config(own, Api("unix:///s"), peers, policies=rules, anycast=Anycast(pools=(Pool(POOL),)))
        steered.do(steered.session.set_policies(policies(config)))
        for here, peer in zip(ADDRESSES[own.asn], peers, strict=True):
            Neighbour(self.rack, RACK, here, own.asn).__enter__()
            steered.add(peer)
        steered.wait_up(*there)

    def announce(self, node: int, load: int = 0, drains: bool = False) -> None:
        steered = self.nodes[node]
        standing = Standing.DEPREFERRED if drains else Standing.ANNOUNCED
        verdicts = [
            Verdict(ip_address(vip), None, VipRoute(ip_network(vip), ()), standing, "", (), (), load)
            for vip in VIPS
        ]
        paths = [path for path in (path_of(verdict, POOL, load) for verdict in verdicts) if path is not None]
        steered.do(steered.session.announce(paths))
        found = steered.do(steered.session.table([path.prefix for path in paths]))
        assert {entry.ours for entry in found} == set(paths)

    def weights(self, vip: str) -> dict[str, int]:
        """The rack's kernel route for it: weights by the nodes' numbers, of one alone 0."""
        version = "-6" if ":" in vip else "-4"
        (route,) = json.loads(run("ip", "-n", self.rack.ns, version, "-j", "route", "show", vip)) or [{}]
        hops = route.get("nexthops") or ([{**route, "weight": 0}] if "gateway" in route else [])
        return {("two" if "201" in hop["gateway"] else "one"): hop["weight"] for hop in hops}

    def path(self, vip: str, asn: int) -> dict[str, Any]:
        """The path of a node at the rack."""
        prefix = str(ip_network(vip))
        found = [path for path in self.rack.paths(prefix) if path["aspath"]["string"].startswith(str(asn))]
        return found[0] if found else {}


@pytest.fixture(scope="module", params=KINDS)
def fabric(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    def directory(number: int) -> Path:
        return tmp_path_factory.mktemp(f"node{number}")

    with (
        steered_in(directory(1), request.param, NODES[0]) as first,
        steered_in(directory(2), request.param, NODES[1]) as second,
    ):
        yield Fabric((first, second))


@pytest.mark.parametrize("vip", VIPS)
def test_a_rack_shares_load_in_the_proportion_that_the_nodes_say(fabric: Fabric, vip: str) -> None:
    """FRR does so without being told to, over eBGP, also for the AS that two octets can't name."""
    for shares in ((1, 3), (2, 2), (40, 10)):
        for node, share in enumerate(shares):
            fabric.announce(node, share)
        percent = [100 * share // sum(shares) for share in shares]
        expected = dict(zip(("one", "two"), percent, strict=True))
        wait(f"{expected}", lambda expected=expected: fabric.weights(vip) == expected, SECONDS)  # type: ignore[misc]


@pytest.mark.parametrize("vip", VIPS)
def test_without_a_bandwidth_it_shares_by_nodes(fabric: Fabric, vip: str) -> None:
    fabric.announce(0)
    fabric.announce(1, 3)
    wait("even shares", lambda: fabric.weights(vip) == {"one": 1, "two": 1}, SECONDS)
    assert (fabric.path(vip, 65001)["aspath"]["string"], fabric.path(vip, 65001)["metric"]) == ("65001", 7)


@pytest.mark.parametrize("vip", VIPS)
def test_what_drains_loses_against_the_other_node(fabric: Fabric, vip: str) -> None:
    for node in (0, 1):
        fabric.announce(node)
    wait("both", lambda: len(fabric.weights(vip)) == 2, SECONDS)
    fabric.announce(0, drains=True)
    wait("the other one alone", lambda: fabric.weights(vip) == {"two": 0}, SECONDS)
    found = fabric.path(vip, 65001)
    assert found["aspath"]["string"] == "65001 65001 65001 65001"
    assert (found["community"]["string"], found["metric"]) == ("graceful-shutdown", 0xFFFFFFFF)
    fabric.announce(0)
    wait("both again", lambda: len(fabric.weights(vip)) == 2, SECONDS)


@pytest.mark.parametrize("drains", [False, True])
def test_nodes_that_hear_of_each_other_go_on_announcing(fabric: Fabric, drains: bool) -> None:
    for node in (0, 1):
        fabric.announce(node, drains=drains)
    for vip in VIPS:
        wait("both", lambda vip=vip: len(fabric.weights(vip)) == 2, SECONDS)  # type: ignore[misc]
    prefixes = [ip_network(vip) for vip in VIPS]
    for steered in fabric.nodes:
        table = steered.do(steered.session.table(prefixes))
        assert all({path.local_pref for path in entry.learned} == {200} for entry in table)
    updates = fabric.rack.neighbour(ADDRESSES[65001][0])["messageStats"]["updatesRecv"]
    time.sleep(2)
    assert fabric.rack.neighbour(ADDRESSES[65001][0])["messageStats"]["updatesRecv"] == updates


def test_an_internal_peer_is_told_the_least_preference_and_no_longer_path(fabric: Fabric) -> None:
    fabric.announce(0, 3)
    vip = str(ip_network(VIPS[0]))

    def preferences() -> list[int]:
        return [path["locPrf"] for path in fabric.inner.paths(vip)]

    wait("the usual one", lambda: preferences() == [100], SECONDS)
    (found,) = fabric.inner.paths(vip)
    assert found["extendedCommunity"]["string"].startswith("LB:65001:3000000 ")
    fabric.announce(0, drains=True)
    wait("the least", lambda: preferences() == [1], SECONDS)
    (found,) = fabric.inner.paths(vip)
    assert (found["aspath"]["string"], found["metric"]) == ("Local", 0xFFFFFFFF)
    assert found["community"]["string"] == "graceful-shutdown"
