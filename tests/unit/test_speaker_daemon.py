"""Bringing a daemon to where it should be: the order of the writes, and that there are none without need."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from speaker import log
from speaker.bgp import (
    BgpGlobal,
    Destination,
    LocalPath,
    PrefixMatch,
)
from speaker.daemon import Daemon, WrongDaemonError
from speaker.desired import local_paths
from speaker.gobgp.session import Event
from speaker.settings import Announce, Announcement, PeerPolicy
from tests.unit.memory_daemon import CONFIG, GROUP, OPTIONS, PEER, SECOND, WANTED, MemoryDaemon

if TYPE_CHECKING:
    from speaker.settings import Config


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configurations without a directory of their own write below the test's."""
    monkeypatch.chdir(tmp_path)


def restore(session: MemoryDaemon, config: Config = CONFIG) -> list[str]:
    """What a speaker that has just been started writes."""
    session.writes.clear()
    asyncio.run(Daemon(config).restore(session, local_paths(config.announce, ())))
    return session.writes


def change(session: MemoryDaemon, before: Config, after: Config) -> list[str]:
    """What a running speaker writes when its configuration changes."""

    async def both() -> None:
        daemon = Daemon(before)
        await daemon.restore(session, local_paths(before.announce, ()))
        session.writes.clear()
        daemon.configure(after)
        await daemon.restore(session, local_paths(after.announce, ()))

    asyncio.run(both())
    return session.writes


def announcing(*prefixes: str, transit: bool = False) -> Config:
    subnets = Announcement("subnets", tuple(map(ip_network, prefixes)))
    return replace(CONFIG, announce=Announce(subnets=subnets, transit=transit))


def test_a_fresh_daemon_hears_of_paths_before_peers() -> None:
    config = replace(CONFIG, dynamic=(GROUP,))
    expected = ["start", "policies", "announce 10.1.0.0/24", "add 10.0.0.2", "add racks"]
    assert restore(MemoryDaemon(), config) == expected


def test_a_restarted_speaker_writes_nothing() -> None:
    session = MemoryDaemon()
    config = replace(CONFIG, dynamic=(GROUP,))
    restore(session, config)
    assert restore(session, config) == []


def test_only_the_difference_is_written() -> None:
    session = MemoryDaemon()
    after = replace(
        announcing("10.2.0.0/24"),
        peers=(replace(PEER, options=replace(OPTIONS, hold=30, keepalive=10)), SECOND),
    )
    assert change(session, replace(CONFIG, dynamic=(GROUP,)), after) == [
        "withdraw 10.1.0.0/24",
        "policies",
        "announce 10.2.0.0/24",
        "remove 10.0.0.2",
        "remove racks",
        "add 10.0.0.2",
        "add 10.0.0.3",
    ]


def test_a_wider_policy_resets_nobody() -> None:
    session = MemoryDaemon()
    session.learn("10.9.0.0/16")
    assert change(session, CONFIG, announcing("10.1.0.0/24", transit=True)) == ["policies"]


def test_a_narrower_policy_ends_the_sessions_that_heard_too_much_before_it_is_set() -> None:
    session = MemoryDaemon()
    session.learn("10.9.0.0/16")
    before = replace(announcing("10.1.0.0/24", transit=True), peers=(PEER, SECOND))
    kept = Announcement("kept", (ip_network("10.3.0.0/24"),), peers=frozenset({SECOND.key}))
    only_less = replace(before, announce=replace(before.announce, others=(kept,)))
    assert change(session, before, only_less) == ["policies", "announce 10.3.0.0/24"]
    after = replace(before, announce=replace(before.announce, transit=False))
    removed = ["remove 10.0.0.2", "remove 10.0.0.3"]
    assert change(session, before, after) == [*removed, "policies", "add 10.0.0.2", "add 10.0.0.3"]


def test_only_the_peer_that_hears_less_is_reset() -> None:
    session = MemoryDaemon()
    everybody = Announcement("vips", (ip_network("10.3.0.0/24"),))
    before = replace(CONFIG, peers=(PEER, SECOND), announce=replace(CONFIG.announce, others=(everybody,)))
    one = replace(everybody, peers=frozenset({PEER.key}))
    after = replace(before, announce=replace(CONFIG.announce, others=(one,)))
    assert change(session, before, after) == ["remove 10.0.0.3", "policies", "add 10.0.0.3"]


def test_policies_that_somebody_else_changed_reset_everybody() -> None:
    session = MemoryDaemon()
    restore(session)
    session.policy = None
    assert restore(session) == ["remove 10.0.0.2", "policies", "add 10.0.0.2"]


def test_a_restart_with_another_policy_resets_only_who_hears_less() -> None:
    session = MemoryDaemon()
    others = (Announcement("vips", (ip_network("10.3.0.0/24"),)),)
    before = replace(CONFIG, peers=(PEER, SECOND), announce=replace(CONFIG.announce, others=others))
    restore(session, before)
    less = PeerPolicy(export_reject=frozenset({PrefixMatch(ip_network("10.3.0.0/16"), 16, 32)}))
    after = replace(before, policies={SECOND.key: less})
    assert restore(session, after) == ["remove 10.0.0.3", "policies", "add 10.0.0.3"]
    Path("state/speaker/policies.json").write_text("{}")
    assert restore(session, before)[:2] == ["remove 10.0.0.2", "remove 10.0.0.3"]


