"""Passwords that differ: who is suspected when the kernel's counters grow, and who is not."""

from __future__ import annotations

import io
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from speaker import log
from speaker.bgp import Peer, PeerStatus, SessionOptions
from speaker.md5 import NETSTAT, PATIENCE, Md5Watch, counters

if TYPE_CHECKING:
    from pathlib import Path

SIGNED = Peer(ip_address("10.0.0.1"), SessionOptions(65001, password="word"))  # noqa: S106
OTHER = Peer(ip_address("10.0.0.2"), SessionOptions(65001, password="word"))  # noqa: S106
PLAIN = Peer(ip_address("10.0.0.3"), SessionOptions(65001))


class Kernel:
    """A fake of /proc/net/netstat."""

    def __init__(self, path: Path) -> None:
        self.path = path / "netstat"
        self.count(0, 0, 0)

    def count(self, missing: int, unexpected: int, wrong: int) -> None:
        self.path.write_text(
            "TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure\n"
            f"TcpExt: 9 {missing} {unexpected} {wrong}\nIpExt: InNoRoutes\nIpExt: 5\n"
        )


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    log.set_up("info", stream)
    return stream


def up(*peers: Peer) -> list[PeerStatus]:
    return [PeerStatus(peer, "established") for peer in peers]


def test_the_kernel_of_this_machine_is_understood() -> None:
    assert "TCPMD5Failure" in counters(NETSTAT.read_text())


def test_a_peer_is_named_once_when_it_stays_down(kernel: Kernel, stream: io.StringIO) -> None:
    watch = Md5Watch(kernel.path)
    watch.look([SIGNED, PLAIN], up(PLAIN), 0)
    kernel.count(0, 0, 4)
    watch.look([SIGNED, PLAIN], up(PLAIN), PATIENCE / 2)
    assert stream.getvalue() == ""
    watch.look([SIGNED, PLAIN], up(PLAIN), PATIENCE)
    watch.look([SIGNED, PLAIN], up(PLAIN), PATIENCE + 5)
    assert watch.suspects == {SIGNED.key}
    assert stream.getvalue().count("\n") == 1
    assert 'password differs" peer=10.0.0.1' in stream.getvalue()
    assert "another password" in stream.getvalue()
    watch.look([SIGNED, PLAIN], up(SIGNED, PLAIN), PATIENCE + 10)
    assert watch.suspects == set()


def test_growth_from_before_it_went_down_is_no_reason(kernel: Kernel, stream: io.StringIO) -> None:
    watch = Md5Watch(kernel.path)
    kernel.count(7, 7, 7)
    watch.look([SIGNED], up(SIGNED), 1)
    watch.look([SIGNED], [], 2)
    watch.look([SIGNED], [], 2 + 2 * PATIENCE)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("grown", "named"),
    [((3, 0, 0), {SIGNED.key, OTHER.key}), ((0, 3, 0), {PLAIN.key}), ((0, 0, 3), {SIGNED.key, OTHER.key})],
)
def test_only_who_can_be_meant_is_suspected(
    kernel: Kernel, stream: io.StringIO, grown: tuple[int, int, int], named: set[str]
) -> None:
    watch = Md5Watch(kernel.path)
    peers = [SIGNED, OTHER, PLAIN]
    watch.look(peers, [], 0)
    kernel.count(*grown)
    watch.look(peers, [], PATIENCE)
    assert watch.suspects == named
    assert ("may differ" in stream.getvalue()) == (len(named) > 1)


def test_without_counters_nobody_is_suspected(tmp_path: Path) -> None:
    watch = Md5Watch(tmp_path / "none")
    watch.look([SIGNED], [], 0)
    watch.look([SIGNED], [], 100)
    assert watch.suspects == set()
