"""Peers, groups of dynamic ones and policies with a gobgpd of every version: what is read is what was written."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest

from speaker.bgp import (
    Family,
    Peer,
    Policies,
    PrefixLimit,
    PrefixMatch,
    Rule,
    SessionOptions,
    Source,
)
from speaker.gobgp.session import DaemonRefusedError
from tests.system.gobgp_daemons import DAEMONS, GROUP, OPTIONS, PATHS, PEER, Daemon, using

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from speaker.gobgp.session import Session

LOCAL = Rule(accept=True, source=Source.LOCAL)
MATCH = PrefixMatch(ip_network("10.0.0.0/8"), 16, 24)
SIX = PrefixMatch(ip_network("fd00::/16"), 64, 64)


@pytest.fixture(params=DAEMONS)
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(request.param, tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.close()


def options() -> list[SessionOptions]:
    """Each option once in another than its usual value."""
    changes: list[dict[str, Any]] = [
        {},
        {"local_asn": 65020},
        {"families": frozenset({Family.IPV6})},
        {"password": "secret"},
        {"local_address": ip_address("192.0.2.1")},
        {"multihop_ttl": 3},
        {"ttl_security": 1},
        {"connect_retry": 7, "hold": 9, "keepalive": 3},
        {"restart_time": 120},
        {"asn": 65001, "reflector_client": True},
        {"asn": 65001, "reflector_client": True, "cluster_id": "10.99.9.9"},
        {"prefix_limits": (PrefixLimit(Family.IPV4, 5), PrefixLimit(Family.IPV6, 100, 50))},
    ]
    return [replace(OPTIONS, **change) for change in changes]


def test_peers_come_back_as_they_went(daemon: Daemon) -> None:
    async def work(session: Session) -> None:
        for number, some in enumerate(options()):
            peer = Peer(ip_address(f"192.0.2.{10 + number}"), some, port=1179, description=f"number {number}")
            await session.add_peer(peer, restarting=False)
            (status,) = await session.peers()
            if status.compares_password:
                assert status.peer == peer
            assert replace(status.peer, options=replace(status.peer.options, password="")) == replace(
                peer, options=replace(peer.options, password="")
            )
            assert (status.peer.description, status.address) == (peer.description, str(peer.address))
            assert (status.group, status.established, status.uptime, status.end_of_rib) == (
                "",
                False,
                0.0,
                frozenset(),
            )
            await session.remove_peer(status)
            assert await session.peers() == []

    using(daemon, work)


def test_a_peer_is_added_and_removed_once(daemon: Daemon) -> None:
    async def work(session: Session) -> None:
        await session.add_peer(PEER, restarting=False)
        with pytest.raises(DaemonRefusedError, match="can't overwrite the existing peer"):
            await session.add_peer(PEER, restarting=False)
        (status,) = await session.peers()
        await session.remove_peer(status)
        await session.remove_peer(status)
        assert await session.peers() == []

    using(daemon, work)


def test_groups_of_dynamic_peers_come_back_as_they_went(daemon: Daemon) -> None:
    async def work(session: Session) -> None:
        passwordless = [some for some in options() if not (some.password or some.local_address)]
        for some in passwordless:
            group = replace(GROUP, options=replace(some, passive=False), description="of them")
            await session.add_dynamic_peers(group)
            assert await session.dynamic_peers() == [group]
            await session.remove_dynamic_peers(group)
            assert await session.dynamic_peers() == []

    using(daemon, work)


def test_a_group_that_is_gone_is_removed_without_harm(daemon: Daemon) -> None:
    async def work(session: Session) -> None:
        await session.remove_dynamic_peers(GROUP)
        assert await session.peers() == []
        assert daemon.runs()

    using(daemon, work)


# ---- policies


def test_policies_are_put_in_force_whole(daemon: Daemon) -> None:
    first = Policies((LOCAL,), (LOCAL,))
    second = Policies(
        (
            LOCAL,
            Rule(accept=True, peers=frozenset({"rack"}), prefixes=frozenset({MATCH, SIX}), local_pref=50),
        ),
        (
            Rule(accept=False, peers=frozenset({"rack"}), prefixes=frozenset({SIX})),
            Rule(accept=False, carries=frozenset({0xFFFFFF01, 0xFFFFFF02})),
            replace(
                LOCAL,
                communities=frozenset({65001 << 16 | 7}),
                large_communities=frozenset({(1, 2, 3)}),
                med=10,
                prepend=2,
            ),
        ),
        (("rack", ("192.0.2.9", "2001:db8::/64")),),
    )

    async def work(session: Session) -> None:
        assert not await session.holds_policies(first)
        for wanted, other in ((first, second), (second, first), (first, second)):
            await session.set_policies(wanted)
            assert await session.holds_policies(wanted)
            assert not await session.holds_policies(other)
            await session.set_policies(wanted)
            assert await session.holds_policies(wanted)
        await session.announce(PATHS)
        assert {found.ours for found in await session.table()} == set(PATHS)

    using(daemon, work)
