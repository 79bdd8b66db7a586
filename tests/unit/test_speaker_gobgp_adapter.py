"""Sessions with any version of gobgpd: what is made of what it lists."""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from speaker.bgp import BgpGlobal, Peer, PeerStatus, SessionOptions
from speaker.gobgp import neighbours
from speaker.gobgp.channel import Connection
from speaker.gobgp.session import DaemonLostError
from speaker.gobgp.v3 import GobgpV3
from speaker.gobgp.v4 import GobgpV4
from speaker.settings import Api

if TYPE_CHECKING:
    from speaker.gobgp.adapter import Adapter

HERE = BgpGlobal(65001, "10.0.0.1")


def listed(
    version: type[GobgpV3 | GobgpV4], address: str, monkeypatch: pytest.MonkeyPatch
) -> list[PeerStatus]:
    """What becomes of one peer on the link lo, which another neighbour is on."""
    peer = PeerStatus(Peer(None, SessionOptions(65002), interface="lo"), "active", address=address)

    async def one(*_: object) -> tuple[list[PeerStatus], set[str]]:
        return [peer], set()

    async def here(*_: object) -> BgpGlobal:
        return HERE

    async def ask() -> list[PeerStatus]:
        session: Adapter = version(Connection(Api("unix:///nobody")))
        try:
            return await session.peers()
        finally:
            await session.close()

    monkeypatch.setattr(version, "_list_peers", one)
    monkeypatch.setattr(version, "_get_bgp", here)
    monkeypatch.setattr(neighbours, "known", lambda _: [IPv6Address("fe80::9")])
    return asyncio.run(ask())


@pytest.mark.parametrize("version", [GobgpV3, GobgpV4])
def test_an_address_that_is_none_is_no_answer(
    version: type[GobgpV3 | GobgpV4], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DaemonLostError, match="no answer"):
        listed(version, "nonsense%lo", monkeypatch)
    (found,) = listed(version, "fe80::1%lo", monkeypatch)
    assert (str(found.peer.address), found.peer.interface) == ("fe80::1%lo", "")
    assert listed(version, "", monkeypatch) == []
