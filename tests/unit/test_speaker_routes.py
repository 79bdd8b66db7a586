"""The kernel kept in step, with a kernel in a dictionary: whatever happens in between, the end is as it should be."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from speaker.desired import KernelRoute
from speaker.kernel.routes import Routes
from speaker.kernel.stale import Told
from speaker.prefixes import everything_in
from speaker.settings import Accept, Kernel
from tests.unit.routes_rig import CONFIG, GATEWAY, NET, FakeTable, learned, started


def test_a_pass_over_the_same_writes_nothing() -> None:
    routes, table = started()
    told = {NET: learned(NET, "10.0.0.254")}
    routes.sync(told, ())
    before = table.writes
    routes.sync(told, ())
    routes.sync(dict(told), ())
    routes.sync({NET: learned(NET, "10.0.0.254")}, ())
    routes.reread()
    routes.sync(told, ())
    assert table.writes == before == 2


def test_a_refused_route_that_nobody_tells_any_more_is_forgotten() -> None:
    routes, _ = started(table=FakeTable(refuse={NET}))
    routes.sync({NET: learned(NET, "10.0.0.254")}, ())
    assert not routes.in_step
    routes.sync({}, ())
    assert routes.refused == {}
    assert routes.in_step


def test_stale_routes_stay_until_all_is_told_and_move_with_the_metric() -> None:
    old = KernelRoute(NET, 1190, frozenset({GATEWAY}))
    table = FakeTable(kernel={old.key: old})
    routes = Routes(CONFIG, table)
    routes.adopt(0.0)
    routes.sync({}, ())
    assert table.kernel[old.key] == old
    routes.reload(replace(CONFIG, kernel=Kernel(metric=50)))
    routes.sync({}, ())
    assert (NET, 50) in table.kernel
    assert old.key not in table.kernel
    assert routes.stale.settle(Told.ALL, 1.0)
    routes.sync({}, ())
    assert [route for route in table.kernel.values() if route.next_hops] == []


def test_stale_routes_count_for_the_maximum() -> None:
    config = replace(CONFIG, accept=Accept(maximum=4))
    old = [KernelRoute(ip_network(f"10.{n}.0.0/16"), 1190, frozenset({GATEWAY})) for n in range(1, 4)]
    table = FakeTable(kernel={route.key: route for route in old})
    routes = Routes(config, table)
    routes.adopt(0.0)
    nets = [ip_network(f"10.{n}.0.0/16") for n in (3, 11, 12, 13, 14)]
    told = {net: learned(net, "10.0.0.254") for net in nets}

    def installed() -> list[str]:
        return sorted(str(route.prefix) for route in table.kernel.values() if route.next_hops)

    routes.sync(told, ())
    assert installed() == ["10.1.0.0/16", "10.11.0.0/16", "10.2.0.0/16", "10.3.0.0/16"]
    assert routes.stale.settle(Told.ALL, 1.0)
    routes.sync(told, ())
    assert installed() == ["10.11.0.0/16", "10.12.0.0/16", "10.13.0.0/16", "10.3.0.0/16"]


def test_a_lost_daemons_routes_outlive_a_flush() -> None:
    routes, table = started()
    routes.sync({NET: learned(NET, "10.0.0.254")}, ())
    routes.lost(10.0)
    table.kernel.clear()
    routes.reread()
    routes.sync({}, ())
    assert table.kernel[NET, 1190].next_hops == {GATEWAY}


def test_another_configuration_takes_out_what_it_does_not_accept() -> None:
    routes, table = started()
    told = {NET: learned(NET, "10.0.0.254")}
    routes.sync(told, ())
    routes.reload(replace(CONFIG, accept=Accept((everything_in(ip_network("192.0.2.0/24")),))))
    routes.sync(told, ())
    assert (NET, 1190) not in table.kernel
