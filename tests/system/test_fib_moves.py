"""What a changed configuration does to routes in a real kernel: a maximum, another table, a narrower list."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from speaker.prefixes import everything_in
from speaker.settings import Accept, Kernel
from tests.system.fib_rig import CONFIG, Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_a_maximum_holds_in_the_kernel(tmp_path: Path) -> None:
    config = replace(CONFIG, accept=Accept(maximum=3))
    node = Node(tmp_path, config)
    try:
        for number in (9, 8, 7):
            node.learn(f"10.{number}.0.0/16", "10.99.1.2")
        node.sync()
        before = node.all_routes("proto", "177")
        node.learn("10.1.0.0/16", "10.99.1.2")
        node.sync()
        assert node.all_routes("proto", "177") == before
        assert node.routing.beyond_maximum == 1
        node.learn("10.8.0.0/16")
        node.sync()
        assert node.gateways("10.1.0.0/16") == {"10.99.1.2"}
        assert node.routing.beyond_maximum == 0
    finally:
        node.close()


MOVES = [
    ("metric", Kernel(metric=50)),
    ("protocol", Kernel(protocol=201)),
    ("table", Kernel(table=100)),
    ("a table beyond a byte", Kernel(table=100_000)),
    ("all of them", Kernel(protocol=201, metric=50, table=100)),
]


@pytest.mark.parametrize("kernel", [row[1] for row in MOVES], ids=[row[0] for row in MOVES])
def test_moves_leave_nothing_behind_and_nobody_without_a_route(node: Node, kernel: Kernel) -> None:
    for prefix, hop in (("10.50.0.0/16", "10.99.1.2"), ("fd50::/64", "fd99:1::2")):
        node.learn(prefix, hop)
    node.ip("route", "add", "10.51.0.0/16", "via", "10.99.1.9", "proto", "static", "metric", "50")
    node.ip("route", "add", "10.51.0.0/16", "via", "10.99.1.9", "proto", "static", "table", "100")
    node.sync()
    assert node.fib is not None
    node.routing.reload(replace(CONFIG, kernel=kernel))
    node.sync()
    mine = ("proto", str(kernel.protocol), "table", str(kernel.table))
    for prefix in ("10.50.0.0/16", "fd50::/64", "10.244.1.0/24"):
        assert prefix in node.all_routes(*mine)
    assert f"metric {kernel.metric}" in node.all_routes(*mine)
    everything = node.all_routes("table", "all")
    assert everything.count("10.50.0.0/16") == everything.count("fd50::/64") == 1
    assert everything.count("unreachable 10.244.1.0/24") == 1
    assert everything.count("10.51.0.0/16") == 2
    node.routing.reload(CONFIG)
    node.sync()
    assert node.gateways("10.50.0.0/16") == {"10.99.1.2"}
    assert node.all_routes("table", "all").count("10.50.0.0/16") == 1


def test_after_a_move_routes_of_others_are_as_safe_as_before(node: Node) -> None:
    node.learn("10.50.0.0/16", "10.99.1.2")
    node.sync()
    node.routing.reload(replace(CONFIG, kernel=Kernel(protocol=201)))
    node.sync()
    node.learn("10.50.0.0/16")
    node.sync()
    node.ip("route", "add", "10.50.0.0/16", "via", "10.99.1.9", "metric", "1190", "proto", "static")
    node.learn("10.50.0.0/16", "10.99.1.2")
    node.sync()
    assert "10.99.1.9" in node.ip("route", "show", "10.50.0.0/16", "proto", "static")
    assert len(node.routing.refused) == 1


def test_a_move_never_takes_the_route_away(node: Node) -> None:
    """Whoever listens to the kernel sees the new route before the former one goes."""
    node.learn("10.50.0.0/16", "10.99.1.2")
    node.sync()
    assert node.fib is not None
    sent: list[str] = []
    send = node.fib._send

    def spy(messages: list[bytes]) -> object:
        sent.extend("remove" if message[4] == 25 else "write" for message in messages)
        return send(messages)

    node.fib._send = spy  # type: ignore[assignment, method-assign]
    for kernel in (Kernel(metric=50), Kernel(protocol=201), Kernel(table=100)):
        sent.clear()
        node.routing.reload(replace(CONFIG, kernel=kernel))
        node.sync()
        assert sent == sorted(sent, reverse=True)
        assert "write" in sent


def test_switching_installation_off_removes_ours_and_on_again_brings_them_back(node: Node) -> None:
    node.learn("10.50.0.0/16", "10.99.1.2")
    node.sync()
    node.routing.reload(replace(CONFIG, kernel=Kernel(install=False)))
    node.sync()
    assert node.all_routes("proto", "177") == ""
    node.routing.reload(CONFIG)
    node.sync()
    assert node.gateways("10.50.0.0/16") == {"10.99.1.2"}


def test_a_narrower_accept_list_takes_routes_out(node: Node) -> None:
    for prefix in ("10.50.0.0/16", "192.0.2.0/24"):
        node.learn(prefix, "10.99.1.2")
    node.sync()
    accept = Accept(prefixes=(everything_in(ip_network("10.0.0.0/8")),))
    node.routing.reload(replace(CONFIG, accept=accept))
    node.sync()
    assert node.gateways("10.50.0.0/16") == {"10.99.1.2"}
    assert node.routes("192.0.2.0/24") == []
