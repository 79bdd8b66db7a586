"""The whole speaker: from the plugin's state file to the rack, and from the rack to the kernel."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from cni.allocation import Allocation
from cni.network import PodAddress, Range
from cni.statefile import now
from cni.store import Store
from tests.system.gobgp_rig import Rig, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.gobgp_rig import Member

INSIDE = Range(4, 0x0AF40100, 24, 0x0AF40101, 0x0AF401FE, 0x0AF40101)  # 10.244.1.0/24
OUTSIDE = Range(4, 0xC6336400, 24, 0xC6336401, 0xC63364FE, 0xC6336401)  # 198.51.100.0/24
MORE = '[announce]\nsubnets = ["10.244.1.0/24"]\n[timers]\nstale-routes = 60\n'


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("fib"))
    try:
        rig.rack(1)
        rig.configure([1], MORE)
        rig.node.start_gobgpd()
        rig.node.start_speaker()
        wait("both sessions", lambda: rig.node.established() == 2)
        yield rig
    finally:
        rig.close()


@pytest.fixture
def node(rig: Rig) -> Member:
    return rig.node


@pytest.fixture
def rack(rig: Rig) -> Member:
    return rig.members[1]


def attach(rig: Rig, container: str, one: Range, ip: bytes) -> None:
    store = Store(str(rig.directory / "state"))
    store.begin()
    store.attach(Allocation("pods", container, "eth0", "/run/netns/x", f"host-{container}", ()), now())
    store.hold("pods", PodAddress(ip, one.prefixlen, b""), one.pool, (container, "eth0"))
    store.commit()
    store.close()


def release(rig: Rig, container: str) -> None:
    store = Store(str(rig.directory / "state"))
    store.release(container, "eth0", list)
    store.close()


def test_pods_outside_the_subnets_are_host_routes(rig: Rig, rack: Member, node: Member) -> None:
    wait("the subnet", lambda: "10.244.1.0/24" in rack.table())
    attach(rig, "a", INSIDE, bytes([10, 244, 1, 7]))
    attach(rig, "b", OUTSIDE, bytes([198, 51, 100, 7]))
    wait("the pod's address", lambda: "198.51.100.7/32" in rack.table(), 5)
    assert "10.244.1.7/32" not in rack.table()
    node.kill("speaker", signal.SIGKILL)
    before = rack.updates()
    ups = node.logged('"peer up"')
    node.start_speaker()
    wait("adoption", lambda: node.logged('"peer up"') == ups + 2)
    assert rack.updates() == before
    release(rig, "b")
    wait("the withdrawal", lambda: "198.51.100.7/32" not in rack.table(), 5)
    release(rig, "a")


def test_an_unreadable_state_file_withdraws_nothing(rig: Rig, rack: Member, node: Member) -> None:
    attach(rig, "c", OUTSIDE, bytes([198, 51, 100, 9]))
    wait("the pod's address", lambda: "198.51.100.9/32" in rack.table(), 5)
    state = rig.directory / "state"
    for path in state.glob("state.db*"):
        path.unlink()
    (state / "state.db").write_bytes(b"garbage" * 1000)
    wait("the complaint", lambda: node.logged("state file unreadable"), 5)
    assert "198.51.100.9/32" in rack.table()
    (state / "state.db").unlink()
    wait("the next complaint", lambda: node.logged("it was taken away"), 5)
    assert "198.51.100.9/32" in rack.table()
    attach(rig, "d", INSIDE, bytes([10, 244, 1, 9]))
    wait("a file without it", lambda: "198.51.100.9/32" not in rack.table(), 5)
    release(rig, "d")


def test_an_unreachable_next_hop_is_told_once_and_looked_at_again(node: Member, rack: Member) -> None:
    # The rack passes on a next hop beyond the node's links.
    told = '"next hop unreachable" via=10.98.0.2'
    rack.gobgp("global", "rib", "add", "10.55.0.0/16", "nexthop", "10.98.0.2", "-a", "ipv4")
    rack.gobgp("global", "rib", "add", "10.56.0.0/16", "-a", "ipv4")
    wait("the good one", lambda: node.gateways("10.56.0.0/16") == {"10.99.1.2"})
    wait("the complaint", lambda: node.logged(told))
    rack.gobgp("global", "rib", "del", "10.56.0.0/16", "-a", "ipv4")
    wait("the withdrawal", lambda: node.routes("10.56.0.0/16") == [])
    assert node.logged(told) == 1
    node.ip("address", "add", "10.98.0.1/24", "dev", "r1")
    wait("the route", lambda: node.gateways("10.55.0.0/16") == {"10.98.0.2"}, 5)
    node.ip("address", "del", "10.98.0.1/24", "dev", "r1")
    wait("it is gone", lambda: node.routes("10.55.0.0/16") == [], 5)
    rack.gobgp("global", "rib", "add", "10.98.0.0/16", "-a", "ipv4")
    wait("the way over the rack", lambda: node.gateways("10.55.0.0/16") == {"10.99.1.2"}, 5)
    for prefix in ("10.98.0.0/16", "10.55.0.0/16"):
        rack.gobgp("global", "rib", "del", prefix, "-a", "ipv4")
    wait("the withdrawal", lambda: node.routes("10.55.0.0/16") == [])


def test_connected_and_own_prefixes_are_not_installed(node: Member, rack: Member) -> None:
    for prefix in ("10.99.1.0/24", "10.244.1.128/25", "0.0.0.0/0", "10.57.0.0/16"):
        rack.gobgp("global", "rib", "add", prefix, "-a", "ipv4")
    wait("the good one", lambda: node.gateways("10.57.0.0/16") == {"10.99.1.2"})
    assert {"10.99.1.0/24", "10.244.1.128/25"} <= node.table()
    assert "0.0.0.0/0" not in node.table()
    assert [node.routes(prefix) for prefix in ("10.99.1.0/24", "10.244.1.128/25", "0.0.0.0/0")] == [
        [],
        [],
        [],
    ]


def test_routes_of_other_programs_survive_everything(node: Member, rack: Member) -> None:
    node.ip("route", "add", "10.58.0.0/16", "via", "10.99.1.9", "proto", "static")
    node.ip("route", "add", "10.59.0.0/16", "via", "10.99.1.9", "proto", "static", "metric", "1190")
    for prefix in ("10.58.0.0/16", "10.59.0.0/16"):
        rack.gobgp("global", "rib", "add", prefix, "-a", "ipv4")
    wait("ours beside it", lambda: node.gateways("10.58.0.0/16") == {"10.99.1.2"})
    wait("the complaint", lambda: node.logged("another program's route has the same prefix and metric"))
    for prefix in ("10.58.0.0/16", "10.59.0.0/16"):
        rack.gobgp("global", "rib", "del", prefix, "-a", "ipv4")
    wait("ours gone", lambda: node.routes("10.58.0.0/16") == [])
    assert [len(node.routes(prefix, 4)) for prefix in ("10.58.0.0/16", "10.59.0.0/16")] == [1, 1]
