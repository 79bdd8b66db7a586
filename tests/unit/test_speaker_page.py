"""The status page: true, escaped, bounded, and with nothing from elsewhere."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from html.parser import HTMLParser
from ipaddress import IPv4Network, ip_address
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from speaker.anycast.drain import Drain, Scope
from speaker.anycast.health import Health
from speaker.bgp import Destination, Peer, PeerStatus
from speaker.history import History
from speaker.page import facts as page_facts
from speaker.page.facts import facts
from speaker.page.html import el, table, text
from speaker.page.render import render
from speaker.page.style import CSS, POLICY, SCRIPT
from speaker.reconcile import Speaker
from speaker.reload import Reload
from speaker.report import Report
from speaker.settings import Announcement
from speaker.statefile import Pods
from tests.unit.anycast_rig import IdleKeeper, endpoint
from tests.unit.memory_daemon import CONFIG, OPTIONS, PEER, SECOND

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from speaker.anycast.endpoints import Endpoint
    from speaker.settings import Config

HOSTILE = "</td><script>alert('x')</script><img src=//evil onerror=\"y\">&\u202e\x00"


class Stage:
    """A speaker that has not begun, and what it is said to have seen."""

    def __init__(
        self,
        directory: Path,
        config: Config = CONFIG,
        ends: Collection[Endpoint] = (),
        peers: Collection[PeerStatus] = (),
        drains: Collection[Drain] = (),
        down: Collection[Endpoint] = (),
    ) -> None:
        keeper = IdleKeeper(config)
        keeper.checks.states = {one.key: Health.DOWN if one in down else Health.UP for one in ends}
        keeper.anycast.look(tuple(ends), tuple(drains), 0.0, 0.0)
        self.speaker = Speaker(config, None, SimpleNamespace(), Pods(None), keeper, Report(str(directory)))  # type: ignore[arg-type]
        self.speaker.connected = self.speaker.in_step = True
        self.speaker.daemon.peers.extend(peers)
        self.reload = Reload(lambda: config, config)
        self.history = History()

    def show(self) -> str:
        return render(facts(self.speaker, self.reload, {}, self.history))


def staged(directory: Path, **more: object) -> Stage:
    async def make() -> Stage:
        return Stage(directory, **more)  # type: ignore[arg-type]

    return asyncio.run(make())


class Reader(HTMLParser):
    """What a browser would make of it, as far as these tests ask."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"script", "style"}:
            self.words.append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.words).split())


UP = PeerStatus(PEER, "established", address="10.0.0.2", uptime=720.0, received=12, accepted=10, advertised=1)


def test_a_node_that_is_well(tmp_path: Path) -> None:
    said = Reader(staged(tmp_path, ends=[endpoint(1)], peers=[UP]).show()).said
    assert "Everything is as configured" in said
    for part in ("AS 65001", "10.0.0.2", "✓ established", "for 12m00s", "2 not taken", "1 / 1"):
        assert part in said
    for part in ("198.51.100.10", "✓ announced", "1 of 1", "dns/1", "10.1.0.1", "10.1.0.0/24"):
        assert part in said


def test_what_is_wrong_stands_first_with_its_reason(tmp_path: Path) -> None:
    config = replace(CONFIG, peers=(PEER, SECOND))
    down = replace(UP, peer=SECOND, state="active", reason="hold timer expired")
    ends = [endpoint(1), endpoint(2)]
    stage = staged(tmp_path, config=config, ends=ends, peers=[UP, down], down=ends)
    stage.reload.refused = "f.toml: bgp.asn: is missing"
    said = Reader(stage.show()).said
    assert "3 to look at" in said
    assert "peer 10.0.0.3 active: hold timer expired" in said
    assert "virtual IP 198.51.100.10 withdrawn: none of its endpoints here is healthy, of 2" in said
    assert "configuration refused: f.toml: bgp.asn: is missing" in said
    assert said.index("10.0.0.3 65002 ! active") < said.index("10.0.0.2 65002 ✓ established")


