"""Next hops beyond the node's links, and other programs' routes, in a real kernel."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from speaker.settings import Accept, Kernel
from tests.system.fib_rig import CONFIG, Node
from tests.system.gobgp_rig import wait

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


def test_over_another_learned_route_and_its_neighbours(node: Node) -> None:
    node.learn("10.8.0.0/16", "10.99.1.2", "10.99.2.2")
    node.learn("10.50.0.0/16", "10.8.0.1")
    node.learn("fd50::/64", "fd08::1")
    node.sync()
    assert node.gateways("10.50.0.0/16") == {"10.99.1.2", "10.99.2.2"}
    assert [str(hop) for hop in node.routing.unresolved] == ["fd08::1"]
    node.learn("fd08::/32", "fd99:1::2")
    node.learn("10.8.0.0/16", "10.99.2.2")
    node.sync()
    assert node.gateways("10.50.0.0/16") == {"10.99.2.2"}
    assert node.gateways("fd50::/64") == {"fd99:1::2"}
    node.learn("10.8.0.0/16")
    node.sync()
    assert node.routes("10.50.0.0/16") == []


def test_over_another_programs_route_and_when_that_changes(node: Node) -> None:
    for prefix, hop in (("10.50.0.0/16", "10.8.0.1"), ("fd50::/64", "fd08::1")):
        node.learn(prefix, hop)
    node.sync()
    assert len(node.routing.unresolved) == 2
    node.settled()
    node.ip("route", "add", "10.8.0.0/16", "via", "10.99.1.9", "proto", "static")
    node.hears("the new route")
    assert node.gateways("10.50.0.0/16") == {"10.99.1.9"}
    node.settled()
    node.ip("route", "replace", "10.8.0.0/16", "via", "10.99.2.9", "proto", "static")
    node.hears("the change")
    assert node.gateways("10.50.0.0/16") == {"10.99.2.9"}
    node.ip("route", "add", "fd08::/32", "via", "fe80::9", "dev", "e2", "proto", "static")
    node.hears("the IPv6 route")
    assert node.gateways("fd50::/64") == {"fe80::9"}
    node.settled()
    node.ip("route", "del", "10.8.0.0/16")
    node.hears("its end")
    assert node.routes("10.50.0.0/16") == []
    assert "fd08::/32" in node.all_routes("proto", "static")


def test_a_host_route_to_a_gateway_and_when_that_goes(node: Node) -> None:
    """As clouds give them: the gateway is on no subnet."""
    node.ip("route", "add", "172.31.1.1", "dev", "e1", "proto", "dhcp")
    node.routing.reread()
    node.learn("10.50.0.0/16", "172.31.1.1")
    node.sync()
    assert node.gateways("10.50.0.0/16") == {"172.31.1.1"}
    node.settled()
    node.ip("route", "del", "172.31.1.1", "dev", "e1")
    node.hears("its end")
    assert node.routes("10.50.0.0/16") == []
    node.settled()
    node.ip("route", "add", "172.31.1.1", "dev", "e1", "proto", "dhcp")
    node.hears("its return")
    assert node.gateways("10.50.0.0/16") == {"172.31.1.1"}


def test_a_table_of_its_own_has_links_and_ways_of_its_own(tmp_path: Path) -> None:
    """As a VRF does."""
    node = Node(tmp_path, replace(CONFIG, kernel=Kernel(table=100)))
    try:
        node.ip("route", "add", "10.77.0.0/24", "dev", "e1", "table", "100", "proto", "kernel")
        node.ip("route", "add", "10.78.0.0/24", "via", "10.77.0.9", "table", "100", "proto", "static")
        for prefix, hop in (
            ("10.50.0.0/16", "10.77.0.2"),
            ("10.51.0.0/16", "10.78.0.1"),
            ("10.77.0.0/24", "10.99.1.2"),
        ):
            node.learn(prefix, hop)
        node.routing.reread()
        node.sync()
        ours = node.ip("route", "show", "table", "100", "proto", "177")
        assert "10.50.0.0/16 via 10.77.0.2" in ours
        assert "10.51.0.0/16 via 10.77.0.9" in ours
        assert "10.77.0.0/24" not in ours
        assert node.ip("route", "show", "proto", "177") == ""
    finally:
        node.close()


def test_routes_of_others_that_say_nothing_of_a_next_hop_wake_nobody(node: Node) -> None:
    node.learn("10.50.0.0/16", "10.8.0.1")
    node.sync()
    node.quiet()
    node.ip("route", "add", "10.9.0.0/16", "via", "10.99.1.9")
    node.ip("route", "add", "10.8.0.0/16", "via", "10.99.1.9", "table", "77")
    assert node.fib is not None
    assert not node.fib.changed()


@pytest.mark.parametrize("allowed", [False, True])
def test_a_default_route_is_no_way_unless_it_is_accepted(tmp_path: Path, allowed: bool) -> None:
    node = Node(tmp_path, replace(CONFIG, accept=Accept(default_route=allowed)))
    try:
        node.ip("route", "add", "default", "via", "10.99.1.254")
        node.ip("-6", "route", "add", "default", "via", "fe80::254", "dev", "e2")
        node.learn("10.50.0.0/16", "10.8.0.1")
        node.learn("fd50::/64", "fd08::1")
        node.routing.reread()
        node.sync()
        found = [node.gateways(prefix) for prefix in ("10.50.0.0/16", "fd50::/64")]
        assert found == ([{"10.99.1.254"}, {"fe80::254"}] if allowed else [set(), set()])
    finally:
        node.close()


def test_neighbours_without_addresses(node: Node) -> None:
    node.learn("10.50.0.0/16", "fe80::2%e1", "fe80::2%e2")
    node.learn("fd50::/64", "fe80::2%e1", "fe80::2%e2")
    node.sync()
    for prefix in ("10.50.0.0/16", "fd50::/64"):
        hops = [
            (hop["via"]["host"] if "via" in hop else hop["gateway"], hop["dev"]) for hop in ways(node, prefix)
        ]
        assert sorted(hops) == [("fe80::2", "e1"), ("fe80::2", "e2")]
    node.learn("10.50.0.0/16", "fe80::2%e2")
    node.sync()
    assert [hop["dev"] for hop in ways(node, "10.50.0.0/16")] == ["e2"]
    node.routing.reread()
    node.settled()
    node.sync()
    assert node.fib is not None
    assert not node.fib.changed()


def ways(node: Node, prefix: str) -> list[dict[str, Any]]:
    return [hop for route in node.routes(prefix) for hop in route.get("nexthops", [route])]


def test_a_link_that_is_not_there_yet(node: Node) -> None:
    node.learn("10.50.0.0/16", "fe80::2%later")
    node.learn("10.51.0.0/16", "10.99.1.2")
    node.sync()
    assert node.gateways("10.51.0.0/16") == {"10.99.1.2"}
    assert [str(prefix) for prefix, _ in node.routing.refused] == ["10.50.0.0/16"]
    node.settled()
    node.ip("link", "add", "later", "type", "veth", "peer", "name", "beyond")
    for link in ("beyond", "later"):
        node.ip("link", "set", link, "up")
    node.hears("the link")
    assert [hop["dev"] for hop in ways(node, "10.50.0.0/16")] == ["later"]
    assert node.routing.refused == {}


def test_a_link_without_carrier_is_no_way(node: Node) -> None:
    """The far end goes down: the kernel would go on sending there."""
    for prefix, *hops in (
        ("10.50.0.0/16", "10.99.1.2", "10.99.2.2"),
        ("fd50::/64", "fd99:1::2", "fd99:2::2"),
        ("10.51.0.0/16", "fe80::2%e1", "fe80::2%e2"),
        ("10.52.0.0/16", "10.99.1.2"),
    ):
        node.learn(prefix, *hops)
    node.sync()
    node.settled()
    node.ip("link", "set", "far1", "down")
    node.hears("the loss")
    assert node.gateways("10.50.0.0/16") == {"10.99.2.2"}
    assert node.gateways("fd50::/64") == {"fd99:2::2"}
    assert [hop["dev"] for hop in ways(node, "10.51.0.0/16")] == ["e2"]
    assert node.routes("10.52.0.0/16") == []
    node.settled()
    node.ip("link", "set", "far1", "up")
    node.hears("the carrier")
    wait("everything as it was", lambda: both(node), 5)


def both(node: Node) -> bool:
    node.routing.reread()
    node.sync()
    found = [
        len(ways(node, prefix)) for prefix in ("10.50.0.0/16", "fd50::/64", "10.51.0.0/16", "10.52.0.0/16")
    ]
    return found == [2, 2, 2, 1]


def test_an_address_of_this_node_is_no_way_as_long_as_it_is_one(node: Node) -> None:
    """The kernel would take it, and packets would end there."""
    node.learn("10.50.0.0/16", "10.99.1.1", "10.99.2.2")
    node.learn("fd50::/64", "fd99:1::7")
    node.sync()
    assert node.gateways("10.50.0.0/16") == {"10.99.2.2"}
    assert node.gateways("fd50::/64") == {"fd99:1::7"}
    node.settled()
    node.ip("address", "add", "fd99:1::7/64", "dev", "e1", "nodad")
    node.hears("the address")
    assert node.routes("fd50::/64") == []
    node.settled()
    node.ip("address", "del", "10.99.1.1/24", "dev", "e1")
    node.ip("address", "add", "10.99.1.9/24", "dev", "e1")
    node.hears("its end")
    assert node.gateways("10.50.0.0/16") == {"10.99.1.1", "10.99.2.2"}


def test_one_of_several_ways_is_enough(node: Node) -> None:
    node.learn("10.50.0.0/16", "10.99.1.2", "10.8.0.1")
    node.sync()
    assert node.gateways("10.50.0.0/16") == {"10.99.1.2"}
    assert [str(hop) for hop in node.routing.unresolved] == ["10.8.0.1"]


def test_a_refused_route_is_tried_again_only_when_the_kernel_has_changed(node: Node) -> None:
    theirs = ("10.50.0.0/16", "via", "10.99.1.9", "metric", "1190")
    node.ip("route", "add", *theirs)
    node.learn("10.50.0.0/16", "10.99.1.2")
    node.sync()
    reason = node.routing.refused[ip_network("10.50.0.0/16"), 1190]
    assert "another program's route" in reason
    node.learn("10.51.0.0/16", "10.99.1.2")
    node.sync()
    assert node.gateways("10.51.0.0/16") == {"10.99.1.2"}
    assert list(node.routing.refused.values()) == [reason]
    node.settled()
    node.ip("route", "del", *theirs)
    node.hears("the room")
    assert node.gateways("10.50.0.0/16") == {"10.99.1.2"}
    assert node.routing.refused == {}
