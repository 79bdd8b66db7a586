"""What a subscription is not told, by a real kernel: what the speaker does itself."""

from __future__ import annotations

import threading
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from pyroute2 import netns

from cni import rtnl
from cni.netlink import NetlinkSocket
from speaker.kernel.fibcodec import prefix_of
from speaker.kernel.subscription import Subscription
from tests.system.gobgp_rig import Member

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from speaker.bgp import Prefix

GROUPS = rtnl.RTMGRP_IPV4_ROUTE | rtnl.RTMGRP_IPV6_ROUTE
NETS = [ip_network(text) for text in ("10.50.0.0/24", "10.50.1.1/32", "fd50::/64", "fd50:1::1/128")]
HOSTS = [net for net in NETS if net.prefixlen == net.max_prefixlen]


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[tuple[Subscription, list[NetlinkSocket]]]:
    member = Member("ears", tmp_path)
    made: list[tuple[Subscription, list[NetlinkSocket]]] = []

    def enter() -> None:
        netns.setns(member.ns)
        made.append((Subscription(GROUPS), [NetlinkSocket() for _ in range(3)]))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    heard, writers = made[0]
    try:
        yield heard, writers
    finally:
        for one in (heard, *writers):
            one.close()
        member.close()


def told(heard: Subscription, by: NetlinkSocket) -> list[Prefix]:
    """Of which routes it hears when all are added and deleted."""
    found: list[Prefix] = []
    for build in (rtnl.route_add, rtnl.route_delete):
        by.request_each([build(unreachable(net)) for net in NETS])
        try:
            while True:
                found += [prefix_of(rtnl.parse_route(payload)) for _, payload in heard.receive()]
        except BlockingIOError:
            pass
    return found


def unreachable(net: Prefix) -> rtnl.Route:
    family = rtnl.AF_INET if net.version == 4 else rtnl.AF_INET6
    return rtnl.Route(family, net.network_address.packed, net.prefixlen, rtnl.RTN_UNREACHABLE, metric=9)


def test_what_one_socket_causes_is_not_told(sockets: tuple[Subscription, list[NetlinkSocket]]) -> None:
    heard, (own, other, _) = sockets
    assert told(heard, own) == NETS * 2
    heard.ignore(own.port)
    assert told(heard, own) == []
    assert told(heard, other) == NETS * 2


def test_of_the_other_writer_only_single_addresses_are(
    sockets: tuple[Subscription, list[NetlinkSocket]],
) -> None:
    heard, (own, learned, other) = sockets
    heard.ignore_two(own.port, learned.port)
    assert told(heard, own) == []
    assert told(heard, learned) == HOSTS * 2
    assert told(heard, other) == NETS * 2
