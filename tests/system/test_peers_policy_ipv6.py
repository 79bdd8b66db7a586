"""The same in IPv6: what each peer of FRR is told and taken from, over IPv6 sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.system.gobgp_rig import wait
from tests.system.peers_rig import ASN, Stage, hold, peer, release
from tests.system.peers_routers import frr_conf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.peers_routers import Frr

SUBNET, SERVICE, PLAIN = "fd24:1::/64", "fd96::/112", "fd97::/64"
POD = "2001:db8:32::7"
ANNOUNCE = f"""
[announce]
subnets = ["{SUBNET}"]
communities = ["65001:100", "65001:1:2"]
med = 50
prepend = 2
[announce.hosts]
communities = ["65001:128"]
prepend = 1
[[announcement]]
name = "service"
prefixes = ["{SERVICE}"]
med = 7
next-hop-ipv6 = "fd98:1::99"
peers = ["fd98:1::2"]
[[announcement]]
name = "plain"
prefixes = ["{PLAIN}"]
"""
RULES = f"""
[peer.export]
reject = ["{PLAIN}"]
communities = ["65001:777"]
med = 9
prepend = 3
[peer.import]
only = ["fd0a::/16 ge 48 le 48"]
reject = ["fd0a:2::/48"]
local-preference = 300
"""
OFFERS = ("fd0a:1::/48", "fd0a:2::/48", "fd0a:3::/64", "fd0b::/48", "::/0", SUBNET)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Router 1 is an ordinary rack, 2 one with rules, 3 one that is told one prefix."""
    stage = Stage(tmp_path_factory.mktemp("policies6"))
    try:
        for name in ("rack", "ruled", "narrow"):
            router = stage.frr(name)
            node = router.node_v6
            lines = f"neighbor {node} remote-as {ASN}\nneighbor {node} timers connect 1\n"
            offers = "".join(f"network {prefix}\n" for prefix in OFFERS if name != "narrow")
            routes = f"neighbor {node} activate\n{offers}"
            router.start_frr(frr_conf(65200 + router.number, router.number, lines, ipv6=routes))
        narrow = f'[peer.export]\nonly = ["{PLAIN}"]\n'
        peers = [peer(f"fd98:{n}::2", 65200 + n, more) for n, more in ((1, ""), (2, RULES), (3, narrow))]
        stage.configure(peers, ANNOUNCE)
        stage.start_node()
        wait("all sessions", lambda: stage.node.established() == 3)
        yield stage
    finally:
        stage.close()


def seen(router: Any, prefix: str) -> tuple[object, ...]:
    """The node's path at FRR: AS path, communities, MED, global next hop."""
    wait(f"{prefix} at {router.directory.name}", lambda: router.has(prefix), 15)
    path = router.paths(prefix)[0]
    communities = set(path.get("community", {}).get("list", [])) | set(
        path.get("largeCommunity", {}).get("list", [])
    )
    hops = {hop["ip"] for hop in path["nexthops"] if hop["scope"] == "global"}
    return path["aspath"]["string"], communities, path.get("metric", 0), hops


def test_what_a_rack_is_told(stage: Stage) -> None:
    rack = stage.members[1]
    both = {"65001:100", "65001:1:2"}
    assert seen(rack, SUBNET) == ("65001 65001 65001", both, 50, {"fd98:1::1"})
    assert seen(rack, SERVICE) == ("65001", set(), 7, {"fd98:1::99"})
    assert seen(rack, PLAIN) == ("65001", set(), 0, {"fd98:1::1"})
    hold(stage.node, "c1", POD)
    assert seen(rack, f"{POD}/128") == ("65001 65001", {"65001:128"}, 50, {"fd98:1::1"})
    release(stage.node, "c1")
    wait("the withdrawal", lambda: not has(stage, 1, f"{POD}/128"), 15)


def test_a_peers_own_rules_come_on_top(stage: Stage) -> None:
    path, communities, med, hops = seen(stage.members[2], SUBNET)
    assert (communities, med, hops) == ({"65001:100", "65001:1:2", "65001:777"}, 9, {"fd98:2::1"})
    assert path == " ".join(["65001"] * 6)
    assert not has(stage, 2, PLAIN)
    assert not has(stage, 2, SERVICE)


def test_a_peer_with_a_list_is_told_nothing_else(stage: Stage) -> None:
    wait("its prefix", lambda: has(stage, 3, PLAIN), 15)
    assert not has(stage, 3, SUBNET)


def test_what_is_taken_from_whom(stage: Stage) -> None:
    node, rack, ruled = stage.node, "fd98:1::2", "fd98:2::2"
    wait("the preferred one", lambda: node.gateways("fd0a:1::/48") == {ruled}, 15)
    for prefix in ("fd0a:2::/48", "fd0a:3::/64", "fd0b::/48"):
        wait(prefix, lambda prefix=prefix: node.gateways(prefix) == {rack}, 15)  # type: ignore[misc]
    for prefix in ("::/0", SUBNET):
        assert node.gateways(prefix) == set()


def has(stage: Stage, number: int, prefix: str) -> bool:
    router: Frr = stage.members[number]  # type: ignore[assignment]
    return router.has(prefix)
