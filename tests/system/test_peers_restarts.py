"""Graceful restart from both ends, and what becomes of a peer that tells too much."""

from __future__ import annotations

import signal
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from lab.monitor import RouteMonitor
from tests.system.gobgp_rig import wait
from tests.system.peers_rig import ASN, Stage, peer
from tests.system.peers_routers import bird_conf, frr_conf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.peers_routers import Bird

SUBNET = "10.244.1.0/24"
GRACEFUL = "[peer.graceful-restart]\nrestart-time = 60\n"
LIMIT = "[peer.prefix-limit]\nipv4 = 3\nwarning-percent = 50\n"
UP_SECONDS = 25


class Restarts(Stage):
    """FRR and a BIRD that restart gracefully, a BIRD that does not, and a talkative ExaBGP."""

    def build(self) -> None:
        self.frr_router = self.frr("frr")
        self.bird_router = self.bird("bird")
        self.plain = self.bird("plain")
        self.talker = self.exabgp("talker")

    def up(self) -> None:
        frr, talker = self.frr_router, self.talker
        lines = (
            "bgp graceful-restart\nbgp graceful-restart preserve-fw-state\n"
            f"neighbor {frr.node_v4} remote-as {ASN}\nneighbor {frr.node_v4} timers connect 1\n"
        )
        frr.start_frr(frr_conf(65401, 1, lines, "network 10.1.0.0/16\n"))
        self.bird_router.start_bird(bird_text(self.bird_router, "graceful restart on;"))
        self.plain.start_bird(bird_text(self.plain, "graceful restart off;"))
        talker.start_exabgp(
            f"{talker.node_v4} {{ router-id {talker.v4}; local-address {talker.v4}; local-as 65404;"
            f" peer-as {ASN}; hold-time 9; family {{ ipv4 unicast; }}"
            " api { processes [ heard say ]; neighbor-changes; receive { parsed; update; notification; } } }"
        )
        peers = [
            peer(frr.v4, 65401, GRACEFUL),
            peer(self.bird_router.v4, 65402, GRACEFUL),
            peer(self.plain.v4, 65403),
            peer(talker.v4, 65404, LIMIT),
        ]
        self.configure(peers, f'[announce]\nsubnets = ["{SUBNET}"]\n')
        self.start_node()
        self.all_up()

    def all_up(self) -> None:
        wait("all sessions", lambda: self.node.established() == 4, UP_SECONDS)
        for prefix, gateway in self.learned().items():
            wait(prefix, lambda p=prefix, g=gateway: self.node.gateways(p) == {g}, 15)  # type: ignore[misc]

    def learned(self) -> dict[str, str]:
        routers = (self.frr_router, self.bird_router, self.plain)
        return {f"10.{router.number}.0.0/16": router.v4 for router in routers}


def bird_text(router: Bird, more: str) -> str:
    number = router.number
    return bird_conf(
        number,
        f"protocol static {{ ipv4; route 10.{number}.0.0/16 blackhole; }}",
        f"protocol bgp node {{ local {router.v4} as {65400 + number}; neighbor {router.node_v4} as {ASN};"
        f" {more} connect delay time 1; error wait time 1, 2; hold time 9;"
        " ipv4 { import all; export where source = RTS_STATIC; }; }",
    )


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restarts]:
    stage = Restarts(tmp_path_factory.mktemp("restarts"))
    try:
        stage.up()
        yield stage
    finally:
        stage.close()


