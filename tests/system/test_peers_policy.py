"""What is announced to whom and how, as FRR, BIRD and ExaBGP have it; and what is taken from whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.system.gobgp_rig import wait
from tests.system.peers_rig import ASN, Stage, hold, peer, release
from tests.system.peers_routers import bird_conf, frr_conf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.peers_routers import Frr

SUBNET, SUBNET6, SERVICE, PLAIN = "10.244.1.0/24", "fd24:1::/64", "10.96.0.0/16", "10.100.0.0/16"
POD = "198.51.100.7"
ANNOUNCE = f"""
[announce]
subnets = ["{SUBNET}", "{SUBNET6}"]
communities = ["65001:100", "65001:1:2", "no-export"]
local-preference = 150
med = 50
prepend = 2
[announce.hosts]
communities = ["65001:32"]
prepend = 1
[[announcement]]
name = "service"
prefixes = ["{SERVICE}"]
communities = ["graceful-shutdown", "65001:96"]
local-preference = 50
med = 7
next-hop-ipv4 = "10.98.1.99"
peers = ["10.98.1.2", "10.98.3.2", "10.98.4.2"]
[[announcement]]
name = "plain"
prefixes = ["{PLAIN}"]
"""
# A peer with rules of its own, on top of all these.
RULES = f"""
[peer.export]
reject = ["{PLAIN}"]
communities = ["65001:777", "65001:7:7"]
med = 9
prepend = 3
[peer.import]
only = ["10.200.0.0/13 ge 16 le 16", "fd00::/8"]
reject = ["10.202.0.0/16"]
local-preference = 300
"""
OFFERS = ("10.200.0.0/16", "10.201.5.0/24", "10.202.0.0/16", "0.0.0.0/0", "10.244.0.0/16")


class Policies(Stage):
    """An ordinary rack, one with rules, an iBGP neighbour, and one that is told little."""

    def build(self) -> None:
        self.rack = self.frr("rack")
        self.ruled = self.frr("ruled")
        self.inner = self.bird("inner")
        self.narrow = self.exabgp("narrow")

    def up(self) -> None:
        for router in (self.rack, self.ruled):
            router.start_frr(self.frr_text(router))
        inner, narrow = self.inner, self.narrow
        inner.start_bird(
            bird_conf(
                3,
                "protocol static { ipv4; route 10.203.0.0/16 blackhole; route 10.213.0.0/16 blackhole; }",
                f"protocol bgp node {{ local {inner.v4} as {ASN}; neighbor {inner.node_v4} as {ASN};"
                " connect delay time 1; ipv4 { import all; export all; next hop self; }; }",
            )
        )
        narrow.start_exabgp(
            f"{narrow.node_v4} {{ router-id {narrow.v4}; local-address {narrow.v4}; local-as 65204;"
            f" peer-as {ASN}; hold-time 9; family {{ ipv4 unicast; }}"
            " api { processes [ heard say ]; neighbor-changes; receive { parsed; update; notification; } } }"
        )
        self.node.start_gobgpd()
        self.settle(ANNOUNCE, RULES)
        self.node.start_speaker()
        wait("all sessions", lambda: self.node.established() == 4)

    def frr_text(self, router: Frr) -> str:
        node = router.node_v4
        lines = f"neighbor {node} remote-as {ASN}\nneighbor {node} timers connect 1\n"
        offers = "".join(f"network {prefix}\n" for prefix in OFFERS)
        return frr_conf(65200 + router.number, router.number, lines, offers)

    def settle(self, announce: str, rules: str) -> None:
        narrow = f'[peer.export]\nonly = ["{SUBNET}", "10.96.0.0/12 ge 24"]\n'
        narrow += '[peer.import]\nreject = ["10.204.0.0/16"]\n'
        peers = [
            peer(self.rack.v4, 65201),
            peer(self.ruled.v4, 65202, rules),
            peer(self.inner.v4, ASN),
            peer(self.narrow.v4, 65204, narrow),
        ]
        self.configure(peers, announce)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Policies]:
    stage = Policies(tmp_path_factory.mktemp("policies"))
    try:
        stage.up()
        yield stage
    finally:
        stage.close()


def seen(router: Frr, prefix: str) -> dict[str, Any]:
    """The node's path at FRR, as plain words."""
    wait(f"{prefix} at {router.directory.name}", lambda: router.has(prefix), 15)
    path = router.paths(prefix)[0]
    return {
        "as": path["aspath"]["string"],
        "communities": set(path.get("community", {}).get("list", [])),
        "large": set(path.get("largeCommunity", {}).get("list", [])),
        "med": path.get("metric", 0),
        "next hop": path["nexthops"][0]["ip"],
    }


