"""The lab's plan holds together, whatever routes in the rack."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import pytest

from lab import configs
from lab.errors import LabError
from lab.topology import RackKind, namespace_prefix, plan

KINDS = pytest.mark.parametrize("kind", list(RackKind), ids=lambda kind: kind.value)


@KINDS
def test_prefixes_of_links_and_pods_do_not_overlap(kind: RackKind) -> None:
    topology = plan("lab", kind)
    links = [address.network for link in topology.links for address in link.left.addresses]
    pods = [subnet for node in topology.nodes for network in node.networks for subnet in network.subnets]
    for one, other in itertools.combinations([*links, *pods], 2):
        assert one.version != other.version or not one.overlaps(other)
    assert not any(prefix.is_loopback for prefix in (*links, *pods))


@KINDS
def test_each_session_has_its_other_side(kind: RackKind) -> None:
    topology = plan("lab", kind)
    asns = {router.name: router.asn for router in topology.routers}
    sides = {(p.local, p.remote): p for router in topology.routers for p in topology.peerings(router.name)}
    assert len(sides) == (4 if kind is RackKind.NONE else 8)
    for (local, remote), peering in sides.items():
        other = sides[remote, local]
        assert (peering.remote_member, other.remote_member) == (other.member, peering.member)
        assert peering.remote_asn == asns[other.member]
        assert (peering.remote_asn == asns[peering.member]) == (kind is RackKind.NONE)


@KINDS
def test_router_ids_are_unique(kind: RackKind) -> None:
    routers = plan("lab", kind).routers
    assert len({router.router_id for router in routers}) == len(routers)


def test_only_a_rack_passes_routes_on() -> None:
    topology = plan("lab", RackKind.GOBGP)
    for router in topology.routers:
        text = configs.speaker_toml(router, topology, "unix:///run/api.sock", Path("/run/state"))
        document = tomllib.loads(text)
        assert document["announce"]["transit"] is (router.name == "rack")
        assert document["state"]["follow"] is (router.name != "rack")
        assert len(document["peer"]) == len(topology.peerings(router.name))


@pytest.mark.parametrize("name", ["", "a-b", "Lab", "x" * 17, "../x", "a b"])
def test_lab_name_that_could_reach_into_another_lab_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="--name lab"):
        plan(name, RackKind.GOBGP)


def test_no_lab_s_namespaces_begin_like_another_s() -> None:
    names = ["lab", "lab1", "la", "b"]
    for one, other in itertools.permutations(names, 2):
        assert not namespace_prefix(one).startswith(namespace_prefix(other))
