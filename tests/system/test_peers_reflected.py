"""A node as client of a reflector of another make, with lists, limits and a table of its choice.

One stage: FRR reflects between this node and another, over TTL security; a talkative FRR has an IPv4 and an IPv6
session; one is let in as a dynamic neighbour with TTL security, and one of its kind without is not.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.gobgp_rig import Member, run, wait
from tests.system.peers_rig import ASN, Stage, configure, join, peer
from tests.system.peers_routers import frr_conf

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBNET, OTHERS, MARKED = "10.244.1.0/24", "10.244.2.0/24", "10.96.0.0/24"
# Every well-known name, and what FRR calls it.
NAMES = {
    "no-export": "noExport",
    "no-advertise": "noAdvertise",
    "no-export-subconfed": "localAs",
    "no-peer": "noPeer",
    "graceful-shutdown": "gracefulShutdown",
    "blackhole": "blackhole",
    "accept-own": "acceptown",
}
ANNOUNCE = f"""
[announce]
subnets = ["{SUBNET}"]
[[announcement]]
name = "marked"
prefixes = ["{MARKED}"]
communities = {json.dumps(list(NAMES))}
[[dynamic-peer]]
name = "near"
prefixes = ["10.98.3.0/24", "10.98.4.0/24"]
asn = 65403
ttl-security = 1
[accept]
prefixes = ["10.0.0.0/8 ge 16 le 24"]
maximum = 4
"""
OFFERS = ("10.1.0.0/16", "10.2.0.0/17", "10.3.0.0/24", "10.4.0.0/25", "10.0.0.0/12", "172.16.0.0/16")
SIX = tuple(f"fd0a:{n}::/32" for n in range(1, 6))
LIMIT = "[peer.prefix-limit]\nipv6 = 4\nwarning-percent = 50\n"


class Reflected(Stage):
    """Router 1 reflects, 2 is talkative, 3 and 4 are dynamic neighbours; the other node is behind router 1."""

    def build(self) -> None:
        self.reflector = self.frr("reflector")
        self.talker = self.frr("talker")
        self.near = self.frr("near")
        self.loose = self.frr("loose")
        self.other = Member("other", self.directory)
        self.members.append(self.other)

    def up(self) -> None:
        reflector, talker = self.reflector, self.talker
        join(reflector, "other", self.other, "inner")
        for member, device, address in (
            (reflector, "other", "10.97.0.1"),
            (self.other, "inner", "10.97.0.2"),
        ):
            member.ip("address", "add", f"{address}/24", "dev", device)
        reflector.forward()
        self.node.ip("route", "add", "10.97.0.0/24", "via", reflector.v4)
        self.other.ip("route", "add", "10.98.1.0/24", "via", "10.97.0.1")
        clients = "".join(
            f"neighbor {node} remote-as {ASN}\nneighbor {node} timers connect 1\n"
            for node in (reflector.node_v4, "10.97.0.2")
        )
        clients += f"neighbor {reflector.node_v4} ttl-security hops 1\n"
        both = "".join(
            f"neighbor {node} route-reflector-client\n" for node in (reflector.node_v4, "10.97.0.2")
        )
        reflector.start_frr(frr_conf(ASN, 1, clients, both))
        nodes = (talker.node_v4, talker.node_v6)
        lines = "".join(f"neighbor {one} remote-as {ASN}\nneighbor {one} timers connect 1\n" for one in nodes)
        talker.start_frr(
            frr_conf(
                65402,
                2,
                lines,
                f"no neighbor {talker.node_v6} activate\n" + networks(OFFERS),
                f"neighbor {talker.node_v6} activate\n" + networks(SIX),
            )
        )
        for router, more in ((self.near, "ttl-security hops 1"), (self.loose, "")):
            node = router.node_v4
            words = [word for word in (f"remote-as {ASN}", "timers connect 1", more) if word]
            router.start_frr(
                frr_conf(65403, router.number, "".join(f"neighbor {node} {word}\n" for word in words))
            )
        self.settle()
        configure(
            self.other, ASN, "10.97.0.2", "", f'{peer("10.97.0.1", ASN)}[announce]\nsubnets = ["{OTHERS}"]\n'
        )
        for member in (self.node, self.other):
            member.start_gobgpd()
            member.start_speaker()

    def settle(self, more: str = "") -> None:
        peers = [
            peer(self.reflector.v4, ASN, ttl_security=1),
            peer(self.talker.v4, 65402),
            peer(self.talker.v6, 65402, LIMIT),
        ]
        self.configure(peers, ANNOUNCE + more)


def networks(prefixes: tuple[str, ...]) -> str:
    return "".join(f"network {prefix}\n" for prefix in prefixes)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reflected]:
    stage = Reflected(tmp_path_factory.mktemp("reflected"))
    try:
        stage.up()
        yield stage
    finally:
        stage.close()


def attributes(member: Member, prefix: str) -> dict[int, Any]:
    """The attributes of its gobgpd's best path, by their number."""
    found = json.loads(member.gobgp("-j", "global", "rib", prefix, check=False) or "null")
    paths = found if isinstance(found, list) else next(iter((found or {}).values()), [])
    return {one["type"]: one for path in paths[:1] for one in path["attrs"]}