def test_attributes_of_subnets_at_an_external_peer(stage: Policies) -> None:
    assert seen(stage.rack, SUBNET) == {
        "as": "65001 65001 65001",
        "communities": {"65001:100", "noExport"},
        "large": {"65001:1:2"},
        "med": 50,
        "next hop": stage.rack.node_v4,
    }


def test_attributes_of_an_announcement_with_its_own(stage: Policies) -> None:
    assert seen(stage.rack, SERVICE) == {
        "as": "65001",
        "communities": {"65001:96", "gracefulShutdown"},
        "large": set(),
        "med": 7,
        "next hop": "10.98.1.99",
    }
    bare = seen(stage.rack, PLAIN)
    assert (bare["as"], bare["communities"], bare["med"]) == ("65001", set(), 0)


def test_a_pods_own_address_has_the_attributes_of_hosts(stage: Policies) -> None:
    hold(stage.node, "c1", POD)
    found = seen(stage.rack, f"{POD}/32")
    assert (found["as"], found["communities"], found["large"]) == ("65001 65001", {"65001:32"}, set())
    assert found["med"] == 50
    release(stage.node, "c1")
    wait("the withdrawal", lambda: not stage.rack.has(f"{POD}/32"), 15)


def test_an_internal_peer_sees_the_preference_and_no_prepending(stage: Policies) -> None:
    wait("the subnet", lambda: stage.inner.has(SUBNET), 15)
    found = stage.inner.attributes(SUBNET)
    assert (found["as_path"], found["local_pref"], found["med"]) == ("", "150", "50")
    assert found["community"] == "(65001,100) (65535,65281)"
    assert found["large_community"] == "(65001, 1, 2)"
    service = stage.inner.attributes(SERVICE)
    assert (service["local_pref"], service["next_hop"]) == ("50", "10.98.1.99")


def test_a_peers_own_rules_come_on_top(stage: Policies) -> None:
    found = seen(stage.ruled, SUBNET)
    assert found["communities"] == {"65001:100", "noExport", "65001:777"}
    assert found["large"] == {"65001:1:2", "65001:7:7"}
    assert found["med"] == 9
    assert set(found["as"].split()) == {"65001"}
    assert len(found["as"].split()) > 3
    for prefix in (PLAIN, SERVICE):
        assert not stage.ruled.has(prefix)


def test_a_peer_with_a_list_is_told_nothing_else(stage: Policies) -> None:
    wait("the subnet", lambda: stage.narrow.has(SUBNET), 15)
    wait("the rack has all", lambda: stage.rack.has(SERVICE) and stage.rack.has(PLAIN), 15)
    assert set(stage.narrow.learned()) == {SUBNET}


def test_nobody_is_told_what_others_told(stage: Policies) -> None:
    wait("iBGP", lambda: stage.node.gateways("10.203.0.0/16") == {stage.inner.v4}, 15)
    wait("eBGP", lambda: stage.node.gateways("10.201.5.0/24") == {stage.rack.v4}, 15)
    for router in (stage.rack, stage.ruled, stage.narrow):
        assert not router.has("10.203.0.0/16")
    for other in (stage.inner, stage.narrow):
        assert not other.has("10.201.5.0/24")


