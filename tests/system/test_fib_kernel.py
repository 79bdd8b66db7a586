"""Kernel routes as the speaker writes them, in a namespace of their own; nobody else's are touched."""

from __future__ import annotations

import threading
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest
from pyroute2 import netns

from speaker.desired import UNREACHABLE_METRIC, KernelRoute, NextHop
from speaker.kernel.fib import Fib
from speaker.plan import RoutePlan, plan_routes
from speaker.settings import Kernel
from tests.system.gobgp_rig import Member, wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KERNEL = Kernel()


def fib_in(namespace: str, kernel: Kernel = KERNEL) -> Fib:
    """Sockets stay in the namespace of the thread that made them."""
    made: list[Fib] = []

    def enter() -> None:
        netns.setns(namespace)
        made.append(Fib(kernel))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return made[0]


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Member]:
    member = Member("fib", tmp_path)
    try:
        member.ip("link", "add", "e0", "type", "veth", "peer", "name", "e1")
        for link in ("e0", "e1"):
            # No addresses of the kernel's own, of which it would tell a second later.
            member.ip("link", "set", link, "addrgenmode", "none")
            member.ip("link", "set", link, "up")
        member.ip("address", "add", "10.99.0.1/24", "dev", "e0")
        member.ip("address", "add", "fd99::1/64", "dev", "e0", "nodad")
        yield member
    finally:
        member.close()


@pytest.fixture
def fib(member: Member) -> Iterator[Fib]:
    fib = fib_in(member.ns)
    try:
        fib.read()
        yield fib
    finally:
        fib.close()


def hop(text: str) -> NextHop:
    address, _, interface = text.partition("%")
    return NextHop(ip_address(address), interface)


def route(prefix: str, *hops: str, metric: int = KERNEL.metric) -> KernelRoute:
    return KernelRoute(ip_network(prefix), metric, frozenset(map(hop, hops)))


def make(fib: Fib, *wanted: KernelRoute) -> dict[str, str]:
    """Brings the kernel to these routes; the refused prefixes with the reasons."""
    fib.read()
    refused = fib.apply(plan_routes({one.key: one for one in wanted}, fib.known.ours))
    return {str(prefix): reason for (prefix, _), reason in refused.items()}


ROUTES = [
    route("10.50.0.0/16", "10.99.0.2"),
    route("10.51.0.0/16", "10.99.0.2", "10.99.0.3"),
    route("10.244.0.0/24", metric=UNREACHABLE_METRIC),
    route("0.0.0.0/0", "10.99.0.2"),
    route("fd50::/64", "fd99::2"),
    route("fd51::/64", "fd99::2", "fd99::3", "fd99::4"),
    route("fd24::/64", metric=UNREACHABLE_METRIC),
    route("::/0", "fd99::2"),
    route("10.52.0.0/16", "fe80::2%e0"),
    route("10.53.0.0/16", "fe80::2%e0", "fe80::2%e1", "10.99.0.2"),
    route("10.54.0.0/16", "fd99::2", "fd99::3"),
    route("fd52::/64", "fe80::2%e1"),
    route("fd53::/64", "fe80::2%e0", "fe80::2%e1", "fd99::2"),
]


def test_routes_are_read_back_as_they_were_written(fib: Fib) -> None:
    assert make(fib, *ROUTES) == {}
    fib.read()
    assert fib.known.ours == {one.key: one for one in ROUTES}


@pytest.mark.parametrize("version", [4, 6])
def test_next_hops_grow_shrink_and_change(fib: Fib, member: Member, version: int) -> None:
    prefix = "10.50.0.0/16" if version == 4 else "fd50::/64"
    hops = [f"10.99.0.{n}" if version == 4 else f"fd99::{n}" for n in (2, 3, 4)]
    for wanted in (hops[:1], hops, hops[1:], hops[2:], hops[:2]):
        assert make(fib, route(prefix, *wanted)) == {}
        assert member.gateways(prefix) == set(wanted)
    assert make(fib) == {}
    assert member.routes(prefix) == []


