"""Peers that are added, changed and removed in the file of a running speaker, with FRR at the other end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import wait
from tests.system.peers_rig import ASN, Stage, peer
from tests.system.peers_routers import Frr, frr_conf

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBNET = "10.244.1.0/24"
ANNOUNCE = f'[announce]\nsubnets = ["{SUBNET}"]\n'
UP_SECONDS = 25


class Changes(Stage):
    """One peer is changed, the other must not notice."""

    def build(self) -> None:
        self.changed, self.steady = self.frr("changed"), self.frr("steady")
        self.secret = self.directory / "secret"
        self.secret.touch(0o600)

    def up(self) -> None:
        for router in (self.changed, self.steady):
            node = router.node_v4
            lines = f"neighbor {node} remote-as {ASN}\nneighbor {node} timers connect 1\n"
            router.start_frr(frr_conf(65600 + router.number, router.number, lines))
        self.use()
        self.start_node()
        for router in (self.changed, self.steady):
            self.has_session(router)

    def use(self, more: str = "", **keys: object) -> None:
        """The changed peer gets these keys; `more` are other tables."""
        peers = [peer(self.changed.v4, 65601, "", **keys), peer(self.steady.v4, 65602)]
        self.configure(peers, ANNOUNCE + more)

    def at_frr(self, line: str) -> None:
        self.changed.vtysh("configure", "router bgp 65601", line)

    def has_session(self, router: Frr) -> None:
        wait(f"{router.directory.name} is told", lambda: router.has(SUBNET), UP_SECONDS)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changes]:
    stage = Changes(tmp_path_factory.mktemp("changes"))
    try:
        stage.up()
        yield stage
    finally:
        stage.close()


@pytest.fixture(autouse=True)
def _the_other_peer_notices_nothing(stage: Changes) -> Iterator[None]:
    stage.has_session(stage.changed)
    steady = stage.steady
    before = steady.neighbour(steady.node_v4)
    yield
    after = steady.neighbour(steady.node_v4)
    assert after["connectionsEstablished"] == before["connectionsEstablished"]
    assert after["messageStats"]["updatesRecv"] == before["messageStats"]["updatesRecv"]


def test_a_password_that_comes_changes_and_goes(stage: Changes) -> None:
    node = stage.changed.node_v4
    for word in ("first", "second", ""):
        stage.secret.write_text(f"{word}\n")
        stage.use(**({"password_file": str(stage.secret)} if word else {}))
        wait("the session ends", lambda: not stage.changed.is_up(node), 15)
        stage.at_frr(f"neighbor {node} password {word}" if word else f"no neighbor {node} password")
        wait("it is back", lambda: stage.changed.is_up(node), UP_SECONDS)
        wait("and so is the subnet", lambda: stage.changed.has(SUBNET), 15)


def test_a_peer_that_goes_and_comes(stage: Changes) -> None:
    node = stage.changed.node_v4
    stage.configure([peer(stage.steady.v4, 65602)], ANNOUNCE)
    wait("it goes", lambda: not stage.changed.is_up(node), 15)
    stage.use()
    wait("it comes", lambda: stage.changed.is_up(node), UP_SECONDS)


def test_words_about_a_peer_reset_nothing(stage: Changes) -> None:
    before = stage.changed.neighbour(stage.changed.node_v4)["connectionsEstablished"]
    loaded = stage.node.logged("configuration loaded")
    stage.use("[timers]\nresync = 61\n", description="the other one")
    wait("the file is read", lambda: stage.node.logged("configuration loaded") > loaded, 15)
    assert stage.changed.neighbour(stage.changed.node_v4)["connectionsEstablished"] == before


def test_other_timers_are_a_new_session(stage: Changes) -> None:
    node = stage.changed.node_v4
    timers = "[peer.timers]\nhold = 6\nkeepalive = 2\n"
    stage.configure([peer(stage.changed.v4, 65601, timers), peer(stage.steady.v4, 65602)], ANNOUNCE)
    wait("six", lambda: stage.changed.neighbour(node).get("bgpTimerHoldTimeMsecs") == 6000, UP_SECONDS)
