"""Port mappings, limits and `macspoofchk` on Debian's kernel, which is older than what tests run on otherwise.

The machine is slow, and a node's set-up takes the most: what can share a node does.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cni import conntrack
from cni.elements import ElementSocket
from tests.system.outside import NODE, PEER
from tests.system.test_plugin_bandwidth import BURST, MEGABIT, limits, seconds_to_send
from tests.system.test_plugin_macspoof import Pair, own
from tests.system.test_plugin_ports import GATEWAY, KINDS, Stage
from tests.system.test_plugin_tables import OLDER, PORT, connections
from tests.system.traffic import UDP, Server, ask, client, exchange, family_of, within

if TYPE_CHECKING:
    from tests.system.plugin_node import Node


@pytest.mark.parametrize("filtered", [False, True], ids=["past netfilter", "through netfilter"])
def test_a_mapped_port_is_reached_from_everywhere(node: Node, filtered: bool) -> None:
    stage = Stage(node, filtered)
    with Server(stage.pod, 80, "c1"):
        for kind in KINDS.values():
            for family in ("v4", "v6"):
                gateway = f"c1 {GATEWAY[family]}"
                assert ask(stage.outside.name, NODE[family], 8080, kind) == f"c1 {PEER[family]}"
                assert ask(node.name, NODE[family], 8080, kind) == f"c1 {NODE[family]}"
                assert ask(stage.other, NODE[family], 8080, kind) == gateway
                assert ask(stage.pod, NODE[family], 8080, kind) == gateway
            assert ask(node.name, "127.0.0.1", 8080, kind) == f"c1 {GATEWAY['v4']}"
    assert ask(node.name, "::1", 8080) == "refused"


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_stale_udp_connections_are_forgotten(node: Node, family: str) -> None:
    stage = Stage(node, filtered=False)
    number = family_of(NODE[family])
    with client(stage.outside.name, NODE[family], 8080, UDP) as one, Server(stage.pod, 80, "c1"):
        assert exchange(one) == f"c1 {PEER[family]}"
    with closing(within(node.name, ElementSocket)) as nftables:
        assert connections(nftables, number, 8080) == 1
        conntrack.forget_udp(nftables.netfilter, number, 8080)
        assert connections(nftables, number, 8080) == 0


def test_a_limit_holds_both_ways(node: Node) -> None:
    rate, amount = 8 * MEGABIT, 1_000_000
    pod = node.pod()
    conf = node.conf(runtimeConfig=limits(rate, BURST, rate, BURST))
    node.add("c1", pod, conf)
    least = (amount * 8 - BURST) / rate
    assert seconds_to_send(node.name, pod, "10.244.1.2", amount) >= least
    assert seconds_to_send(pod, node.name, "10.244.1.1", amount) >= least
    node.delete("c1", pod, conf)
    assert node.links() == {"lo", "cni0"}


def test_a_frame_with_another_address_goes_nowhere(node: Node) -> None:
    with closing(Pair(node)) as pair:
        assert pair.heard(pair.pod, own(node, "eth0", pair.pod), "10.244.1.2", "10.244.1.1")
        assert not pair.heard(pair.pod, own(node, "eth0", pair.other), "10.244.1.2", "10.244.1.1")


def test_an_older_table_is_mended_and_a_flushed_one_restored(node: Node) -> None:
    node.execute(node.name, "nft", OLDER)
    conf = node.conf(ipMasq=True, macspoofchk=True)
    pod, other = node.pod(), node.pod()
    node.add("c1", pod, conf | {"runtimeConfig": PORT})
    assert "10.9.0.0/24" in node.execute(node.name, "nft", "list", "ruleset")
    node.execute(node.name, "nft", "flush", "ruleset")
    node.add("c2", other, conf)
    with Server(pod, 80, "c1"):
        assert ask(node.name, "127.0.0.1", 8080) == "c1 10.244.1.1"
    node.delete("c1", pod, conf)
    node.delete("c2", other, conf)
    assert "tcp" not in node.execute(node.name, "nft", "list", "map", "inet", "anypod", "hostports4")
