"""The status document: every field is documented, and long lists are cut."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from speaker.anycast.drain import Drain, Scope
from speaker.bgp import PeerStatus
from speaker.reconcile import Speaker
from speaker.reload import Reload
from speaker.report import Report
from speaker.settings import Announcement
from speaker.statefile import Pods
from speaker.status import LISTED, document
from tests.unit.anycast_rig import IdleKeeper, endpoint
from tests.unit.memory_daemon import CONFIG, PEER, SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speaker.settings import Config

PAGE = Path(__file__).resolve().parents[2] / "docs" / "speaker.md"
# Configured peers that are missing are told by their names.
NAMES = {SECOND.key}


def shown(config: Config, directory: Path) -> dict[str, object]:
    """Of a speaker that has not begun, whose daemon has one of the peers."""

    async def show() -> dict[str, object]:
        keeper = IdleKeeper(config)
        keeper.anycast.look((endpoint(1),), (Drain(Scope.NODE, "", "", 0.0),), 0.0, 0.0)
        speaker = Speaker(config, None, SimpleNamespace(), Pods(None), keeper, Report(str(directory)))  # type: ignore[arg-type]
        speaker.daemon.peers.append(PeerStatus(PEER, "established", uptime=12.7))
        return document(speaker, Reload(lambda: config, config))

    return asyncio.run(show())


def fields(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield key
            yield from fields(below)
    elif isinstance(value, list):
        for one in value:
            yield from fields(one)


def test_every_field_is_documented(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = shown(replace(CONFIG, peers=(PEER, SECOND)), tmp_path)
    assert {name for name in fields(found) if f"`{name}`" not in page} == NAMES
    assert found["missing_peers"] == {SECOND.key: ""}


def test_long_lists_are_cut_and_counted(tmp_path: Path) -> None:
    prefixes = tuple(IPv4Network("10.0.0.0/8").subnets(new_prefix=20))
    announce = replace(CONFIG.announce, subnets=Announcement("subnets", prefixes))
    found = shown(replace(CONFIG, announce=announce), tmp_path)
    assert found["announced"] == len(prefixes) > LISTED
    assert len(json.dumps(found)) < 100 * LISTED


def test_a_description_is_the_configurations(tmp_path: Path) -> None:
    found = shown(replace(CONFIG, peers=(replace(PEER, description="the new rack"), SECOND)), tmp_path)
    assert [peer["description"] for peer in found["peers"]] == ["the new rack"]  # type: ignore[attr-defined]
