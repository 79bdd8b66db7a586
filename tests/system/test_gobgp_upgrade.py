"""A gobgpd of another version takes over while the speaker runs: it is asked anew, and filled again."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from speaker.gobgp.connect import connect
from speaker.gobgp.session import DaemonLostError
from speaker.gobgp.v3 import GobgpV3
from speaker.gobgp.v4 import GobgpV4
from speaker.settings import Api
from tests.system.gobgp_daemons import V4, start_daemon
from tests.system.gobgp_rig import Member, Rig, wait

if TYPE_CHECKING:
    from pathlib import Path

SUBNETS = {"10.244.1.0/24", "fd24:1::/64"}
ANNOUNCE = '[announce]\nsubnets = ["10.244.1.0/24", "fd24:1::/64"]\n'
CLASSES = {"gobgpd-3": GobgpV3, "fake-gobgpd-4": GobgpV4, "gobgpd-4": GobgpV4}


def filled(node: Member) -> tuple[type, set[str], set[str]] | None:
    """What answers, what of ours it announces, and which peers it has."""

    async def look() -> tuple[type, set[str], set[str]]:
        session = await connect(Api(f"unix://{node.socket}"))
        try:
            ours = {str(found.prefix) for found in await session.table() if found.ours}
            return type(session), ours, {status.peer.key for status in await session.peers()}
        finally:
            await session.close()

    try:
        return asyncio.run(look())
    except DaemonLostError:
        return None


@pytest.mark.parametrize("newer", ["fake-gobgpd-4", "gobgpd-4"])
def test_an_upgrade_and_the_way_back(newer: str, tmp_path: Path) -> None:
    if newer == "gobgpd-4" and V4 not in os.environ:
        pytest.skip(f"{V4} names no gobgpd of version 4")
    rig = Rig(tmp_path)
    try:
        node = rig.node
        rig.configure([1], ANNOUNCE)
        kinds = ["gobgpd-3", newer, "gobgpd-3"]
        for number, kind in enumerate(kinds):
            start_daemon(node, kind)
            if number == 0:
                node.start_speaker()
            wanted = (CLASSES[kind], SUBNETS, {"10.99.1.2", "fd99:1::2"})
            wait(f"{kind} has it all", lambda wanted=wanted: filled(node) == wanted)  # type: ignore[misc]
            node.kill("gobgpd")
        assert node.logged('"gobgpd connected"') == len(kinds)
        assert node.logged('"gobgpd lost"') >= len(kinds) - 1
        assert node.kill("speaker", 15) == 0
    finally:
        rig.close()


def test_a_speaker_of_gobgpd_4_routes_as_with_any(tmp_path: Path) -> None:
    """The other ends are real ones: what a fake can't show."""
    if V4 not in os.environ:
        pytest.skip(f"{V4} names no gobgpd of version 4")
    rig = Rig(tmp_path)
    try:
        racks = [rig.rack(number) for number in (1, 2)]
        node = rig.node
        rig.configure([1, 2], ANNOUNCE)
        start_daemon(node, "gobgpd-4")
        node.start_speaker()
        for rack in racks:
            wait("both subnets", lambda rack=rack: rack.table("ipv4") | rack.table("ipv6") == SUBNETS)  # type: ignore[misc]
            rack.gobgp("global", "rib", "add", "10.50.0.0/16", "-a", "ipv4")
            rack.gobgp("global", "rib", "add", "fd50::/64", "-a", "ipv6")
        wait("two next hops", lambda: node.gateways("10.50.0.0/16") == {"10.99.1.2", "10.99.2.2"})
        wait("two next hops", lambda: node.gateways("fd50::/64") == {"fd99:1::2", "fd99:2::2"})
        racks[0].kill("gobgpd")
        wait("one next hop", lambda: node.gateways("10.50.0.0/16") == {"10.99.2.2"})
        node.kill("gobgpd")
        wait("the loss", lambda: node.logged('"gobgpd lost"') == 1)
        assert node.gateways("10.50.0.0/16") == {"10.99.2.2"}
        start_daemon(node, "gobgpd-4")
        wait("both subnets again", lambda: racks[1].table("ipv4") | racks[1].table("ipv6") >= SUBNETS)
        assert node.gateways("10.50.0.0/16") == {"10.99.2.2"}
    finally:
        rig.close()