def test_routes_of_others_stay(fib: Fib, member: Member) -> None:
    member.ip("route", "add", "10.50.0.0/16", "via", "10.99.0.9", "metric", "1190")
    member.ip("route", "add", "10.51.0.0/16", "via", "10.99.0.9", "metric", "5")
    member.ip("route", "add", "fd50::/64", "via", "fd99::9", "metric", "1190")
    before = member.ip("route", "show", "proto", "boot") + member.ip("-6", "route", "show", "proto", "boot")
    wanted = [route(p, "10.99.0.2") for p in ("10.50.0.0/16", "10.51.0.0/16")]
    refused = make(fib, *wanted, route("fd50::/64", "fd99::2"))
    assert set(refused) == {"10.50.0.0/16", "fd50::/64"}
    assert all("another program's route has the same prefix and metric" in text for text in refused.values())
    assert member.gateways("10.51.0.0/16") == {"10.99.0.2"}
    make(fib)
    after = member.ip("route", "show", "proto", "boot") + member.ip("-6", "route", "show", "proto", "boot")
    assert after == before


def test_a_route_that_another_program_put_in_place_of_ours_is_left_alone(fib: Fib, member: Member) -> None:
    assert make(fib, route("10.50.0.0/16", "10.99.0.2")) == {}
    while fib.changed():
        pass
    theirs = ("10.50.0.0/16", "via", "10.99.0.9", "proto", "static", "metric", "1190")
    member.ip("route", "replace", *theirs)
    wait("the news of it", fib.changed, 5)
    refused = make(fib, route("10.50.0.0/16", "10.99.0.3"))
    assert set(refused) == {"10.50.0.0/16"}
    assert "10.99.0.9" in member.ip("route", "show", "10.50.0.0/16", "proto", "static")


def test_a_next_hop_off_the_links_hinders_nobody_else(fib: Fib, member: Member) -> None:
    wanted = [
        route("10.50.0.0/16", "10.98.0.2"),
        route("10.51.0.0/16", "10.99.0.2"),
        route("fd50::/64", "fd98::2"),
        route("fd51::/64", "fd99::2"),
    ]
    refused = make(fib, *wanted)
    assert set(refused) == {"10.50.0.0/16", "fd50::/64"}
    assert all("on none of this node's networks" in text for text in refused.values())
    member.ip("address", "add", "10.98.0.1/24", "dev", "e0")
    member.ip("address", "add", "fd98::1/64", "dev", "e0", "nodad")
    assert make(fib, *wanted) == {}


def test_connected_prefixes_are_known(fib: Fib) -> None:
    assert {ip_network("10.99.0.0/24"), ip_network("fd99::/64")} <= fib.known.connected


def test_hears_of_removals_but_not_of_its_own_writes(fib: Fib, member: Member) -> None:
    while fib.changed():
        pass
    make(fib, *ROUTES)
    make(fib, *ROUTES[1:])
    assert not fib.changed()
    member.ip("route", "del", "10.51.0.0/16", "proto", "177")
    wait("the event", fib.changed, 5)
    make(fib, *ROUTES)
    while fib.changed():
        pass
    member.ip("link", "set", "e0", "down")
    wait("the event", fib.changed, 5)


def test_another_table_and_protocol(member: Member) -> None:
    kernel = Kernel(protocol=201, table=100_000, metric=5)
    fib = fib_in(member.ns, kernel)
    try:
        wanted = [replace(one, metric=5) for one in ROUTES if one.next_hops]
        assert make(fib, *wanted) == {}
        fib.read()
        assert set(fib.known.ours.values()) == set(wanted)
        assert ip_network("10.99.0.0/24") in fib.known.connected
        assert "10.50.0.0/16" in member.ip("route", "show", "table", "100000")
        assert "10.50.0.0/16" not in member.ip("route", "show")
    finally:
        fib.close()


class Counting:
    """A netlink socket that counts what it sends."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.sent = 0

    def send(self, data: bytes) -> int:
        self.sent += 1
        return int(self.inner.send(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_thousands_of_routes_are_few_messages_to_the_kernel(
    fib: Fib, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(fib._socket._socket)
    monkeypatch.setattr(fib._socket, "_socket", counting)
    wanted = [route(f"10.{n >> 8}.{n & 255}.0/24", "10.99.0.2", "10.99.0.3") for n in range(3000)]
    wanted = [one for one in wanted if one.prefix != ip_network("10.99.0.0/24")]
    for routes in (wanted, []):
        counting.sent = 0
        assert make(fib, *routes) == {}
        assert 0 < counting.sent < 60
        fib.read()
        assert len(fib.known.ours) == len(routes)


def test_removing_what_is_gone_already_is_fine(fib: Fib) -> None:
    gone = route("10.50.0.0/16", "10.99.0.2")
    assert fib.apply(RoutePlan((), (), (gone,))) == {}
