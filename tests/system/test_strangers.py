"""Who is no peer and dials all the same, a pod for one: no session, nothing told. And where gobgpd listens at all."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import Rig, wait
from tests.system.scrape import inside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.gobgp_rig import Member

UPLINK, BRIDGE, POD = "10.99.1.1", "10.244.1.1", "10.244.1.2"
PEERS = {"10.99.1.2", "fd99:1::2"}
MARKER = b"\xff" * 16
OPEN, UPDATE = 1, 2


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A node with a rack, and a pod behind its bridge's address."""
    rig = Rig(tmp_path)
    try:
        rig.rack(1)
        pod = rig.member("pod")
        rig.node.ip("link", "add", "cni0", "type", "veth", "peer", "name", "eth0", "netns", pod.ns)
        for member, link, address in ((rig.node, "cni0", BRIDGE), (pod, "eth0", POD)):
            member.ip("address", "add", f"{address}/24", "dev", link)
            member.ip("link", "set", link, "up")
        pod.ip("route", "add", "default", "via", BRIDGE)
        yield rig
    finally:
        rig.close()


def start(rig: Rig, top: str = "") -> None:
    rig.configure([1], '[announce]\nsubnets = ["10.244.1.0/24"]\n', top)
    rig.node.start_gobgpd()
    rig.node.start_speaker()
    wait("it has what could be told", lambda: "10.244.1.0/24" in rig.node.table())
    wait("and its peers", lambda: neighbours(rig) == PEERS)


def neighbours(rig: Rig) -> set[str]:
    return {peer["state"]["neighbor_address"] for peer in rig.node.neighbours()}


def member(rig: Rig, name: str) -> Member:
    return next(one for one in rig.members if name in one.ns)


def open_message() -> bytes:
    """Of AS 65101, which the node's rack has."""
    body = struct.pack("!BHH4sB", 4, 65101, 90, socket.inet_aton(POD), 0)
    return MARKER + struct.pack("!HB", 19 + len(body), OPEN) + body


def heard(address: str) -> bytes:
    """What the other end says to who begins a session, until it ends it or begins one, too."""
    told = b""
    with socket.create_connection((address, 179), 5) as connection:
        connection.settimeout(20)
        try:
            connection.sendall(open_message())
            while OPEN not in kinds(told) and (more := connection.recv(4096)):
                told += more
        except (ConnectionResetError, BrokenPipeError):
            pass
    return told


def kinds(told: bytes) -> list[int]:
    """The types of the messages."""
    found = []
    while len(told) >= 19:
        length, kind = struct.unpack_from("!HB", told, 16)
        found.append(kind)
        told = told[max(length, 19) :]
    return found


def test_a_pod_that_dials_gets_no_session_and_hears_nothing(rig: Rig) -> None:
    start(rig)
    pod = member(rig, "pod")
    with inside(pod.ns):
        for address in (BRIDGE, UPLINK):
            assert not {OPEN, UPDATE} & set(kinds(heard(address)))
    assert neighbours(rig) == PEERS
    # The same words from a peer's address begin a session.
    rack = member(rig, "rack")
    rack.kill("gobgpd")
    with inside(rack.ns):
        wait("a session begins", lambda: OPEN in kinds(heard(UPLINK)))


def test_it_listens_only_where_it_is_told_to(rig: Rig) -> None:
    start(rig, 'listen-addresses = ["10.99.1.1", "fd99:1::1"]\n')
    pod = member(rig, "pod")
    with inside(pod.ns), pytest.raises(ConnectionRefusedError):
        socket.create_connection((BRIDGE, 179), 5)
    rack = member(rig, "rack")
    with inside(rack.ns):
        socket.create_connection((UPLINK, 179), 5).close()