def test_a_new_password_resets_its_peer_also_where_the_daemon_does_not_tell_the_old_one() -> None:
    session = MemoryDaemon()
    with_password = replace(PEER, options=replace(OPTIONS, password="word"))  # noqa: S106
    before = replace(CONFIG, peers=(PEER, SECOND))
    after = replace(CONFIG, peers=(with_password, SECOND))
    assert change(session, before, after) == ["remove 10.0.0.2", "add 10.0.0.2"]
    session.keeps_passwords = True
    assert restore(session, after) == []


def test_peers_are_told_that_a_daemon_restarts_when_there_was_one_before() -> None:
    session = MemoryDaemon()

    async def lose_it() -> None:
        daemon = Daemon(CONFIG)
        await daemon.restore(session, WANTED)
        daemon.forget()
        empty = MemoryDaemon()
        await daemon.restore(empty, WANTED)
        assert empty.writes[-1] == "add 10.0.0.2 restarting"
        daemon.configure(replace(CONFIG, peers=(PEER, SECOND)))
        await daemon.restore(empty, WANTED)
        assert empty.writes[-1] == "add 10.0.0.3"

    asyncio.run(lose_it())
    assert session.writes[-1] == "add 10.0.0.2"
    # Also by a speaker that was restarted, too.
    assert restore(MemoryDaemon())[-1] == "add 10.0.0.2 restarting"


def test_sessions_that_come_and_go_are_one_line_each() -> None:
    session = MemoryDaemon()
    stream = io.StringIO()

    async def come_and_go() -> None:
        daemon = Daemon(CONFIG)
        await daemon.restore(session, WANTED)
        log.set_up("info", stream)
        for established in ({PEER.key}, {PEER.key}, set[str](), set[str]()):
            session.established = established
            await daemon.close_peers(session)

    asyncio.run(come_and_go())
    lines = [line.split("level=")[1] for line in stream.getvalue().splitlines()]
    assert lines == [
        'info event="peer up" peer=10.0.0.2 asn=65002',
        'warning event="peer down" peer=10.0.0.2 asn=65002 state=active',
    ]


def test_everything_can_be_taken_back() -> None:
    session = MemoryDaemon()
    session.learn("10.9.0.0/16")

    async def end() -> None:
        daemon = Daemon(CONFIG)
        await daemon.restore(session, WANTED)
        session.writes.clear()
        daemon.withdraws = False
        await daemon.withdraw_all(session)

    asyncio.run(end())
    assert session.writes == ["withdraw 10.1.0.0/24"]


def test_a_daemon_of_another_as_is_left_alone() -> None:
    session = MemoryDaemon()
    session.running = BgpGlobal(64999, "10.0.0.1")
    with pytest.raises(WrongDaemonError, match=r"runs as AS 64999, .* and not as AS 65001"):
        restore(session)
    assert session.writes == []


def test_one_refused_peer_does_not_keep_the_others_out() -> None:
    session = MemoryDaemon()
    session.refuse = {PEER.key}
    assert restore(session, replace(CONFIG, peers=(PEER, SECOND)))[-1] == "add 10.0.0.3"


def test_writes_are_known_without_reading_again() -> None:
    session = MemoryDaemon()
    daemon = Daemon(CONFIG)

    async def twice() -> None:
        await daemon.restore(session, WANTED)
        session.writes.clear()
        more = WANTED | {LocalPath(ip_network("192.0.2.1/32"), ip_address(0))}
        for wanted in (more, more, WANTED, WANTED):
            await daemon.close_paths(session, wanted)

    asyncio.run(twice())
    assert session.writes == ["announce 192.0.2.1/32", "withdraw 192.0.2.1/32"]
    assert session.reads == [None]


def test_a_lost_prefix_vanishes_and_only_dirty_ones_are_read() -> None:
    session = MemoryDaemon()
    daemon = Daemon(CONFIG)
    prefix = ip_network("10.9.0.0/16")

    async def reread() -> None:
        daemon.table.put(Destination(prefix, None, False, ()))
        await daemon.reread(session, [])
        await daemon.reread(session, [prefix])
        await daemon.reread(session, [prefix, ip_network("10.8.0.0/16")])

    asyncio.run(reread())
    assert daemon.table == {}
    assert session.reads == [1, 2]


def test_nothing_is_withdrawn_while_it_is_not_known_what_pods_hold() -> None:
    session = MemoryDaemon()
    of_a_pod = LocalPath(ip_network("192.0.2.1/32"), ip_address(0))
    asyncio.run(Daemon(CONFIG).restore(session, WANTED | {of_a_pod}))
    session.writes.clear()
    daemon = Daemon(CONFIG)

    async def restart() -> None:
        daemon.withdraws = False
        await daemon.restore(session, WANTED)
        assert session.writes == []
        daemon.withdraws = True
        await daemon.close_paths(session, WANTED)

    asyncio.run(restart())
    assert session.writes == ["withdraw 192.0.2.1/32"]


def test_what_the_table_says_already_of_our_own_paths_is_no_news() -> None:
    daemon = Daemon(CONFIG)
    ours, other = (LocalPath(ip_network(f"10.9.{i}.0/24"), ip_address(0)) for i in range(2))
    daemon.table.put(Destination(ours.prefix, ours, False, ()))
    told = frozenset({ours.prefix, other.prefix})
    assert daemon.news(Event(told, (ours, other))) == {other.prefix}
    changed = replace(ours, next_hop=ip_address("10.0.0.1"))
    assert daemon.news(Event(told, (changed,))) == told
    assert daemon.news(Event(told)) == told
