"""A running speaker takes over a changed configuration, and touches only what changed."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import Rig, run, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.gobgp_rig import Member

ANNOUNCE = '[announce]\nsubnets = ["10.244.1.0/24"]\n'


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("reload"))
    try:
        rig.rack(1)
        rig.rack(2)
        rig.configure([1], ANNOUNCE)
        rig.node.start_gobgpd()
        rig.node.start_speaker()
        wait("rack 1's sessions", lambda: rig.node.established() == 2)
        yield rig
    finally:
        rig.close()


@pytest.fixture
def racks(rig: Rig) -> Iterator[list[Member]]:
    """Two racks, of which the first is configured; with what the first saw of sessions before and after."""
    reload(rig, [1])
    wait("rack 1's sessions", lambda: rig.node.established() == 2)
    racks = rig.members[1:]
    before = sessions_lost(racks[0])
    yield racks
    assert sessions_lost(racks[0]) == before


def reload(rig: Rig, numbers: list[int], more: str = ANNOUNCE, top: str = "") -> None:
    rig.configure(numbers, more, top)
    rig.node.processes["speaker"].send_signal(signal.SIGHUP)


def sessions_lost(rack: Member) -> int:
    return (rack.directory / "gobgpd.log").read_text().count("Peer Down")


def test_a_peer_comes_and_goes_without_a_word_to_the_others(rig: Rig, racks: list[Member]) -> None:
    node, updates = rig.node, racks[0].updates()
    reload(rig, [1, 2])
    wait("both racks", lambda: node.established() == 4)
    wait("the subnet at rack 2", lambda: racks[1].table() == {"10.244.1.0/24"})
    reload(rig, [1])
    wait("rack 2's peers go", lambda: len(node.neighbours()) == 2)
    assert (node.established(), racks[0].updates()) == (2, updates)


@pytest.mark.parametrize("way", ["written in place", "replaced by renaming", "replaced by a link"])
def test_a_changed_file_is_noticed_without_a_signal(rig: Rig, racks: list[Member], way: str) -> None:
    node, config = rig.node, rig.node.config
    text = config.read_text().replace("10.244.1.0/24", "10.244.9.0/24")
    if way == "written in place":
        config.write_text(text)
    elif way == "replaced by renaming":
        new = config.with_name("new.toml")
        new.write_text(text)
        new.rename(config)
    else:
        new = config.with_name(f"{os.urandom(4).hex()}.toml")
        new.write_text(text)
        link = config.with_name("link.toml")
        link.symlink_to(new)
        link.rename(config)
    wait("the other subnet", lambda: racks[0].table() == {"10.244.9.0/24"}, 5)
    wait("its kernel route", lambda: node.routes("10.244.9.0/24") and not node.routes("10.244.1.0/24"))
    config.unlink()


def test_a_broken_file_is_refused_and_the_old_one_stays(rig: Rig, racks: list[Member]) -> None:
    node = rig.node
    refused = node.logged('"configuration refused"')
    good = node.config.read_text()
    node.config.write_text(good + '[[peer]]\naddress = "10.99.1.2"\nasn = "x"\n')
    wait("the refusal", lambda: node.logged('"configuration refused"') == refused + 1)
    assert str(node.config) in node.log.read_text().splitlines()[-1]
    node.config.unlink()
    wait("the next", lambda: node.logged('"configuration refused"') == refused + 2)
    assert racks[0].table() == {"10.244.1.0/24"}
    node.config.write_text(good.replace("10.244.1.0/24", "10.244.8.0/24"))
    wait("what is right again", lambda: racks[0].table() == {"10.244.8.0/24"})


def test_what_needs_a_restart_is_said_and_the_rest_is_done(rig: Rig, racks: list[Member]) -> None:
    node = rig.node
    reload(rig, [1], ANNOUNCE.replace("10.244.1", "10.244.7"), "listen-port = 1790")
    wait("the rest", lambda: racks[0].table() == {"10.244.7.0/24"})
    assert node.logged('"not changed before a restart" key=bgp') == 1


def test_a_new_password_replaces_only_its_peer(rig: Rig, racks: list[Member]) -> None:
    node = rig.node
    secret = node.directory / "secret"
    secret.write_text("one")
    secret.chmod(0o600)
    peer = f'[[peer]]\naddress = "10.99.2.2"\nasn = 65102\npassword-file = "{secret}"\n'
    reload(rig, [1], ANNOUNCE + peer)
    wait("the peer", lambda: len(node.neighbours()) == 3)
    replaced = node.logged("peer=10.99.2.2")
    secret.write_text("two")
    wait("it is replaced", lambda: node.logged("peer=10.99.2.2") == replaced + 2)
    found = {peer["conf"]["neighbor_address"]: peer["conf"] for peer in node.neighbours()}
    assert found["10.99.2.2"]["auth_password"] == secret.read_text()
    assert racks[1].established() == 0


def test_another_metric_moves_the_routes(rig: Rig, racks: list[Member]) -> None:
    node = rig.node
    racks[0].gobgp("global", "rib", "add", "10.60.0.0/16", "-a", "ipv4")
    wait("the route", lambda: node.gateways("10.60.0.0/16") == {"10.99.1.2"})
    monitor = node.directory / "monitor"
    node.start("monitor", ["ip", "monitor", "route"], monitor)
    reload(rig, [1], ANNOUNCE + "[kernel]\nmetric = 77\n")
    wait("the other metric", lambda: [route["metric"] for route in node.routes("10.60.0.0/16")] == [77])
    node.kill("monitor", signal.SIGTERM)
    lines = [line for line in monitor.read_text().splitlines() if "10.60.0.0/16" in line]
    assert ["Deleted" in line for line in lines] == [False, True], lines
    racks[0].gobgp("global", "rib", "del", "10.60.0.0/16", "-a", "ipv4")


def test_a_peer_that_must_hear_less_is_reset_and_the_other_is_not(rig: Rig, racks: list[Member]) -> None:
    node = rig.node
    vips = '[[announcement]]\nname = "vips"\nprefixes = ["10.3.0.0/24"]\n'
    reload(rig, [1, 2], ANNOUNCE + vips)
    for rack in racks:
        wait("everything", lambda rack=rack: rack.table() == {"10.244.1.0/24", "10.3.0.0/24"})  # type: ignore[misc]
    reload(rig, [1, 2], ANNOUNCE + vips + 'peers = ["10.99.1.2", "fd99:1::2"]\n')
    wait("rack 2 hears less", lambda: racks[1].established() == 2 and racks[1].table() == {"10.244.1.0/24"})
    assert racks[0].table() == {"10.244.1.0/24", "10.3.0.0/24"}
    assert node.logged('"peer removed to take back its exports"') == 2


def test_other_settings_are_taken_over_by_the_next_reload(rig: Rig, racks: list[Member]) -> None:
    node = rig.node
    reload(rig, [1], ANNOUNCE + '[speaker]\nmetrics = "127.0.0.1:9555"\n')
    wait("metrics elsewhere", lambda: "127.0.0.1:9555" in run("ip", "netns", "exec", node.ns, "ss", "-tln"))
    assert racks[0].established() == 2
