"""Many prefixes are asked for in pieces, some at a time; what goes wrong with one ends them all."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, cast

import pytest

from speaker.bgp import Destination
from speaker.gobgp.session import DaemonLostError
from speaker.gobgp.streams import ASKED, AT_A_TIME, Streams, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.gobgp_v3 import gobgp_pb2 as api
    from speaker.bgp import Prefix

NETS: list[Prefix] = [IPv4Network((10 << 24 | number << 8, 24)) for number in range(5 * ASKED[4] + 1)]


class Answering:
    """Has an entry for each prefix of even number; `fails`: how many questions are answered before none is any more."""

    def __init__(self, fails: int = 1000) -> None:
        self.fails = fails
        self.asked: list[int] = []
        self.now = self.most = self.ended = 0

    async def whole(self, name: str, request: Sequence[Prefix], read: object, seconds: float) -> list[Any]:  # noqa: ARG002
        self.asked.append(len(request))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.001 if len(self.asked) % 2 else 0.002)
            if len(self.asked) > self.fails:
                raise TimeoutError
        finally:
            self.now -= 1
            self.ended += 1
        return [Destination(net, None, False, ()) if net in NETS[::2] else None for net in request[:3]]


def look(daemon: Answering, nets: Sequence[Prefix]) -> list[Destination]:
    def listing(some: Sequence[Prefix]) -> api.ListPathRequest:
        return cast("api.ListPathRequest", some)

    return asyncio.run(listed(cast("Streams", daemon), listing, lambda _: None, nets))


def test_all_are_asked_for_and_the_answers_stand_in_order() -> None:
    daemon = Answering()
    found = look(daemon, NETS)
    assert daemon.asked == [ASKED[4]] * 5 + [1]
    assert daemon.most == AT_A_TIME
    firsts = [NETS[start : start + ASKED[4]][:3] for start in range(0, len(NETS), ASKED[4])]
    assert [entry.prefix for entry in found] == [net for some in firsts for net in some if net in NETS[::2]]


def test_without_prefixes_the_whole_table_is_asked_for_once() -> None:
    daemon = Answering()
    assert look(daemon, []) == []
    assert daemon.asked == [0]


def test_one_that_fails_ends_all() -> None:
    daemon = Answering(fails=2)
    with pytest.raises(DaemonLostError):
        look(daemon, NETS * 3)
    assert daemon.now == 0
    # Where all that are asked fail in the same moment, as many more begin before the end of the group is heard of.
    assert daemon.ended == len(daemon.asked) <= 2 + 2 * AT_A_TIME
