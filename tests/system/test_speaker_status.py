"""The status socket: one document for each connection, whoever connects and however."""

from __future__ import annotations

import json
import signal
import socket
import stat
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.gobgp_rig import Rig, wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANNOUNCE = '[announce]\nsubnets = ["10.244.1.0/24"]\n'


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("status"))
    try:
        rig.rack(1)
        missing = '[[peer]]\ninterface = "nolink0"\nasn = 65103\n'
        rig.configure([1], ANNOUNCE + missing)
        text = rig.node.config.read_text()
        rig.node.config.write_text(text.replace("asn = 65101\n", 'asn = 65101\ndescription = "rack 1"\n', 1))
        rig.node.start_gobgpd()
        rig.node.start_speaker()
        wait("the rack's sessions", lambda: rig.node.established() == 2)
        yield rig
    finally:
        rig.close()


def path(rig: Rig) -> Path:
    return rig.directory / "state" / "speaker" / "speaker.sock"


def connect(rig: Rig) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(15)
    try:
        client.connect(str(path(rig)))
    except OSError:
        client.close()
        raise
    return client


def read(client: socket.socket) -> bytes:
    with client, client.makefile("rb") as stream:
        return stream.read()


def status(rig: Rig) -> dict[str, Any]:
    found = json.loads(read(connect(rig)))
    assert isinstance(found, dict)
    return found


def test_it_shows_peers_paths_and_routes_as_they_are_now(rig: Rig) -> None:
    rack = rig.members[1]
    rack.gobgp("global", "rib", "add", "10.60.0.0/16", "-a", "ipv4")
    wait("the route", lambda: rig.node.gateways("10.60.0.0/16"))
    found = status(rig)
    assert (found["asn"], found["router_id"]) == (65001, "10.99.0.1")
    assert found["gobgpd"]["connected"]
    assert found["gobgpd"]["in_step"]
    assert found["configuration"]["refused"] == ""
    peers = {peer["peer"]: peer for peer in found["peers"]}
    assert peers["10.99.1.2"]["state"] == "established"
    assert [peers[key]["description"] for key in ("10.99.1.2", "fd99:1::2")] == ["rack 1", ""]
    assert (peers["10.99.1.2"]["asn"], peers["10.99.1.2"]["received"]) == (65101, 1)
    assert (peers["10.99.1.2"]["advertised"], peers["fd99:1::2"]["advertised"]) == (1, 0)
    assert list(found["missing_peers"]) == ["nolink0"]
    assert found["missing_peers"]["nolink0"]
    assert (found["announced"], found["paths"]) == (1, [{"prefix": "10.244.1.0/24", "next_hop": ""}])
    assert (found["learned"], found["routes"]["installed"], found["routes"]["refusals"]) == (1, 1, {})


def test_a_refused_configuration_is_shown(rig: Rig) -> None:
    good = rig.node.config.read_text()
    rig.node.config.write_text("[bgp]\n")
    rig.node.processes["speaker"].send_signal(signal.SIGHUP)
    wait("the refusal", lambda: "bgp.asn" in status(rig)["configuration"]["refused"])
    rig.node.config.write_text(good)
    wait("the end of it", lambda: not status(rig)["configuration"]["refused"])


def test_what_waits_for_a_restart_is_shown(rig: Rig) -> None:
    good = rig.node.config.read_text()
    rig.node.config.write_text(good.replace("asn = 65001", "asn = 65009", 1))
    wait("the change", lambda: list(status(rig)["configuration"]["waiting"]) == ["bgp"])
    assert status(rig)["asn"] == 65001
    rig.node.config.write_text(good)
    wait("its end", lambda: not status(rig)["configuration"]["waiting"])


def test_a_gobgpd_that_hangs_is_late_before_it_is_lost(rig: Rig) -> None:
    assert status(rig)["late"] is False
    gobgpd = rig.node.processes["gobgpd"]
    gobgpd.send_signal(signal.SIGSTOP)
    try:
        found = status(rig)
        assert found["late"] is True
        assert found["gobgpd"]["connected"]
    finally:
        gobgpd.send_signal(signal.SIGCONT)
    wait("its answer", lambda: status(rig)["late"] is False)


def test_readers_that_do_not_read_hinder_nobody_for_long(rig: Rig) -> None:
    lazy = [connect(rig) for _ in range(40)]
    try:
        wait("an answer", lambda: answers(rig), 15)
    finally:
        for client in lazy:
            client.close()
    hasty = [connect(rig) for _ in range(20)]
    for client in hasty:
        client.close()
    wait("an answer", lambda: answers(rig), 15)


@pytest.mark.parametrize("way", ["removed", "replaced"])
def test_a_socket_that_somebody_takes_away_comes_back(rig: Rig, way: str) -> None:
    path(rig).unlink()
    if way == "replaced":
        path(rig).touch()
    wait("an answer", lambda: answers(rig), 10)


def test_the_socket_is_not_for_everybody_and_goes_with_the_speaker(rig: Rig) -> None:
    assert stat.S_IMODE(path(rig).stat().st_mode) == 0o660
    rig.node.kill("speaker", signal.SIGKILL)
    assert path(rig).exists()
    rig.node.start_speaker()
    wait("a new socket over the old one", lambda: rig.node.logged('"speaker started"') == 2)
    wait("an answer", lambda: answers(rig))
    assert rig.node.kill("speaker", signal.SIGTERM) == 0
    assert not path(rig).exists()


def answers(rig: Rig) -> bool:
    try:
        return bool(status(rig)["gobgpd"]["connected"])
    except (OSError, ValueError):
        return False  # not there, or turned away without a word
