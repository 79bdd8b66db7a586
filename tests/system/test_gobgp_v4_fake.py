"""The adapter of version 4 with a fake daemon in the same process: a test makes sessions and paths come and go."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import grpc
import pytest

from protos.gobgp_v4 import gobgp_pb2 as api
from speaker.bgp import (
    BgpGlobal,
    DynamicPeers,
    Family,
    LearnedPath,
    Peer,
    Policies,
    Rule,
    SessionOptions,
    Source,
)
from speaker.gobgp import adapter
from speaker.gobgp.connect import connect
from speaker.gobgp.session import DaemonLostError, DaemonRefusedError
from speaker.settings import Api
from tests.system.gobgp_v4_fake import told
from tests.system.gobgp_v4_servicer import FakeGobgp4

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from speaker.gobgp.session import Session

OWN = BgpGlobal(65001, "10.99.0.1", -1)
OPTIONS = SessionOptions(65100, families=frozenset(Family), restart_time=120)
PEER = Peer(ip_address("192.0.2.9"), OPTIONS)
GROUP = DynamicPeers("racks", (ip_network("198.51.100.0/24"),), replace(OPTIONS, restart_time=0))
LINK = Peer(None, OPTIONS, interface="eth7")
LOCAL = Rule(accept=True, source=Source.LOCAL)


@asynccontextmanager
async def started(directory: Path) -> AsyncIterator[tuple[FakeGobgp4, Session]]:
    """A fake daemon that has been started, and a session with it."""
    fake = FakeGobgp4()
    target = f"unix://{directory}/api.sock"
    await fake.serve(target)
    try:
        session = await connect(Api(target))
        try:
            await session.start(OWN)
            yield fake, session
        finally:
            await session.close()
    finally:
        await fake.stop()
    assert fake.panics == []


def test_a_session_is_seen_coming_up_and_going_down(tmp_path: Path) -> None:
    async def run() -> None:
        async with started(tmp_path) as (fake, session):
            await session.add_peer(PEER, restarting=True)
            assert fake.daemon.peers["192.0.2.9"].graceful_restart.local_restarting
            events = session.watch()
            assert (await anext(events)).subscribed
            fake.tell_peer(fake.daemon.establish("192.0.2.9"))
            assert (await anext(events)).peers
            (status,) = await session.peers()
            assert (status.peer, status.state, status.router_id) == (PEER, "established", "192.0.2.99")
            assert (status.graceful, status.end_of_rib) == (True, frozenset(Family))
            assert status.uptime == pytest.approx(time.time() - 1_000_000_000, abs=60)
            fake.tell_peer(fake.daemon.establish("192.0.2.9", up=False))
            assert (await anext(events)).peers
            (status,) = await session.peers()
            assert (status.state, status.router_id, status.uptime) == ("active", "", 0.0)
            assert (status.graceful, status.end_of_rib) == (False, frozenset())

    asyncio.run(run())


def test_an_end_of_rib_is_a_hint_to_look_at_the_peers(tmp_path: Path) -> None:
    async def run() -> None:
        async with started(tmp_path) as (fake, session):
            events = session.watch()
            assert (await anext(events)).subscribed
            fake.tell_paths([api.Path(neighbor_ip="192.0.2.9")])
            assert (await anext(events)).peers
            fake.tell_paths([told("10.5.0.0/16", "192.0.2.9", "192.0.2.9")])
            event = await anext(events)
            assert (event.prefixes, event.peers) == (frozenset({ip_network("10.5.0.0/16")}), False)

    asyncio.run(run())


def test_learned_paths_have_their_next_hop_and_link(tmp_path: Path) -> None:
    near = "fe80::9%eth7"

    async def run() -> None:
        async with started(tmp_path) as (fake, session):
            for path in (
                told("10.5.0.0/16", "192.0.2.9", "192.0.2.9"),
                told("fd05::/64", "2001:db8::9", "2001:db8::9", "fe80::9"),
                told("fd06::/64", near, "::", "fe80::9"),
                told("10.6.0.0/16", near, "fe80::9"),
            ):
                fake.daemon.learn(path)
            found = {str(entry.prefix): entry.learned for entry in await session.table()}
            usual = LearnedPath(ip_address("192.0.2.9"), "192.0.2.9", 100, 0, 2, 0, True)
            assert found == {
                "10.5.0.0/16": (usual,),
                "fd05::/64": (replace(usual, next_hop=ip_address("2001:db8::9"), peer="2001:db8::9"),),
                "fd06::/64": (replace(usual, next_hop=ip_address("fe80::9"), peer=near, interface="eth7"),),
                "10.6.0.0/16": (replace(usual, next_hop=ip_address("fe80::9"), peer=near, interface="eth7"),),
            }

    asyncio.run(run())


def test_dynamic_neighbours_go_with_their_group(tmp_path: Path) -> None:
    async def run() -> None:
        async with started(tmp_path) as (fake, session):
            await session.add_dynamic_peers(GROUP)
            fake.daemon.member("198.51.100.7", "racks")
            (status,) = await session.peers()
            assert (status.group, status.address, status.established) == ("racks", "198.51.100.7", True)
            await session.remove_dynamic_peers(GROUP)
            assert (await session.peers(), await session.dynamic_peers()) == ([], [])

    asyncio.run(run())


def test_an_interface_peer_is_found_added_to_its_rules_and_removed_by_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def neighbour(interface: str) -> str:
        return f"fe80::9%{interface}"

    monkeypatch.setattr(adapter, "neighbour", neighbour)
    rules = Policies((LOCAL,), (Rule(accept=False, peers=frozenset({"eth7"})), LOCAL))

    async def run() -> None:
        async with started(tmp_path) as (fake, session):
            fake.daemon.links["eth7"] = "fe80::9"
            await session.set_policies(rules)
            await session.add_peer(LINK, restarting=False)
            (status,) = await session.peers()
            assert (status.peer, status.address) == (LINK, "fe80::9%eth7")
            (rule,) = [
                one for kind, one in fake.daemon.tables.sets.items() if kind[0] == api.DEFINED_TYPE_NEIGHBOR
            ]
            assert "fe80::9/128" in rule.list
            await session.remove_peer(status)
            assert await session.peers() == []

    asyncio.run(run())


def test_a_password_is_taken_back_before_its_peer_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = replace(PEER, options=replace(OPTIONS, password="secret"))  # noqa: S106
    seen: list[str] = []

    async def run() -> None:
        async with started(tmp_path) as (fake, session):
            await session.add_peer(secret, restarting=False)
            (status,) = await session.peers()
            assert status.peer == secret
            update = fake.daemon.update_peer

            def watched(wanted: api.Peer) -> None:
                seen.append(wanted.conf.auth_password)
                update(wanted)

            monkeypatch.setattr(fake.daemon, "update_peer", watched)
            await session.remove_peer(status)
            assert (seen, await session.peers()) == ([""], [])

    asyncio.run(run())


def test_what_an_earlier_attempt_left_is_not_merged_and_what_others_made_stays(tmp_path: Path) -> None:
    first = Policies((LOCAL,), (Rule(accept=True, peers=frozenset({"a"})),), (("a", ("192.0.2.1",)),))

    async def run() -> None:
        async with started(tmp_path) as (fake, session):
            tables = fake.daemon.tables
            fake.policies.add_policy(api.Policy(name="somebody's"))
            await session.set_policies(first)
            (name,) = [found for _, found in tables.sets]
            whole = list(tables.sets[api.DEFINED_TYPE_NEIGHBOR, name].list)
            # As if the process had ended between the sets and the policy.
            tables.policies = {"somebody's": tables.policies["somebody's"]}
            tables.assignments.clear()
            tables.sets[api.DEFINED_TYPE_NEIGHBOR, name].list.append("198.51.100.0/24")
            await session.set_policies(first)
            assert list(tables.sets[api.DEFINED_TYPE_NEIGHBOR, name].list) == whole
            await session.set_policies(Policies((LOCAL,), (LOCAL,)))
            assert tables.sets == {}
            assert "somebody's" in tables.policies
            assert len(tables.policies) == 3
            assert all(reset.soft and reset.address == "all" for reset in fake.daemon.resets)

    asyncio.run(run())


# ---- who is no gobgpd


def test_a_server_without_bgp_is_refused_with_advice(tmp_path: Path) -> None:
    target = f"unix://{tmp_path}/api.sock"

    async def run() -> None:
        server = grpc.aio.server()
        server.add_insecure_port(target)
        await server.start()
        try:
            with pytest.raises(DaemonRefusedError, match="no gobgpd of version 3 or 4"):
                await connect(Api(target))
        finally:
            await server.stop(None)

    asyncio.run(run())


def test_what_does_not_speak_grpc_counts_as_nobody(tmp_path: Path) -> None:
    socket = tmp_path / "api.sock"

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP\r\n")
        writer.close()

    async def run() -> None:
        server = await asyncio.start_unix_server(talk, socket)
        async with server:
            with pytest.raises(DaemonLostError):
                await connect(Api(f"unix://{socket}"))

    asyncio.run(run())
