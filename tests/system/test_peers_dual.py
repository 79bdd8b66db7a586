"""Both families over one session, over either transport, to FRR."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import wait
from tests.system.peers_rig import ASN, Stage, peer
from tests.system.peers_routers import Bird, Frr, bird_conf, frr_conf

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBNETS = ("10.244.1.0/24", "fd24:1::/64")
BOTH = ["ipv4", "ipv6"]
# An IPv6 address is a next hop for IPv4, too (RFC 8950); the other way it takes one of IPv6.
ANNOUNCE = f"""
[announce]
subnets = ["{SUBNETS[0]}", "{SUBNETS[1]}"]
next-hop-ipv6 = "fd98:2::1"
[[dynamic-peer]]
name = "group"
prefixes = ["fd98:3::/64"]
asn = 65503
families = ["ipv4", "ipv6"]
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """FRR 1 has one session over IPv6, FRR 2 one over IPv4, BIRD one over IPv6 as a dynamic neighbour."""
    stage = Stage(tmp_path_factory.mktemp("dual"))
    try:
        routers = [(stage.frr("six"), "v6"), (stage.frr("four"), "v4")]
        peers = []
        for router, transport in routers:
            number, node = router.number, getattr(router, f"node_{transport}")
            lines = f"neighbor {node} remote-as {ASN}\nneighbor {node} timers connect 1\n"
            activate = f"neighbor {node} activate\n"
            ipv4 = f"{activate}network 10.{number}.0.0/16\n"
            ipv6 = f"{activate}network fd0{number}::/64\n"
            router.start_frr(frr_conf(65500 + number, number, lines, ipv4, ipv6))
            peers.append(peer(getattr(router, transport), 65500 + number, families=BOTH))
        bird = stage.bird("bird")
        bird.start_bird(
            bird_conf(
                3,
                "protocol kernel { ipv4 { export all; }; }",
                "protocol static { ipv4; route 10.3.0.0/16 blackhole; }",
                f"protocol bgp node {{ local {bird.v6} as 65503; neighbor {bird.node_v6} as {ASN};"
                " connect delay time 1; error wait time 1, 2; ipv6 { import all; export none; };"
                " ipv4 { import all; export where source = RTS_STATIC; extended next hop on; }; }",
            )
        )
        stage.configure(peers, ANNOUNCE)
        stage.start_node()
        wait("all sessions", lambda: stage.node.established() == 3)
        yield stage
    finally:
        stage.close()


def test_each_has_one_session_with_both_families(stage: Stage) -> None:
    assert len(stage.node.neighbours()) == 3
    for router, node in ((stage.members[1], "fd98:1::1"), (stage.members[2], "10.98.2.1")):
        assert isinstance(router, Frr)
        seen = router.neighbour(node)["neighborCapabilities"]["multiprotocolExtensions"]
        assert {family for family, said in seen.items() if said.get("advertisedAndReceived")} == {
            "ipv4Unicast",
            "ipv6Unicast",
        }


def test_the_other_familys_prefix_is_routed_by_the_sessions_address_or_the_configured_one(
    stage: Stage,
) -> None:
    hops = ((SUBNETS[0], "inet6 fd98:1::1"), (SUBNETS[1], "fd98:2::1"), (SUBNETS[0], "inet6 fd98:3::1"))
    for router, (subnet, hop) in zip(stage.members[1:], hops, strict=True):
        version = "-6" if ":" in subnet else "-4"
        wait(
            f"{subnet} at {router.directory.name}",
            lambda r=router, v=version, s=subnet, h=hop: f"via {h} " in r.ip(v, "route", "show", s),  # type: ignore[misc]
            10,
        )


def test_the_node_routes_both_families_of_both(stage: Stage) -> None:
    for number in (1, 2):
        for prefix, hop in ((f"10.{number}.0.0/16", f"10.98.{number}.2"), (f"fd0{number}::/64", "")):
            wait(prefix, lambda p=prefix: stage.node.routes(p) != [], 15)  # type: ignore[misc]
            assert not hop or stage.node.gateways(prefix) == {hop}
    wait("BIRD's", lambda: "via inet6 fd98:3::2 " in stage.node.ip("-4", "route", "show", "10.3.0.0/16"), 15)
    assert isinstance(stage.members[3], Bird)
    assert stage.members[3].is_up("node")
