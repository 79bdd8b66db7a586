"""Routes of ours that something else takes out of the kernel are back within a second, and no others are touched."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import Rig, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.gobgp_rig import Member

COUNT = 60
LIMIT = 1.0
V4 = [f"10.50.{n}.0/24" for n in range(COUNT)]
V6 = [f"fd50:{n:x}::/64" for n in range(COUNT)]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A node with two racks that tell the same routes."""
    rig = Rig(tmp_path_factory.mktemp("putback"))
    try:
        racks = [rig.rack(number) for number in (1, 2)]
        rig.configure([1, 2], '[announce]\nsubnets = ["10.244.1.0/24"]\n')
        rig.node.start_gobgpd()
        rig.node.start_speaker()
        wait("all sessions", lambda: rig.node.established() == 4)
        for rack in racks:
            for family, prefixes in (("ipv4", V4), ("ipv6", V6)):
                for prefix in prefixes:
                    rack.gobgp("global", "rib", "add", prefix, "-a", family)
        wait("all routes", lambda: kernel(rig.node) == FULL)
        yield rig
    finally:
        rig.close()


@pytest.fixture
def node(rig: Rig) -> Iterator[Member]:
    """Every test begins and ends with everything in place, and quiet."""
    wait("all routes", lambda: kernel(rig.node) == FULL)
    time.sleep(0.5)
    yield rig.node
    wait("all routes again", lambda: kernel(rig.node) == FULL)


FULL = 2 * COUNT + 1  # and the unreachable route


def kernel(node: Member) -> int:
    """How many routes of ours the kernel holds with all their next hops."""
    found = node.ip("-4", "route", "show", "proto", "177") + node.ip("-6", "route", "show", "proto", "177")
    ways = sum(found.count(f"{via} ") for via in ("10.99.1.2", "10.99.2.2", "fd99:1::2", "fd99:2::2"))
    return ways // 2 + found.count("unreachable")


def seconds_until_back(node: Member) -> float:
    start = time.monotonic()
    wait("all routes again", lambda: kernel(node) == FULL, 10)
    return time.monotonic() - start


def test_one_that_is_removed(node: Member) -> None:
    node.ip("route", "del", V4[7], "proto", "177")
    assert seconds_until_back(node) < LIMIT


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_all_flushed(node: Member, family: str) -> None:
    """As a network manager does that removes what it does not know."""
    node.ip(family, "route", "flush", "proto", "177")
    assert seconds_until_back(node) < LIMIT


def test_flushed_again_and_again(node: Member) -> None:
    for _ in range(5):
        node.ip("route", "flush", "proto", "177")
        assert seconds_until_back(node) < LIMIT


def test_a_link_that_bounces(node: Member) -> None:
    """IPv4 routes go with the link and without a word, and IPv6 addresses, too: somebody sets those again."""
    node.ip("link", "set", "r1", "down")
    wait("the other rack alone", lambda: node.gateways(V4[0]) == {"10.99.2.2"}, 5)
    node.ip("link", "set", "r1", "up")
    node.ip("address", "add", "fd99:1::1/64", "dev", "r1", "nodad")
    assert seconds_until_back(node) < LIMIT


def test_a_link_that_loses_its_address(node: Member) -> None:
    node.ip("address", "del", "10.99.1.1/24", "dev", "r1")
    wait("the other rack alone", lambda: node.gateways(V4[0]) == {"10.99.2.2"}, 5)
    node.ip("address", "add", "10.99.1.1/24", "dev", "r1")
    assert seconds_until_back(node) < LIMIT


def test_routes_of_others_are_flushed_without_us(node: Member) -> None:
    node.ip("route", "add", "10.60.0.0/16", "via", "10.99.1.9", "proto", "static")
    before = node.logged("route added")
    node.ip("route", "flush", "proto", "static")
    time.sleep(0.5)
    assert node.ip("route", "show", "10.60.0.0/16") == ""
    assert node.logged("route added") == before
