"""Next-hop objects, groups and routes of virtual IPs as the kernel has them; nobody else's are touched."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from cni.rtnl import RTM_DELROUTE
from speaker.kernel.vipgroups import Member, VipRoute
from speaker.settings import Anycast, Kernel
from tests.system.gobgp_rig import run, wait
from tests.system.vip_look import everything, objects, sync, told
from tests.system.vip_rig import VIPS, VipNode, configured, hop, routed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speaker.kernel.vips import VipTable

V4, V6 = ip_network(VIPS[4]), ip_network(VIPS[6])
BUCKETS = Anycast().buckets


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


def test_iproute2_sees_what_was_written(rig: VipNode, table: VipTable) -> None:
    assert sync(rig, table) == {}
    found = objects(rig)
    bridge = json.loads(run("ip", "-n", rig.node.ns, "-j", "link", "show", "pods0"))[0]["ifname"]
    for number, gateway in ((hop(1, 4), "10.244.1.11"), (hop(2, 4), "10.244.1.12"), (hop(3, 6), "fd44::13")):
        one = found[number]
        assert (one["gateway"], one["dev"], one["protocol"], one["flags"]) == (
            gateway,
            bridge,
            "178",
            ["onlink"],
        )
    (group,) = [one for one in found.values() if {"id": hop(2, 4), "weight": 7} in one.get("group", [])]
    assert group["group"] == [{"id": hop(1, 4)}, {"id": hop(2, 4), "weight": 7}]
    assert (group["type"], group["protocol"]) == ("resilient", "178")
    timers = group["resilient_args"]
    assert (timers["buckets"], timers["idle_timer"], timers["unbalanced_timer"]) == (BUCKETS, 120, 0)
    (route,) = rig.node.routes(str(VIPS[4]), 178)
    assert (route["nhid"], route["metric"]) == (group["id"], 190)
    routes = {route["metric"]: route for route in rig.node.routes(str(VIPS[6]), 178)}
    assert routes[191]["type"] == "7"  # unreachable
    assert routes[190]["nhid"] != group["id"]


@pytest.mark.parametrize(
    "weights",
    [
        {1: 1, 2: 1, 3: 1},
        {1: 100, 2: 1, 3: 33},
        {1: 0, 2: 1, 3: 1},
        {1: 0, 2: 0, 3: 5},
        {1: 1, 2: 0, 3: 99},
        {1: 0, 2: 0},
    ],
)
def test_the_kernel_gives_as_many_buckets_as_were_wanted(
    rig: VipNode, table: VipTable, weights: dict[int, int]
) -> None:
    sync(rig, table, routed(weights, 4))
    found = rig.buckets(4)
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1)
    assert sum(found.values()) == BUCKETS
    for pod, weight in weights.items():
        share = BUCKETS * weight / sum(weights.values())
        assert abs(found.get(pod, 0) - share) <= (1.5 if weight else 0)


def test_without_a_change_nothing_is_written(rig: VipNode, table: VipTable) -> None:
    sync(rig, table)
    before = everything(rig)
    assert told(rig, lambda: sync(rig, table)) == []
    table.reread()
    assert told(rig, lambda: sync(rig, table)) == []
    assert everything(rig) == before
    assert not rig.inside(table.changed)


def test_another_process_takes_over_and_writes_nothing(rig: VipNode, table: VipTable) -> None:
    sync(rig, table)
    heir = rig.table(configured())
    assert rig.inside(heir.adopt) == {
        V4: {hop(1, 4), hop(2, 4)},
        V6: {hop(1, 6), hop(3, 6)},
    }
    assert told(rig, lambda: sync(rig, heir)) == []
    sync(rig, heir, routed({1: 1}, 4))
    assert set(objects(rig)) - {hop(1, 4)} == {rig.node.routes(str(VIPS[4]), 178)[0]["nhid"]}


def test_another_number_of_buckets_moves_the_route_without_a_gap(rig: VipNode, table: VipTable) -> None:
    sync(rig, table)
    before = rig.node.routes(str(VIPS[4]), 178)[0]["nhid"]
    rig.inside(lambda: table.reload(configured(buckets=64)))
    kinds = told(rig, lambda: sync(rig, table))
    assert RTM_DELROUTE not in kinds, "a route was removed"
    assert sum(rig.buckets(4).values()) == 64
    assert before not in objects(rig)


def test_pods_that_are_not_on_a_link_are_left_out(rig: VipNode, table: VipTable) -> None:
    rig.node.ip("route", "add", "10.99.0.0/24", "via", "10.244.1.13")
    rig.hops.update(
        {
            hop(2, 4): ip_address("10.99.0.5"),
            hop(3, 4): ip_address("10.244.1.1"),
            hop(4, 4): ip_address("10.98.0.5"),
        }
    )
    failed = sync(rig, table, routed({1: 1, 2: 1, 3: 1, 4: 1}, 4))
    assert set(failed) == {hop(2, 4), hop(3, 4), hop(4, 4)}
    assert (
        "the pod's address 10.99.0.5 is not on a link of this node but behind 10.244.1.13; "
        in failed[hop(2, 4)]
    )
    assert "10.244.1.1 is one of this node itself; give the pod another" in failed[hop(3, 4)]
    assert "no route leads to the pod's address 10.98.0.5 (Network is unreachable)" in failed[hop(4, 4)]
    assert set(rig.buckets(4)) == {1}
    rig.node.ip("address", "add", "10.98.0.1/24", "dev", "pods0")
    wait("the news", lambda: rig.inside(table.changed), 20)
    assert set(sync(rig, table, routed({1: 1, 2: 1, 3: 1, 4: 1}, 4))) == {hop(2, 4), hop(3, 4)}


def test_a_pod_on_a_link_of_its_own_without_a_subnet(rig: VipNode, table: VipTable) -> None:
    """As chained plugins make them: a route to the one address, over the pod's own veth."""
    pod = rig.pods[3]
    rig.node.ip("link", "set", "p3", "nomaster")
    pod.ip("address", "add", "10.97.0.7/32", "dev", "eth0")
    rig.node.ip("route", "add", "10.97.0.7", "dev", "p3", "scope", "link")
    rig.hops[hop(3, 4)] = ip_address("10.97.0.7")
    assert sync(rig, table, routed({1: 1, 3: 1}, 4)) == {}
    assert objects(rig)[hop(3, 4)]["dev"] == "p3"