def test_nobody_is_told_what_others_add_to_gobgpd(stage: Policies) -> None:
    """But single addresses: a later one says that the earlier path has not come."""
    added = ("10.99.0.0/16", SUBNET.replace("/24", "/25"), "10.99.9.9/32")
    for prefix in added:
        stage.node.gobgp("global", "rib", "add", prefix, "-a", "ipv4")
    for router in (stage.rack, stage.ruled, stage.inner):
        wait("the last", lambda router=router: router.has(added[2]), 15)  # type: ignore[misc]
        assert not router.has(added[0])
        assert not router.has(added[1])
    for prefix in added:
        stage.node.gobgp("global", "rib", "del", prefix, "-a", "ipv4")


def test_what_is_taken_from_whom(stage: Policies) -> None:
    node, rack, ruled = stage.node, stage.rack.v4, stage.ruled.v4
    wait("the preferred one", lambda: node.gateways("10.200.0.0/16") == {ruled}, 15)
    for prefix in ("10.201.5.0/24", "10.202.0.0/16"):
        wait(prefix, lambda prefix=prefix: node.gateways(prefix) == {rack}, 15)  # type: ignore[misc]
    wait("iBGP", lambda: node.gateways("10.203.0.0/16") == {stage.inner.v4}, 15)
    for prefix in ("0.0.0.0/0", SUBNET):
        assert node.gateways(prefix) == set()


def test_a_route_that_is_rejected_from_one_peer(stage: Policies) -> None:
    stage.narrow.say(
        "announce route 10.204.0.0/16 next-hop self", "announce route 10.205.0.0/16 next-hop self"
    )
    wait("the good one", lambda: stage.node.gateways("10.205.0.0/16") == {stage.narrow.v4}, 15)
    assert stage.node.routes("10.204.0.0/16") == []


def test_changed_rules_count_at_once_and_leave_the_others_sessions_alone(stage: Policies) -> None:
    rack = stage.rack.neighbour(stage.rack.node_v4)["connectionsEstablished"]
    stage.settle(ANNOUNCE.replace("65001:100", "65001:101"), RULES.replace(f'"{PLAIN}"', f'"{SUBNET}"'))
    wait("new communities", lambda: "65001:101" in seen(stage.rack, SUBNET)["communities"], 15)
    wait("what is not rejected any more", lambda: stage.ruled.has(PLAIN), 30)
    wait("what is rejected now", lambda: not stage.ruled.has(SUBNET), 15)
    assert stage.rack.neighbour(stage.rack.node_v4)["connectionsEstablished"] == rack
    stage.settle(ANNOUNCE, RULES)
    wait("and back", lambda: stage.ruled.has(SUBNET) and not stage.ruled.has(PLAIN), 30)


def test_transit_passes_on_what_others_told_and_allow(stage: Policies) -> None:
    """RFC 1997: no-export ends at the node's AS, no-advertise at the node."""
    stage.narrow.say(
        "announce route 10.206.0.0/16 next-hop self",
        "announce route 10.207.0.0/16 next-hop self community [no-export]",
        "announce route 10.208.0.0/16 next-hop self community [no-advertise]",
    )
    wait("all are learned", lambda: stage.node.table() >= {f"10.{n}.0.0/16" for n in (206, 207, 208)}, 15)
    stage.settle(ANNOUNCE.replace("[announce]\n", "[announce]\ntransit = true\n"), RULES)
    wait("transit", lambda: stage.rack.has("10.206.0.0/16") and stage.inner.has("10.206.0.0/16"), 20)
    wait("within the AS", lambda: stage.inner.has("10.207.0.0/16"), 15)
    assert not stage.rack.has("10.207.0.0/16")
    for router in (stage.rack, stage.inner):
        assert not router.has("10.208.0.0/16")
    stage.settle(ANNOUNCE, RULES)
    wait("no transit", lambda: not (stage.rack.has("10.206.0.0/16") or stage.inner.has("10.206.0.0/16")), 20)
    wait("and the rest again", lambda: stage.rack.has(SUBNET) and stage.inner.has(SUBNET), 25)
