"""Next-hop objects, groups and routes of virtual IPs that something else takes away are put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import run, wait
from tests.system.vip_look import objects, sync
from tests.system.vip_rig import VIPS, VipNode, configured, hop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speaker.kernel.vips import VipTable


@pytest.fixture
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VipNode]:
    rig = VipNode(tmp_path_factory.mktemp("vips"))
    try:
        for number in (1, 2, 3):
            rig.pod(number)
        yield rig
    finally:
        rig.close()


@pytest.fixture
def table(rig: VipNode) -> VipTable:
    return rig.table(configured())


@pytest.mark.parametrize(
    "harm",
    [
        f"ip route del {VIPS[4]} metric 190",
        f"ip -6 route del {VIPS[6]} metric 190",
        f"ip -6 route del {VIPS[6]} metric 191",
        "ip nexthop flush proto 178",
        f"ip nexthop del id {hop(1, 6)}",
        f"ip nexthop replace id {hop(1, 4)} via 10.244.1.13 dev pods0 onlink proto 178",
        f"ip route replace {VIPS[4]} metric 190 proto 178 via 10.244.1.13",
        "ip link set pods0 down; ip link set pods0 up; ip address add fd44::1/64 dev pods0 nodad",
    ],
)
def test_what_somebody_else_takes_away_is_put_back(rig: VipNode, table: VipTable, harm: str) -> None:
    sync(rig, table)
    before = sorted(one["gateway"] for one in objects(rig).values() if "gateway" in one)
    rig.inside(table.changed)
    run("ip", "netns", "exec", rig.node.ns, "sh", "-c", harm)
    wait("the news", lambda: rig.inside(table.changed), 20)
    wait("its return", lambda: sync(rig, table) == {} and not rig.inside(table.changed), 20)
    assert sorted(one["gateway"] for one in objects(rig).values() if "gateway" in one) == before
    assert set(rig.buckets(4)) == {1, 2}
    assert set(rig.buckets(6)) == {1}
    assert [route["metric"] for route in rig.node.routes(str(VIPS[6]), 178)] == [190, 191]


def test_a_link_that_goes_away_and_another_that_comes(rig: VipNode, table: VipTable) -> None:
    sync(rig, table)
    rig.node.ip("link", "del", "pods0")
    wait("the news", lambda: rig.inside(table.changed), 20)
    failed = sync(rig, table)
    assert set(failed) == set(rig.hops) - {hop(2, 6), hop(3, 4)}
    assert all("no route leads to the pod's address" in why for why in failed.values())
    assert objects(rig) == {}
    assert [route["metric"] for route in rig.node.routes(str(VIPS[6]), 178)] == [191]
    assert not rig.inside(table.changed)
    rig.node.ip("link", "add", "pods0", "type", "bridge")
    for number in (1, 2, 3):
        rig.node.ip("link", "set", f"p{number}", "master", "pods0")
    rig.node.ip("link", "set", "pods0", "up")
    rig.address_bridge()
    wait("its return", lambda: rig.inside(table.changed) and sync(rig, table) == {}, 20)
    assert set(rig.buckets(4)) == {1, 2}


def test_a_bridge_without_ports_has_no_carrier(rig: VipNode, table: VipTable) -> None:
    sync(rig, table)
    for number in (1, 2, 3):
        rig.node.ip("link", "set", f"p{number}", "down")
    wait("the news", lambda: rig.inside(table.changed), 20)
    wait("the loss", lambda: sync(rig, table) != {}, 20)
    assert "Carrier for nexthop device is down: set the link to the pod up" in set(sync(rig, table).values())
    for number in (1, 2, 3):
        rig.node.ip("link", "set", f"p{number}", "up")
    wait("its return", lambda: rig.inside(table.changed) and sync(rig, table) == {}, 20)
    assert set(rig.buckets(4)) == {1, 2}