def test_objects_and_routes_of_others_stay(
    rig: VipNode, table: VipTable, caplog: pytest.LogCaptureFixture
) -> None:
    rig.node.ip("nexthop", "add", "id", str(hop(1, 4)), "blackhole", "proto", "210")
    rig.node.ip("nexthop", "add", "id", str(0x50000000), "blackhole", "proto", "210")
    rig.node.ip("route", "add", str(VIPS[6]), "via", "fd44::13", "metric", "190", "proto", "210")
    failed = sync(rig, table)
    assert list(failed) == [hop(1, 4)]
    assert "another program's next-hop object has this number; remove it" in failed[hop(1, 4)]
    assert list(table.refused) == [V6]
    assert (
        "another program's route has the same prefix and metric; set another anycast.metric"
        in table.refused[V6]
    )
    assert set(rig.buckets(4)) == {2}
    assert not rig.inside(table.changed)
    table.reread()
    assert list(sync(rig, table)) == [hop(1, 4)]
    assert caplog.text.count("virtual IP refused by the kernel") == 1
    rig.node.ip("nexthop", "del", "id", str(hop(1, 4)))
    rig.node.ip("route", "del", str(VIPS[6]), "proto", "210")
    wait("the news", lambda: rig.inside(table.changed), 20)
    assert (sync(rig, table), table.refused) == ({}, {})
    rig.inside(table.clear)
    assert everything(rig) == "id 1342177280 blackhole proto 210 \n"


@pytest.mark.parametrize(
    "change",
    [{"protocol": 201}, {"metric": 50}, {"protocol": 201, "metric": 50}],
)
def test_another_protocol_or_metric_leaves_nothing_behind(
    rig: VipNode, table: VipTable, change: dict[str, int]
) -> None:
    sync(rig, table)
    rig.inside(lambda: table.reload(configured(**change)))
    assert (sync(rig, table), table.refused) == ({}, {})
    protocol, metric = change.get("protocol", 178), change.get("metric", 190)
    assert [route["metric"] for route in rig.node.routes(str(VIPS[4]), protocol)] == [metric]
    assert {one["protocol"] for one in objects(rig).values()} == {str(protocol)}
    if protocol != 178:
        assert "proto" not in everything(rig).replace(f"proto {protocol}", "")
    assert len(objects(rig)) == 6
    assert told(rig, lambda: sync(rig, table)) == []


def test_another_table_leaves_nothing_behind(rig: VipNode, table: VipTable) -> None:
    sync(rig, table)
    rig.inside(lambda: table.reload(replace(configured(), kernel=Kernel(table=100_000))))
    assert (sync(rig, table), table.refused) == ({}, {})
    assert rig.node.routes(str(VIPS[4]), 178) == []
    assert str(VIPS[4]) in rig.node.ip("route", "show", "table", "100000", "proto", "178")
    assert len(objects(rig)) == 6
    rig.inside(table.clear)
    assert objects(rig) == {}


COUNT = 10_000


def test_ten_thousand_virtual_ips(rig: VipNode, table: VipTable) -> None:
    rig.inside(lambda: table.reload(configured(buckets=128)))
    rig.node.ip("address", "add", "10.128.0.1/9", "dev", "pods0")
    first, pods = ip_address("198.18.0.0"), ip_address("10.130.0.0")
    rig.hops = {0x60000000 + number: pods + number for number in range(2 * COUNT)}
    wanted = {}
    for number in range(COUNT):
        prefix = ip_network(first + number)
        wanted[prefix] = VipRoute(
            prefix, (Member(0x60000000 + 2 * number, 1), Member(0x60000001 + 2 * number, 1))
        )
    assert (sync(rig, table, wanted), table.refused) == ({}, {})
    assert not rig.inside(table.changed), "its own writes are no news"
    assert not told(rig, lambda: sync(rig, table, wanted))
    assert rig.node.ip("route", "show", "proto", "178").count("nhid") == COUNT
    prefix = ip_network(first + 7)
    changed = {**wanted, prefix: VipRoute(prefix, wanted[prefix].members[:1])}
    assert len(told(rig, lambda: sync(rig, table, changed))) <= 6
    rig.inside(table.clear)
    assert objects(rig) == {}