def test_who_is_told(tmp_path: Path) -> None:
    away = replace(UP, peer=SECOND, state="active")
    stage = staged(tmp_path, config=replace(CONFIG, peers=(PEER, SECOND)), peers=[UP, away])
    path = next(iter(stage.speaker.wanted()))
    assert "not in gobgpd yet" in stage.show()
    stage.speaker.daemon.table.put(Destination(path.prefix, path, False, ()))
    assert "1 of 2 IPv4 peers 10.0.0.2" in Reader(stage.show()).said


def test_drains_and_changes(tmp_path: Path) -> None:
    stage = staged(tmp_path, ends=[endpoint(1)], drains=[Drain(Scope.NODE, "", "", 0.0)])
    stage.history.note("warning", "peer down", {"peer": "10.0.0.2", "reason": "the cable"})
    said = Reader(stage.show()).said
    assert "this node" in said
    assert "! peer down peer 10.0.0.2 the cable" in said


def test_nothing_that_others_named_becomes_markup(tmp_path: Path) -> None:
    evil = replace(endpoint(1), pod=HOSTILE)
    peer = replace(PEER, description=HOSTILE)
    stage = staged(
        tmp_path,
        config=replace(CONFIG, peers=(peer,)),
        ends=[evil],
        peers=[replace(UP, peer=peer, state="idle", reason=HOSTILE, address=HOSTILE)],
        drains=[Drain(Scope.POD, HOSTILE, HOSTILE, 0.0)],
    )
    stage.reload.refused = stage.speaker.trouble = HOSTILE
    stage.history.note("error", HOSTILE, {HOSTILE: HOSTILE, "reason": HOSTILE})
    page = stage.show()
    tags = [tag for tag, _ in Reader(page).tags]
    assert "img" not in tags
    assert tags.count("script") == 1
    assert "\u202e" not in page
    assert "\x00" not in page
    assert page.count("&lt;img") >= 7


def test_nothing_comes_from_elsewhere(tmp_path: Path) -> None:
    page = staged(tmp_path, ends=[endpoint(1)], peers=[UP]).show()
    assert not re.findall(r"https?:|//[a-z]|@import|url\(|\b(?:src|href)=", page)
    assert not [
        key
        for _, attributes in Reader(page).tags
        for key in attributes
        if key.startswith("on") or key in {"style", "src", "href", "action"}
    ]
    assert page.count(CSS) == page.count(SCRIPT) == 1
    assert POLICY.startswith("default-src 'none'")
    assert "unsafe" not in POLICY


def test_long_lists_are_cut_and_counted(tmp_path: Path) -> None:
    peers = [
        PeerStatus(Peer(ip_address(f"10.2.{n // 250}.{n % 250 + 1}"), OPTIONS), "established", uptime=9.0)
        for n in range(page_facts.PEERS + 7)
    ]
    vips = [str(ip_address("198.51.0.0") + n) for n in range(page_facts.VIPS + 9)]
    ends = [endpoint(n, vip) for vip in vips for n in range(1, 21)]
    prefixes = tuple(IPv4Network("10.0.0.0/8").subnets(new_prefix=16))
    config = replace(
        CONFIG,
        peers=tuple(one.peer for one in peers),
        announce=replace(CONFIG.announce, subnets=Announcement("subnets", prefixes)),
    )
    stage = staged(tmp_path, config=config, ends=ends, peers=peers)
    for number in range(1000):
        stage.history.note("info", "endpoint up", {"pod": f"p{number}", "reason": "x" * 10_000})
    page = stage.show()
    said = Reader(page).said
    announced = len(prefixes) + len(vips)
    for rest in ("7 more peers", "9 more virtual IPs", "12 more endpoints"):
        assert f"… and {rest}" in said
    assert f"… and {announced - page_facts.PATHS} more prefixes" in said
    assert said.count("endpoint up") == page_facts.CHANGES
    assert len(page) < 600_000


@pytest.mark.parametrize("value", ["<b>", '"', "'", "&", "a\x1b[2J", 7, None])
def test_text_is_escaped(value: object) -> None:
    assert not set("<>\"'\x1b") & set(text(value))


def test_elements() -> None:
    made = el("p", "a<b", el("b", "x"), class_="n", hidden=True, title='"', id=None)
    assert made == '<p class="n" hidden="" title="&quot;">a&lt;b<b>x</b></p>'
    assert 'scope="row"' in table("c", ("A", "B"), [("1", "2")])
