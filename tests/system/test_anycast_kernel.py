"""TCP to a virtual IP through a node: which connections stay where they are when its pods change."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import wait
from tests.system.vip_rig import VIPS, Flows, VipNode, configured, hop, routed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speaker.kernel.vips import VipTable

FLOWS = 60
# The kernel counts in ticks of up to 10 ms: a bucket that was used in the one in which it was given away is idle to it.
TICK = 0.02


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VipNode]:
    rig = VipNode(tmp_path_factory.mktemp("vips"))
    try:
        for number in range(1, 6):
            rig.pod(number)
        yield rig
    finally:
        rig.close()


@pytest.fixture
def table(rig: VipNode) -> Iterator[VipTable]:
    """A table of its own for each test; nothing of it stays."""
    table = rig.table(configured(buckets=128, idle_timer=60))
    yield table
    rig.inside(table.clear)
    assert rig.node.ip("nexthop") == ""


def give(
    rig: VipNode, table: VipTable, weights: dict[int, int], version: int, unreachable: bool = False
) -> None:
    failed = rig.inside(lambda: table.sync(routed(weights, version, unreachable), rig.hops))
    assert (dict(failed), table.refused) == ({}, {})
    time.sleep(TICK)


def pods(rig: VipNode, version: int, count: int) -> set[int]:
    """Who answers to new connections."""
    with Flows(rig, version, count) as flows:
        return set(flows.pods)


@pytest.mark.parametrize("version", [4, 6])
def test_a_draining_pod_gets_connections_only_by_buckets_in_use(
    rig: VipNode, table: VipTable, version: int
) -> None:
    # The first test: what is left of broken connections still sends now and then, and that keeps buckets in use, too.
    give(rig, table, {1: 1, 2: 1, 3: 1}, version)
    with Flows(rig, version, 20) as flows:
        before = rig.buckets(version)
        assert sorted(before.values()) == [42, 43, 43]
        give(rig, table, {1: 0, 2: 1, 3: 1}, version)
        # Those that no packet ever went through count as idle.
        wait("idle buckets move", lambda: rig.buckets(version).get(1, 0) <= flows.pods.count(1), 20)
        assert rig.buckets(version)[1] >= 1
        assert flows.broken() == {}
        with Flows(rig, version, FLOWS) as more:
            assert Counter(more.pods)[1] <= FLOWS / 4


@pytest.mark.parametrize("version", [4, 6])
def test_only_connections_of_the_pod_that_goes_break(rig: VipNode, table: VipTable, version: int) -> None:
    give(rig, table, {1: 1, 2: 1, 3: 1}, version)
    with Flows(rig, version, FLOWS) as flows:
        assert set(flows.pods) == {1, 2, 3}
        give(rig, table, {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}, version)
        assert flows.broken() == {}, "two pods came"
        give(rig, table, {1: 0, 2: 1, 3: 1, 4: 1, 5: 1}, version)
        assert flows.broken() == {}, "pod 1 drains"
        give(rig, table, {1: 0, 2: 1, 3: 100, 4: 1, 5: 1}, version)
        assert flows.broken() == {}, "another weight"
        give(rig, table, {2: 1, 3: 1, 4: 1, 5: 1}, version)
        assert flows.broken() == {1: flows.pods.count(1)}, "pod 1 has gone"
        give(rig, table, {2: 1, 3: 1, 4: 1}, version)
        assert flows.broken() == {1: flows.pods.count(1)}, "one without connections has gone"


def test_once_its_connections_have_ended_a_draining_pod_goes_without_a_loss(rig: VipNode) -> None:
    table = rig.table(configured(buckets=128, idle_timer=1))
    try:
        give(rig, table, {1: 1, 2: 1}, 4)
        with Flows(rig, 4, 20) as flows:
            give(rig, table, {1: 0, 2: 1}, 4)
            flows.close(pod=1)

            def empty() -> bool:
                assert flows.broken() == {}  # which also keeps the others' buckets in use
                return 1 not in rig.buckets(4)

            wait("all its buckets are idle", empty, 10)
            with Flows(rig, 4, 30) as more:
                assert set(more.pods) == {2}
            give(rig, table, {2: 1}, 4)
            assert flows.broken() == {}
    finally:
        rig.inside(table.clear)


def test_the_plugin_takes_a_pod_out_in_one_message(rig: VipNode, table: VipTable) -> None:
    give(rig, table, {1: 1, 2: 1, 3: 1}, 4)
    with Flows(rig, 4, FLOWS) as flows:
        rig.node.ip("nexthop", "del", "id", str(hop(2, 4)))
        assert flows.broken() == {2: flows.pods.count(2)}
        assert rig.inside(table.changed)
        give(rig, table, {1: 1, 3: 1}, 4)
        assert flows.broken() == {2: flows.pods.count(2)}
        assert not rig.inside(table.changed)


def test_without_pods_packets_are_refused_or_go_by_the_learned_route(rig: VipNode, table: VipTable) -> None:
    give(rig, table, {1: 1}, 4, unreachable=True)
    assert pods(rig, 4, 1) == {1}
    rig.node.ip("nexthop", "del", "id", str(hop(1, 4)))  # the route goes with it, and nobody has told us yet
    # Asked for on the node: it tells a client only so often.
    with pytest.raises(AssertionError, match="No route to host"):
        rig.node.ip("route", "get", str(VIPS[4]), "from", "192.0.2.2", "iif", "out")
    give(rig, table, {}, 4)
    rig.node.ip("route", "add", str(VIPS[4]), "via", "10.244.1.13", "proto", "177", "metric", "1190")
    try:
        assert pods(rig, 4, 5) == {3}
        give(rig, table, {1: 1, 2: 1}, 4)
        assert pods(rig, 4, 20) == {1, 2}
        give(rig, table, {}, 4)
        assert pods(rig, 4, 5) == {3}
    finally:
        rig.node.ip("route", "del", str(VIPS[4]), "proto", "177")


def test_ports_decide_and_an_operators_choice_stays(rig: VipNode, table: VipTable) -> None:
    for family in ("ipv4", "ipv6"):
        rig.sysctl(f"net.{family}.fib_multipath_hash_policy=0")
        rig.sysctl(f"net.{family}.fib_multipath_hash_fields=7")
    give(rig, table, {1: 1, 2: 1, 3: 1}, 4)
    for family in ("ipv4", "ipv6"):
        assert rig.sysctl(f"net.{family}.fib_multipath_hash_policy") == "3"
        assert rig.sysctl(f"net.{family}.fib_multipath_hash_fields") == "55"
    rig.sysctl("net.ipv4.fib_multipath_hash_policy=2")
    other = rig.table(configured())
    give(rig, other, {1: 1, 2: 1}, 6)
    assert rig.sysctl("net.ipv4.fib_multipath_hash_policy") == "2"
    rig.sysctl("net.ipv4.fib_multipath_hash_policy=3")
    rig.inside(other.clear)


@pytest.mark.parametrize("version", [4, 6])
def test_connections_stay_when_packets_are_lost(rig: VipNode, table: VipTable, version: int) -> None:
    """By policy 1 most would end up at another pod: the client numbers its packets anew when it sends them again."""
    give(rig, table, {1: 1, 2: 1, 3: 1}, version)
    with Flows(rig, version, 20) as flows:
        with rig.losing_packets():
            flows.send()
            time.sleep(0.7)  # each has tried at least once more, after 0.2 s
        assert flows.received() == flows.pods


def test_an_ipv4_vip_of_a_pod_with_ipv6_alone(rig: VipNode, table: VipTable) -> None:
    wanted = routed({1: 1, 2: 1}, 4)
    hops = {hop(1, 4): rig.hops[hop(1, 6)], hop(2, 4): rig.hops[hop(2, 4)]}
    assert not rig.inside(lambda: table.sync(wanted, hops))
    assert pods(rig, 4, 30) == {1, 2}
    assert "via fd44::11" in rig.node.ip("nexthop")


def test_another_address_under_the_same_number(rig: VipNode, table: VipTable) -> None:
    """The object is replaced, and the group keeps it."""
    give(rig, table, {1: 1, 2: 1}, 4)
    moved = {**rig.hops, hop(1, 4): rig.hops[hop(3, 4)]}
    assert not rig.inside(lambda: table.sync(routed({1: 1, 2: 1}, 4), moved))
    assert pods(rig, 4, 30) == {2, 3}
    assert f"id {hop(1, 4)} via 10.244.1.13 dev pods0" in rig.node.ip("nexthop")