def test_two_nodes_hear_of_each_other_by_a_reflector_of_another_make(stage: Reflected) -> None:
    node, other, reflector = stage.node, stage.other, stage.reflector
    wait("iBGP with TTL security", lambda: reflector.is_up(reflector.node_v4), 25)
    wait("there", lambda: other.gateways(SUBNET) == {"10.97.0.1"}, 25)
    wait("and back", lambda: node.gateways(OTHERS) == {reflector.v4}, 25)
    for member, prefix, origin in ((other, SUBNET, "10.98.0.1"), (node, OTHERS, "10.97.0.2")):
        found = attributes(member, prefix)
        assert found[9]["value"] == origin  # ORIGINATOR_ID
        assert found[10]["value"] == ["10.98.1.2"]  # CLUSTER_LIST
    assert not reflector.has(OFFERS[0])  # and neither of them is a way to the racks


def test_every_well_known_community_arrives(stage: Reflected) -> None:
    """Also those that end at the neighbour: what this node announces itself, it is to hear."""
    wait("the prefix", lambda: stage.talker.has(MARKED), 25)
    (path,) = stage.talker.paths(MARKED)
    assert set(path["community"]["list"]) == set(NAMES.values())


def test_lists_with_lengths_and_a_maximum(stage: Reflected) -> None:
    node, via = stage.node, stage.talker.v4
    wait("what is accepted", lambda: all(node.gateways(one) == {via} for one in OFFERS[:3]), 25)
    wait("the reflected one", lambda: node.gateways(OTHERS), 25)
    for prefix in OFFERS[3:]:
        assert prefix in node.table()
        assert node.routes(prefix) == []
    assert node.logged('"accept.maximum reached"') == 0
    enter = ("configure terminal", "router bgp 65402", "address-family ipv4 unicast")
    stage.talker.vtysh(*enter, "network 10.5.0.0/16")
    wait(
        "the fifth is one too many", lambda: node.logged('"accept.maximum reached" maximum=4 left_out=1'), 10
    )
    kept = [one for one in (*OFFERS[:3], OTHERS, "10.5.0.0/16") if node.routes(one)]
    assert len(kept) == 4
    stage.talker.vtysh(*enter, "no network 10.5.0.0/16")
    wait("the end of it", lambda: node.logged('"accept.maximum no longer reached"') == 1, 10)
    wait("all of them", lambda: all(node.routes(one) for one in (*OFFERS[:3], OTHERS)), 10)


def test_a_limit_of_ipv6_prefixes_has_a_warning_before_it_and_is_that_sessions_alone(
    stage: Reflected,
) -> None:
    node, talker = stage.node, stage.talker
    wait("it ends", lambda: node.logged(f'"peer down" peer={talker.v6}'), 25)
    (line,) = [line for line in node.log.read_text().splitlines() if f'"peer down" peer={talker.v6}' in line]
    assert 'reason="more prefixes than its prefix limit"' in line
    warnings = [
        line
        for line in (node.directory / "gobgpd.log").read_text().splitlines()
        if "prefix limit reached" in line and "level=warning" in line
    ]
    assert "Pct=50" in warnings[0]  # before it came to that
    told = talker.neighbour(talker.node_v6)
    assert told["bgpState"] != "Established"
    assert told["lastNotificationReason"] == "Cease/Maximum Number of Prefixes Reached"
    assert talker.is_up(talker.node_v4)
    assert node.ip("-6", "route", "show", "proto", "177") == ""


def test_a_dynamic_neighbour_with_ttl_security(stage: Reflected) -> None:
    near, loose = stage.near, stage.loose
    wait("it is let in", lambda: near.is_up(near.node_v4), 25)
    wait("the subnet", lambda: near.has(SUBNET), 10)
    # Its first message may be there before gobgpd has asked the kernel for TTLs; it comes no further.
    assert not loose.has(SUBNET)
    assert stage.node.logged(f'"peer up" peer={loose.v4} ') == 0


def test_another_table_while_it_runs(stage: Reflected) -> None:
    """Its routes stand there before those of the main table go; what nobody told goes in neither."""
    node = stage.node

    def shown(table: str) -> set[str]:
        lines = run("ip", "-n", node.ns, "route", "show", "table", table, "proto", "177", check=False)
        return {line.split()[1 if line.startswith("unreachable") else 0] for line in lines.splitlines()}

    wait("all of them", lambda: shown("main") == {*OFFERS[:3], OTHERS, SUBNET}, 25)
    everything = shown("main")
    stage.settle("[kernel]\ntable = 100\n")
    wait("table 100", lambda: (shown("100"), shown("main")) == (everything, set()), 10)
    stage.settle()
    wait("and back", lambda: (shown("100"), shown("main")) == (set(), everything), 10)
    assert stage.talker.neighbour(stage.talker.node_v4)["connectionsEstablished"] == 1
