"""Restarts in any order, of anything: the same end state, and no flap where BGP allows that."""

from __future__ import annotations

import itertools
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import Rig, wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.gobgp_rig import Member

ANNOUNCE = '[announce]\nsubnets = ["10.244.1.0/24"]\n'
LEARNED = "10.60.0.0/16"
WHO = ("gobgpd", "speaker", "rack")
# Both orders of each pair, and some of all, with the link: what goes, and then comes back in this order.
ALL = (
    ("link", *WHO),
    tuple(reversed(("link", *WHO))),
    ("rack", "link", "gobgpd", "speaker"),
)
ORDERS = [*itertools.permutations(WHO, 2), *ALL]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("restarts"))
    try:
        rack = rig.rack(1)
        rig.configure([1], ANNOUNCE)
        rig.node.start_gobgpd()
        rig.node.start_speaker()
        rack.gobgp("global", "rib", "add", LEARNED, "-a", "ipv4")
        yield rig
    finally:
        rig.close()


def is_whole(rig: Rig) -> bool:
    """Node, rack and kernel hold what they should, and nothing else."""
    node, rack = rig.node, rig.members[1]
    return (
        node.established() == 2
        and rack.table() == node.table() == {"10.244.1.0/24", LEARNED}
        and node.gateways(LEARNED) == {"10.99.1.2"}
        and len(node.routes("10.244.1.0/24")) == 1
    )


def link_up(rig: Rig) -> None:
    rig.node.ip("link", "set", "r1", "up")
    # IPv6 addresses went with the link.
    rig.node.ip("address", "replace", "fd99:1::1/64", "dev", "r1", "nodad")


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_the_end_is_always_the_same(rig: Rig, order: tuple[str, ...]) -> None:
    node, rack = rig.node, rig.members[1]
    wait("everything", lambda: is_whole(rig), 40)
    for name in order:
        if name == "rack":
            rack.kill("gobgpd")
        elif name == "link":
            node.ip("link", "set", "r1", "down")
        else:
            node.kill(name)
    for name in order:
        if name == "link":
            link_up(rig)
        elif name == "gobgpd":
            node.start_gobgpd()
        elif name == "speaker":
            node.start_speaker()
        else:
            rack.start_gobgpd("--config-file", str(rack.directory / "gobgpd.toml"))
            rack.gobgp("global", "rib", "add", LEARNED, "-a", "ipv4")
    wait("everything again", lambda: is_whole(rig), 40)


def test_a_link_that_goes_and_comes_changes_nothing_in_the_end(rig: Rig) -> None:
    wait("everything", lambda: is_whole(rig), 40)
    rig.node.ip("link", "set", "r1", "down")
    wait("the route is not in the way", lambda: not rig.node.gateways(LEARNED), 5)
    link_up(rig)
    wait("everything again", lambda: is_whole(rig), 60)


def test_what_is_taken_out_of_the_kernel_is_back_while_gobgpd_hangs(rig: Rig) -> None:
    """A pass that waits for an answer does not hold the kernel's routes up."""
    node = rig.node
    wait("everything", lambda: is_whole(rig), 40)
    node.processes["gobgpd"].send_signal(signal.SIGSTOP)
    try:
        rig.configure([1], ANNOUNCE.replace("10.244.1.0/24", "10.244.2.0/24"))
        loaded, lost = node.logged('"configuration loaded"'), node.logged('"gobgpd lost"')
        node.processes["speaker"].send_signal(signal.SIGHUP)
        wait("the pass begins", lambda: node.logged('"configuration loaded"') > loaded)
        time.sleep(0.3)
        for _ in range(3):
            node.ip("route", "flush", "proto", "177")
            wait("the routes", lambda: node.gateways(LEARNED) and node.routes("10.244.2.0/24"), 1)
            time.sleep(0.5)
        assert node.logged('"gobgpd lost"') == lost
    finally:
        node.processes["gobgpd"].send_signal(signal.SIGCONT)
    rig.configure([1], ANNOUNCE)


GRACEFUL = """[global.config]
as = 65101
router-id = "10.99.1.2"
[[neighbors]]
[neighbors.config]
neighbor-address = "10.99.1.1"
peer-as = 65001
[neighbors.transport.config]
passive-mode = true
[neighbors.graceful-restart.config]
enabled = true
restart-time = 60
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv4-unicast"
[neighbors.afi-safis.mp-graceful-restart.config]
enabled = true
"""


@pytest.fixture
def graceful(tmp_path: Path) -> Iterator[Rig]:
    """A rack that keeps the node's routes while its gobgpd is away."""
    rig = Rig(tmp_path)
    try:
        rack = rig.rack(1)
        rack.kill("gobgpd")
        config = rack.directory / "gobgpd.toml"
        config.write_text(GRACEFUL)
        rack.start_gobgpd("--config-file", str(config))
        wait("the rack", lambda: len(rack.neighbours()) == 1)
        peer = '[[peer]]\naddress = "10.99.1.2"\nasn = 65101\n[peer.graceful-restart]\nrestart-time = 60\n'
        rig.configure([], ANNOUNCE + peer)
        rig.node.start_gobgpd()
        rig.node.start_speaker()
        wait("the session", lambda: rig.node.established() == 1)
        wait("the subnet", lambda: rack.table() == {"10.244.1.0/24"})
        yield rig
    finally:
        rig.close()


@pytest.mark.parametrize("also", [(), ("speaker",)], ids=["gobgpd", "gobgpd and speaker"])
def test_graceful_restart_keeps_the_route_at_the_rack(graceful: Rig, also: tuple[str, ...]) -> None:
    node, rack = graceful.node, graceful.members[1]
    rack.gobgp("global", "rib", "add", LEARNED, "-a", "ipv4")
    wait("the learned route", lambda: node.gateways(LEARNED) == {"10.99.1.2"})
    ups = node.logged('"peer up"')
    node.kill("gobgpd", signal.SIGKILL)
    for name in also:
        node.kill(name)
    # Until the session stands again, and longer than it takes to withdraw what is not told anew.
    node.start_gobgpd()
    for _ in also:
        node.start_speaker()
    end = time.monotonic() + 30
    while node.logged('"peer up"') == ups:
        assert_kept(rack, node)
        assert time.monotonic() < end
    for _ in range(20):
        assert_kept(rack, node)
        time.sleep(0.1)
    wait("nothing is stale", lambda: "S" not in rack.gobgp("global", "rib", "-a", "ipv4").split("*>")[1][:1])
    assert node.logged('"route removed"') == 0


def assert_kept(rack: Member, node: Member) -> None:
    assert "10.244.1.0/24" in rack.table()
    assert node.gateways(LEARNED) == {"10.99.1.2"}
