"""Metrics as Prometheus takes them: over HTTP, true, and within bounds."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import Rig, wait
from tests.system.scrape import PORT, ask, connect, inside, scrape

if TYPE_CHECKING:
    from collections.abc import Iterator

ANNOUNCE = '[announce]\nsubnets = ["10.244.1.0/24"]\n'


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("metrics"))
    try:
        rig.rack(1)
        rig.configure([1], ANNOUNCE)
        rig.node.start_gobgpd()
        rig.node.start_speaker()
        wait("the rack's sessions", lambda: rig.node.established() == 2)
        yield rig
    finally:
        rig.close()


def test_values_are_true(rig: Rig) -> None:
    rack = rig.members[1]
    before = scrape(rig.node.ns)
    assert before["anypod_gobgpd_up"] == before["anypod_in_step"] == before["anypod_config_ok"] == 1
    assert before["anypod_peer_up/65101/10.99.1.2"] == before["anypod_peer_up/65101/fd99:1::2"] == 1
    assert before["anypod_peers_configured"] == 2
    assert before["anypod_paths_wanted"] == before["anypod_paths_announced"] == 1
    for i in range(3):
        rack.gobgp("global", "rib", "add", f"10.6{i}.0.0/16", "-a", "ipv4")
    wait("the routes", lambda: scrape(rig.node.ns)["anypod_routes_installed"] == 3)
    now = scrape(rig.node.ns)
    assert now["anypod_peer_received_prefixes/65101/10.99.1.2"] == 3
    assert now["anypod_peer_advertised_prefixes/65101/10.99.1.2"] == 1
    assert now["anypod_prefixes_learned"] == 3
    assert now["anypod_passes_total"] > before["anypod_passes_total"]
    rack.gobgp("neighbor", "10.99.1.1", "disable")
    wait("the peer is down", lambda: scrape(rig.node.ns)["anypod_peer_up/65101/10.99.1.2"] == 0)
    wait("its routes go", lambda: scrape(rig.node.ns)["anypod_routes_installed"] == 0)
    rack.gobgp("neighbor", "10.99.1.1", "enable")
    rig.node.kill("gobgpd")
    wait("the loss", lambda: scrape(rig.node.ns)["anypod_gobgpd_up"] == 0)
    assert scrape(rig.node.ns)["anypod_gobgpd_losses_total"] == 1
    rig.node.start_gobgpd()
    wait("it is back", lambda: scrape(rig.node.ns)["anypod_in_step"] == 1)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "200"),
        (b"GET /metric HTTP/1.1\r\n\r\n", "404"),
        (b"GET /../ HTTP/1.1\r\n\r\n", "404"),
        (b"POST / HTTP/1.1\r\n\r\n", "405"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
        (b"\r\n\r\n", "405"),
        (b"GET\r\n\r\n", "405"),
        (b"\xff\x00" * 300 + b"\r\n\r\n", "405"),
        (b"GET /" + b"a" * 100_000 + b"\r\n\r\n", "400"),
        (b"GET /metrics?name[]=x HTTP/1.0\r\n\r\n", "200"),
    ],
)
def test_only_metrics_and_the_page_are_served(rig: Rig, request_bytes: bytes, status: str) -> None:
    try:
        assert ask(rig.node.ns, request_bytes)[0].split()[1] == status
    except ConnectionError:
        assert status == "400"  # who sends that much may be cut off before he reads


def test_whoever_dawdles_is_turned_away_and_hinders_nobody(rig: Rig) -> None:
    slow = [connect(rig.node.ns) for _ in range(30)]
    try:
        wait("an answer all the same", lambda: _answers(rig), 20)
    finally:
        for client in slow:
            client.close()
    process = f"/proc/{_speaker(rig)}/fd"
    wait("no descriptor stays", lambda: len(os.listdir(process)) < 40, 20)


def _answers(rig: Rig) -> bool:
    try:
        return bool(scrape(rig.node.ns))
    except (ConnectionError, AssertionError):
        return False


def _speaker(rig: Rig) -> int:
    """The process below `ip netns exec`, which runs the command in its own place."""
    return rig.node.processes["speaker"].pid


def test_it_is_served_on_loopback_only(rig: Rig) -> None:
    with inside(rig.members[1].ns), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("10.99.1.1", PORT), 5)
