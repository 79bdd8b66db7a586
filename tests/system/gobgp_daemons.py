"""Daemons of both versions behind one face: a process with a socket, in a network namespace of its own.

Which one: Debian's gobgpd (version 3), the fake of version 4, or the gobgpd of version 4 that ANYPOD_GOBGPD_V4 names.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from speaker.bgp import Attributes, BgpGlobal, DynamicPeers, Family, LocalPath, Peer, SessionOptions
from speaker.gobgp.connect import connect
from speaker.settings import Api
from tests.system.gobgp_rig import Member, wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from speaker.gobgp.session import Session

OWN = BgpGlobal(65001, "10.99.0.1", -1)
# Passive, so that nothing is dialled.
OPTIONS = SessionOptions(65100, families=frozenset(Family), passive=True)
PEER = Peer(ip_address("192.0.2.9"), OPTIONS)
GROUP = DynamicPeers("racks", (ip_network("198.51.100.0/24"), ip_network("2001:db8::/64")), OPTIONS)
PATHS = (
    LocalPath(ip_network("10.1.0.0/24"), ip_address("0.0.0.0")),
    LocalPath(
        ip_network("10.1.1.0/24"),
        ip_address("10.99.0.1"),
        Attributes(frozenset({65001 << 16 | 7, 0xFFFFFF01}), frozenset({(65001, 1, 2)}), 200, 0, 3_000_000),
    ),
    LocalPath(ip_network("fd00:1::/64"), ip_address("::"), Attributes(med=9)),
)

V4 = "ANYPOD_GOBGPD_V4"
DAEMONS = ["gobgpd-3", "fake-gobgpd-4", "gobgpd-4"]


def start_daemon(member: Member, kind: str) -> None:
    """Starts a daemon of that kind as a member's gobgpd; it listens when this returns."""
    member.socket.unlink(missing_ok=True)
    fake = [sys.executable, "-m", "tests.system.gobgp_v4_servicer"]
    real = [os.environ.get(V4, "gobgpd") if kind == "gobgpd-4" else "gobgpd", "--pprof-disable"]
    command = [*(fake if kind == "fake-gobgpd-4" else real), "--api-hosts", f"unix://{member.socket}"]
    member.start("gobgpd", command, member.directory / "gobgpd.log")
    wait("the daemon listens", member.socket.exists)


class Daemon:
    """One daemon; `kind` is one of DAEMONS and may be changed between two starts."""

    def __init__(self, kind: str, directory: Path) -> None:
        if kind == "gobgpd-4" and V4 not in os.environ:
            pytest.skip(f"{V4} names no gobgpd of version 4")
        self.kind = kind
        self.member = Member("daemon", directory)
        self.target = f"unix://{self.member.socket}"

    def start(self) -> None:
        """Starts it; it listens when this returns."""
        start_daemon(self.member, self.kind)

    def kill(self) -> None:
        """Ends it at once."""
        self.member.kill("gobgpd")

    def runs(self) -> bool:
        """Whether its process is still there."""
        return self.member.processes["gobgpd"].poll() is None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A session of whatever version answers."""
        made = await connect(Api(self.target))
        try:
            yield made
        finally:
            await made.close()

    def close(self) -> None:
        """Nothing of it stays."""
        self.member.close()


def using(daemon: Daemon, work: Callable[[Session], Awaitable[None]], start: bool = True) -> None:
    """Does the work in a session, with a daemon that has been started."""

    async def run() -> None:
        async with daemon.session() as session:
            if start:
                await session.start(OWN)
            await work(session)

    asyncio.run(run())