def test_graceful_peers_keep_the_routes_of_a_killed_gobgpd(stage: Restarts) -> None:
    frr, bird, plain = stage.frr_router, stage.bird_router, stage.plain
    for router in (frr, bird, plain):
        wait("the subnet", lambda router=router: router.has(SUBNET), 15)  # type: ignore[misc]
    info = frr.neighbour(frr.node_v4)["gracefulRestartInfo"]
    assert info["timers"]["receivedRestartTimer"] == 60
    with RouteMonitor(frr.ns) as at_frr, RouteMonitor(stage.node.ns) as here:
        stage.node.kill("gobgpd")
        wait("the plain one withdraws", lambda: not plain.has(SUBNET), 15)
        assert frr.paths(SUBNET)[0].get("stale") is True
        assert bird.has(SUBNET)
        stage.node.start_gobgpd()
        stage.all_up()
        wait("fresh at FRR", lambda: "stale" not in frr.paths(SUBNET)[0], 15)
        wait("the plain one has it again", lambda: plain.has(SUBNET), 15)
        assert frr.neighbour(frr.node_v4)["gracefulRestartInfo"]["rBit"] is True
    assert at_frr.removed(ip_network(SUBNET)) == []
    assert [here.removed(ip_network(prefix)) for prefix in stage.learned()] == [[], [], []]


def test_a_gobgpd_that_is_asked_to_end_is_forgotten_at_once(stage: Restarts) -> None:
    """Whoever wants no flap kills it, as the unit does: a goodbye ends what graceful restart would keep."""
    stage.all_up()
    routers = (stage.frr_router, stage.bird_router, stage.plain)
    for router in routers:
        wait("the subnet", lambda router=router: router.has(SUBNET), 15)  # type: ignore[misc]
    stage.node.kill("gobgpd", signal.SIGTERM)
    for router in routers:
        wait("withdrawn", lambda router=router: not router.has(SUBNET), 5)  # type: ignore[misc]
    stage.node.start_gobgpd()
    stage.all_up()


def test_the_node_keeps_the_routes_of_graceful_peers_that_restart(stage: Restarts) -> None:
    stage.all_up()
    frr, bird, plain = (ip_network(prefix) for prefix in stage.learned())
    with RouteMonitor(stage.node.ns) as monitor:
        stage.frr_router.kill("bgpd")
        stage.bird_router.kill("bird")
        stage.plain.kill("bird")
        wait("the plain one's route goes", lambda: monitor.removed(plain), 15)
        assert stage.node.gateways(str(frr)) == {stage.frr_router.v4}
        assert stage.node.gateways(str(bird)) == {stage.bird_router.v4}
        stage.frr_router.start_daemon("bgpd")
        stage.bird_router.start_bird(bird_text(stage.bird_router, "graceful restart on;"))
        stage.plain.start_bird(bird_text(stage.plain, "graceful restart off;"))
        stage.all_up()
    assert (monitor.removed(frr), monitor.removed(bird)) == ([], [])


def test_a_route_that_does_not_come_back_after_a_graceful_restart_goes(stage: Restarts) -> None:
    stage.all_up()
    bird = stage.bird_router
    bird.kill("bird")
    bird.start_bird(bird_text(bird, "graceful restart on;").replace("10.2.0.0/16", "10.92.0.0/16"))
    wait("the new one", lambda: stage.node.gateways("10.92.0.0/16") == {bird.v4}, UP_SECONDS)
    wait("the old one goes", lambda: stage.node.routes("10.2.0.0/16") == [], 15)
    bird.write(bird_text(bird, "graceful restart on;"))
    bird.birdc("configure")
    stage.all_up()


def test_a_peer_beyond_its_limit_is_told_so_and_the_others_go_on(stage: Restarts) -> None:
    stage.all_up()
    talker = stage.talker
    talker.say(*(f"announce route 10.40.{i}.0/24 next-hop self" for i in range(3)))
    wait("three are fine", lambda: stage.node.gateways("10.40.2.0/24") == {talker.v4}, 15)
    assert talker.is_up()
    flaps = stage.frr_router.neighbour(stage.frr_router.node_v4)["connectionsEstablished"]
    talker.say("announce route 10.40.3.0/24 next-hop self")
    wait("the session ends", lambda: not talker.is_up(), 15)
    told = talker.heard("notification")[-1]["notification"]
    assert (told["code"], told["subcode"]) == (6, 1)
    wait("its routes go", lambda: stage.node.routes("10.40.0.0/24") == [], 15)
    wait("the log names it", lambda: stage.node.logged(f'"peer down" peer={talker.v4}'), 15)
    assert stage.frr_router.neighbour(stage.frr_router.node_v4)["connectionsEstablished"] == flaps
