"""The netlink socket against a real kernel: each message's verdict at its place, whoever else sends by the socket."""

from __future__ import annotations

import contextlib
import os
import random
from typing import TYPE_CHECKING

from cni.attach import Kernel
from cni.link import address_add, address_delete, link_get
from cni.netlink import BATCH, NetlinkError
from tests.system.scrape import inside

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from cni.netlink import NetlinkSocket
    from tests.system.plugin_node import Node

EEXIST = 17
EADDRNOTAVAIL = 99
LOOPBACK = 1
SEED = 6


@contextlib.contextmanager
def kernel(node: Node) -> Iterator[Kernel]:
    with inside(node.name):
        made = Kernel()
    with contextlib.closing(made.socket):
        yield made


def ip(number: int) -> bytes:
    return bytes((10, 1, number >> 8, number & 255))


def test_each_refusal_stands_at_the_place_of_its_message(node: Node) -> None:
    for count in (1, 2, 7, BATCH + 30):
        with kernel(node) as own:
            add_and_delete(own.socket, count)


def add_and_delete(socket: NetlinkSocket, count: int) -> None:
    chance = random.Random(SEED + count)  # noqa: S311 - a test that can be repeated
    refused = {place for place in range(count) if chance.random() < 0.3}
    adds = [address_add(LOOPBACK, ip(place), 32) for place in range(count)]
    assert socket.request_each([adds[place] for place in sorted(refused)]) == [None] * len(refused)
    found = socket.request_each(adds)
    said = {place: (one.errno, one.index) for place, one in enumerate(found) if one is not None}
    assert said == {place: (EEXIST, place) for place in refused}
    deletes = [address_delete(LOOPBACK, ip(place), 32) for place in range(count)]
    assert socket.request_each(deletes) == [None] * count
    again = socket.request_each(deletes)
    assert [one.errno if one else 0 for one in again] == [EADDRNOTAVAIL] * count


def test_numbers_of_messages_begin_anew_before_there_is_no_higher_one(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cni.netlink.NUMBERS", 40)
    with kernel(node) as own:
        for count in (7, 30, 60, 1):
            add_and_delete(own.socket, count)
            answers = own.socket.get_each([link_get("lo")] * count)
            assert [type(answer) for answer in answers] == [bytes] * count
        own.socket.get(link_get("lo"))
        assert own.socket._sequence < 40 + 60 + 2


def test_what_a_forked_process_sends_unasked_is_nobody_elses_answer(node: Node) -> None:
    with kernel(node) as own:
        child = os.fork()
        if child == 0:
            try:
                own.socket.send_unasked([link_get("lo"), link_get("none"), address_add(LOOPBACK, ip(1), 32)])
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        answers = own.socket.get_each([link_get("lo"), link_get("none")])
        assert isinstance(answers[0], bytes)
        assert isinstance(answers[1], NetlinkError)
        assert own.addresses(LOOPBACK) == {(b"\x7f\0\0\1", 8), (b"\0" * 15 + b"\1", 128), (ip(1), 32)}
