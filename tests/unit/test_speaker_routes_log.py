"""What is said of kernel routes: each change once, and nothing where nothing changed."""

from __future__ import annotations

import logging
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from speaker import log
from speaker.desired import KernelRoute
from speaker.kernel.stale import Told
from speaker.settings import Accept, Kernel
from tests.unit.routes_rig import CONFIG, GATEWAY, NET, FakeTable, learned, started

if TYPE_CHECKING:
    from speaker.bgp import Destination, Prefix


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """What is said, as it is said."""
    caplog.set_level(logging.DEBUG, "anypod.speaker")
    logging.getLogger("anypod.speaker").propagate = True
    return Lines(caplog)


class Lines:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:

        self._caplog = caplog

    def take(self) -> list[str]:
        found = [record.message for record in self._caplog.records]
        self._caplog.clear()
        return found


def test_a_route_that_somebody_else_removed_is_told_whether_it_is_wanted_back_or_not(lines: Lines) -> None:
    routes, table = started()
    told = {NET: learned(NET, "10.0.0.254")}
    routes.sync(told, ())
    lines.take()
    del table.kernel[NET, 1190]
    routes.reread()
    routes.sync(told, ())
    gone = 'event="route gone" prefix=10.9.0.0/16 via=10.0.0.254'
    assert lines.take() == [gone, 'event="route added" prefix=10.9.0.0/16 via=10.0.0.254']
    del table.kernel[NET, 1190]
    routes.reread()
    routes.sync({}, ())
    assert lines.take() == [gone]


def test_routes_that_the_speaker_left_itself_are_not_told_as_gone(lines: Lines) -> None:
    routes, table = started()
    routes.sync({NET: learned(NET, "10.0.0.254")}, ())
    table.kernel.clear()  # what another table is read as
    routes.reload(replace(CONFIG, kernel=Kernel(table=100)))
    assert not [line for line in lines.take() if "gone" in line]


def test_a_refused_route_is_not_tried_at_each_pass_and_is_told_once(lines: Lines) -> None:
    routes, table = started(table=FakeTable(refuse={NET}))
    told = {NET: learned(NET, "10.0.0.254")}
    routes.sync(told, ())
    assert [line for line in lines.take() if "refused" in line] == [
        'event="route refused by the kernel" prefix=10.9.0.0/16 via=10.0.0.254 reason=no'
    ]
    before = table.writes
    other = ip_network("10.8.0.0/16")
    told[other] = learned(other, "10.0.0.254")
    routes.sync(told, ())
    assert table.writes == before + 1
    assert list(routes.refused) == [(NET, 1190)]
    routes.reread()
    routes.sync(told, ())
    assert table.writes == before + 2
    assert not [line for line in lines.take() if "refused" in line]
    table.refuse.clear()
    routes.reread()
    routes.sync(told, ())
    assert routes.refused == {}
    assert (NET, 1190) in table.kernel


def test_an_unreachable_next_hop_is_told_once_for_all_its_routes(lines: Lines) -> None:
    routes, table = started()
    nets = [ip_network(f"10.{n}.0.0/16") for n in range(20, 70)]
    told = {net: learned(net, "10.99.0.1") for net in nets}
    routes.sync(told, ())
    routes.sync(told, ())
    (line,) = [line for line in lines.take() if "unreachable" in line and "via=10.99" in line]
    assert 'event="next hop unreachable" via=10.99.0.1 prefixes=50 reason="on none of' in line
    assert table.watched == {ip_address("10.99.0.1")}
    way = ip_network("10.99.0.0/24")
    table.others[way] = KernelRoute(way, 0, frozenset({GATEWAY}))
    routes.reread()
    routes.sync(told, ())
    assert 'event="next hop no longer unreachable" via=10.99.0.1' in lines.take()
    assert all(table.kernel[net, 1190].next_hops == {GATEWAY} for net in nets)


def test_the_maximum_is_told_when_it_begins_and_ends(lines: Lines) -> None:
    routes, table = started(replace(CONFIG, accept=Accept(maximum=2)))
    told: dict[Prefix, Destination] = {}
    for n in (9, 8, 7, 6):
        told[ip_network(f"10.{n}.0.0/16")] = learned(ip_network(f"10.{n}.0.0/16"), "10.0.0.254")
        routes.sync(told, ())
    assert [line for line in lines.take() if "maximum" in line] == [
        'event="accept.maximum reached" maximum=2 left_out=1'
    ]
    assert {str(prefix) for prefix, metric in table.kernel if metric == 1190} == {
        "10.9.0.0/16",
        "10.8.0.0/16",
    }
    del told[NET], told[ip_network("10.8.0.0/16")]
    routes.sync(told, ())
    assert [line for line in lines.take() if "maximum" in line] == [
        'event="accept.maximum no longer reached" maximum=2'
    ]
    assert {str(prefix) for prefix, metric in table.kernel if metric == 1190} == {
        "10.6.0.0/16",
        "10.7.0.0/16",
    }


def test_while_the_daemon_is_lost_nothing_left_out_is_over(lines: Lines) -> None:
    far = ip_network("10.7.0.0/16")
    told = {net: learned(net, "10.0.0.254") for net in (NET, ip_network("10.8.0.0/16"))}
    told[far] = learned(far, "10.99.0.1")
    routes, _ = started(replace(CONFIG, accept=Accept(maximum=1)))
    routes.sync(told, ())
    assert len([line for line in lines.take() if "next hop" in line or "maximum" in line]) == 2
    routes.lost(1.0)
    for table in ({}, {NET: told[NET]}, told):
        routes.sync(table, ())
    routes.stale.settle(Told.ALL, 60.0)
    routes.sync(told, ())
    assert lines.take() == []
    routes.lost(61.0)
    routes.sync({}, ())
    assert lines.take() == []
    routes.stale.settle(Told.ALL, 120.0)
    routes.sync({}, ())
    over = [line for line in lines.take() if "no longer" in line]
    # What is told again, and then no more, is over also while others are waited for.
    routes.lost(121.0)
    for table in (told, {}):
        routes.sync(table, ())
    assert len([line for line in lines.take() if "no longer" in line]) == 2
    assert [line.partition(" ")[2].split()[-1] for line in over] == ["via=10.99.0.1", "maximum=1"]


def test_many_lines_are_cut_short(lines: Lines) -> None:
    nets = [ip_network(f"10.{n}.0.0/16") for n in range(20, 100)]
    routes, _ = started(table=FakeTable(refuse=set(nets)))
    routes.sync({net: learned(net, "10.0.0.254") for net in nets}, ())
    refused = [line for line in lines.take() if "refused" in line]
    assert len(refused) == log.LISTED + 1
    assert refused[-1].endswith(f"more={80 - log.LISTED}")


def test_in_the_end_everything_can_be_cleared_away(lines: Lines) -> None:
    routes, table = started()
    routes.sync({NET: learned(NET, "10.0.0.254")}, ())
    routes.clear()
    assert table.kernel == {}
    assert sum("route removed" in line for line in lines.take()) == 2
