"""Questions to the status socket: whole lists in parts, all about a prefix, and what is no question."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from ipaddress import IPv4Network, ip_address, ip_network
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from speaker.answers import HEARING, PART, answer, heard
from speaker.bgp import Destination, LearnedPath, PeerStatus
from speaker.desired import Held, KernelRoute, NextHop
from speaker.kernel.leftout import Fates
from speaker.reconcile import Speaker
from speaker.report import Report
from speaker.settings import Accept, Announcement
from speaker.statefile import Pods
from tests.unit.anycast_rig import IdleKeeper, endpoint
from tests.unit.memory_daemon import CONFIG, PEER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from speaker.settings import Config

SUBNETS = tuple(IPv4Network("10.128.0.0/9").subnets(new_prefix=21))
HOP = ip_address("10.0.0.2")


def learned(prefix: str) -> Destination:
    path = LearnedPath(HOP, "10.0.0.2", 100, 1, 0, 0, True)
    return Destination(ip_network(prefix), None, False, (path,))


def ask(directory: Path, config: Config, question: object) -> dict[str, Any]:
    """Of a speaker that announces SUBNETS, has one peer and has learned a prefix."""

    async def show() -> dict[str, Any]:
        keeper = IdleKeeper(config)
        keeper.anycast.look((endpoint(1),), (), 0.0, 0.0)
        fib = SimpleNamespace(known=Held())
        speaker = Speaker(config, None, fib, Pods(None), keeper, Report(str(directory)))  # type: ignore[arg-type]
        speaker.daemon.peers.append(PeerStatus(PEER, "established"))
        speaker.daemon.table.put(learned("172.16.0.0/12"))
        line = question if isinstance(question, bytes) else json.dumps(question).encode()
        return answer(speaker, line)

    return asyncio.run(show())


CONFIGURED = replace(CONFIG, announce=replace(CONFIG.announce, subnets=Announcement("subnets", SUBNETS)))


def parts(directory: Path, **question: object) -> Iterator[dict[str, Any]]:
    start: int | None = 0
    while start is not None:
        part = ask(directory, CONFIGURED, {"from": start, **question})
        assert len(part["items"]) <= PART
        yield part
        start = part["next"]


def test_a_list_is_told_whole_in_parts(tmp_path: Path) -> None:
    told = list(parts(tmp_path, list="announced"))
    found = [one["prefix"] for part in told for one in part["items"]]
    assert len(found) == len(set(found)) == told[0]["total"] == len(SUBNETS)
    assert len(told) == 1 + len(found) // PART > 1


def test_a_list_can_be_of_one_prefix(tmp_path: Path) -> None:
    told = parts(tmp_path, list="announced", within="10.200.0.0/16")
    items = [one for part in told for one in part["items"]]
    assert [one["prefix"] for one in items] == list(
        map(str, IPv4Network("10.200.0.0/16").subnets(new_prefix=21))
    )
    assert {one["announcement"] for one in items} == {"subnets"}


def test_all_about_an_address(tmp_path: Path) -> None:
    found = ask(tmp_path, CONFIGURED, {"explain": "10.200.0.9"})
    (path,) = found["announced"]
    assert (path["prefix"], path["in_gobgpd"]) == ("10.200.0.0/21", False)
    assert path["told"] == [{"peer": PEER.key, "established": True, "allowed": True}]
    assert found["learned"] == []
    (entry,) = ask(tmp_path, CONFIGURED, {"explain": "172.16.1.0/24"})["learned"]
    assert entry["paths"][0]["peer"] == "10.0.0.2"


@pytest.mark.parametrize(
    "question",
    [
        b"x", b"[]", b"1", b"[" * 4000, b"{}", b"\xff", {"list": "passwords"},
        {"explain": "10.0.0.1/8"}, {"explain": 1e9},
        {"list": "announced", "from": -1}, {"list": "announced", "from": []}, {"list": "announced", "within": "x"},
        b'{"list": "announced", "from": 1e999}', b'{"list": "announced", "from": NaN}',
        {"list": "learned", "from": 1 << 70},
        {"list": []},
    ],
)  # fmt: skip
def test_what_is_no_question_is_told_so(tmp_path: Path, question: object) -> None:
    assert list(ask(tmp_path, CONFIG, question)) == ["mistake"]


def test_who_asks_nothing_is_not_waited_for() -> None:
    async def hear(*sent: bytes) -> tuple[bytes, float]:
        reader = asyncio.StreamReader(limit=100)
        for one in sent:
            reader.feed_data(one)
        before = asyncio.get_running_loop().time()
        line = await heard(reader)
        return line, asyncio.get_running_loop().time() - before

    for sent, line in [
        ((), b""),
        ((b"half",), b""),
        ((b"x" * 200,), b""),
        ((b"\n",), b"\n"),
        ((b"a", b"b\nc"), b"ab\n"),
    ]:
        found, seconds = asyncio.run(hear(*sent))
        assert found == line
        assert seconds < HEARING + 5


# ---- why a learned prefix is not in the kernel


def fate(config: Config, destination: Destination, **routes: Any) -> tuple[str, str]:
    made = SimpleNamespace(
        **{"refused": {}, "wanted": {}, "unresolved": {}, "beyond_maximum": 0, "held": Held(), **routes},
        why_unreachable=lambda hop: f"no way to {hop}",
    )
    found = Fates(config, made, (), ()).of(destination)
    assert found.fix or found.state == "installed" or "itself" in found.reason or "own links" in found.reason
    return found.state, found.reason


def test_what_became_of_a_learned_prefix() -> None:
    entry, other = learned("172.16.0.0/12"), learned("0.0.0.0/0")
    key = entry.prefix, CONFIG.kernel.metric
    wanted = {key: KernelRoute(*key, frozenset({NextHop(HOP)}))}
    only = replace(CONFIG, accept=Accept(prefixes=()))
    assert fate(CONFIG, entry, wanted=wanted) == ("installed", "")
    assert fate(CONFIG, entry, wanted=wanted, refused={key: "no"}) == ("refused", "the kernel refuses it: no")
    assert "accept.default-route" in fate(only, other)[1]
    assert "kernel.install" in fate(replace(CONFIG, kernel=replace(CONFIG.kernel, install=False)), entry)[1]
    assert fate(CONFIG, replace(entry, foreign=True))[0] == "left-out"
    assert fate(CONFIG, entry, unresolved={NextHop(HOP): 1}) == (
        "unreachable", f"next hop {HOP}: no way to {HOP}",
    )  # fmt: skip
    assert "accept.maximum" in fate(CONFIG, entry, beyond_maximum=3)[1]
    inside = learned("10.200.0.0/24")
    assert "subnet that this node announces" in fate(CONFIGURED, inside)[1]
    connected = Held(connected=frozenset({entry.prefix}))
    assert "own links" in fate(CONFIG, entry, held=connected)[1]
