"""The lab's plan holds together, whatever routes in the rack."""

from __future__ import annotations

import itertools
import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import configs, frr
from lab.errors import LabError
from lab.plan import plan
from lab.topology import Layout, RackKind, namespace_prefix

if TYPE_CHECKING:
    from lab.topology import Topology

PLANS = [plan("lab", kind) for kind in RackKind] + [
    plan("lab", RackKind.FRR, layout) for layout in Layout if layout is not Layout.RACK
]
EACH = pytest.mark.parametrize("topology", PLANS, ids=lambda made: f"{made.layout.value}-{made.rack.value}")
SESSIONS = {Layout.RACK: 8, Layout.ANYCAST: 16, Layout.ANYCAST_RACK: 12}


@EACH
def test_prefixes_of_a_lab_do_not_overlap(topology: Topology) -> None:
    links = [address.network for link in topology.links for address in link.left.addresses]
    pods = [subnet for node in topology.nodes for network in node.networks for subnet in network.subnets]
    vips = [prefix for pool in topology.pools for prefix in pool.prefixes]
    every = [*links, *pods, *vips, *topology.sources]
    for one, other in itertools.combinations(every, 2):
        assert one.version != other.version or not one.overlaps(other)
    assert not any(prefix.is_loopback for prefix in every)


@EACH
def test_each_session_has_its_other_side(topology: Topology) -> None:
    asns = {router.name: router.asn for router in topology.routers}
    sides = {(p.local, p.remote): p for router in topology.routers for p in topology.peerings(router.name)}
    alone = topology.rack is RackKind.NONE
    assert len(sides) == (4 if alone else SESSIONS[topology.layout])
    for (local, remote), peering in sides.items():
        other = sides[remote, local]
        assert (peering.remote_member, other.remote_member) == (other.member, peering.member)
        assert peering.remote_asn == asns[other.member]
        assert (peering.remote_asn == asns[peering.member]) == alone


@EACH
def test_router_ids_are_unique(topology: Topology) -> None:
    routers = topology.routers
    assert len({router.router_id for router in routers}) == len(routers)


def test_only_a_rack_passes_routes_on() -> None:
    topology = plan("lab", RackKind.GOBGP)
    for router in topology.routers:
        text = configs.speaker_toml(router, topology, "unix:///run/api.sock", Path("/run/state"))
        document = tomllib.loads(text)
        assert document["announce"]["transit"] is (router.name == "rack")
        assert document["state"]["follow"] is (router.name != "rack")
        assert len(document["peer"]) == len(topology.peerings(router.name))


@pytest.mark.parametrize("layout", [Layout.ANYCAST, Layout.ANYCAST_RACK], ids=lambda layout: layout.value)
def test_pods_may_ask_for_the_virtual_ips_that_the_speaker_has_pools_for(layout: Layout) -> None:
    topology = plan("lab", RackKind.FRR, layout)
    assert len(topology.sources) == 2
    assert all(len(list(prefix)) == 64 for prefix in topology.sources)
    for node in topology.nodes:
        text = configs.speaker_toml(node, topology, "unix:///run/api.sock", Path("/run/state"))
        announced = {pool["name"]: pool["prefixes"] for pool in tomllib.loads(text)["anycast"]["pool"]}
        for network in node.networks:
            [plugin] = json.loads(configs.conflist(network, Path("/run/state"), topology.pools))["plugins"]
            assert {pool["name"]: pool["addresses"] for pool in plugin["anycast"]["pools"]} == announced
    for rack in topology.racks:
        text = frr.bgpd(rack, topology)
        assert "bandwidth skip-missing" in text
        # Both families of each node's sessions, where a rack has one node and the spine.
        assert text.count("route-map nodes in") == (2 if layout is Layout.ANYCAST else 0)


def test_lab_for_anycast_has_frr_in_its_racks() -> None:
    with pytest.raises(LabError, match="--rack frr"):
        plan("lab", RackKind.BIRD, Layout.ANYCAST)


@pytest.mark.parametrize("name", ["", "a-b", "Lab", "x" * 17, "../x", "a b"])
def test_lab_name_that_could_reach_into_another_lab_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="--name lab"):
        plan(name, RackKind.GOBGP)


def test_no_lab_s_namespaces_begin_like_another_s() -> None:
    names = ["lab", "lab1", "la", "b"]
    for one, other in itertools.permutations(names, 2):
        assert not namespace_prefix(one).startswith(namespace_prefix(other))
