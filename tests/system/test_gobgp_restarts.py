"""Graceful restart between a real gobgpd and FRR: of the other end, and of the daemon itself."""

from __future__ import annotations

import time
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from speaker.bgp import Family, LocalPath, Peer
from tests.system.gobgp_rig import wait
from tests.system.gobgp_steered import KINDS, OPEN, Neighbour, Steered, options, rack, steered_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.peers_routers import Frr

OURS = "10.244.1.0/24"
THEIRS = "10.50.0.0/16"
# Seconds that a restarting end is waited for.
RESTART = 20


@pytest.fixture(params=KINDS)
def steered(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Steered]:
    with steered_in(tmp_path, request.param) as steered:
        restore(steered)
        yield steered


def restore(steered: Steered) -> None:
    """What a daemon has to know before its peers."""
    steered.do(steered.session.set_policies(OPEN))
    steered.do(steered.session.announce([LocalPath(ip_network(OURS), ip_address(0))]))


def router(steered: Steered, asn: int, *lines: str) -> Frr:
    """An FRR that has the node as its neighbour and a network; `lines` are further ones for the router."""
    made = rack(steered, asn)
    made.vtysh("configure terminal", f"router bgp {asn}", *lines)
    Neighbour(made, asn, made.node_v4, 65001).__enter__()
    made.vtysh("configure terminal", f"router bgp {asn}", "address-family ipv4 unicast", f"network {THEIRS}")
    made.vtysh("write memory")
    return made


def peer(made: Frr, asn: int) -> Peer:
    return Peer(ip_address(made.v4), options(asn, restart_time=RESTART, families=frozenset({Family.IPV4})))


def stale(steered: Steered) -> list[bool]:
    found = steered.do(steered.session.table([ip_network(THEIRS)]))
    return [path.stale for entry in found for path in entry.learned]


def test_a_restarting_neighbours_paths_stay_and_are_stale(steered: Steered) -> None:
    made = router(steered, 65002, "bgp graceful-restart")
    steered.add(peer(made, 65002))
    steered.wait_up(made.v4)
    wait("its path", lambda: stale(steered) == [False])
    made.kill("bgpd")
    wait("it is stale", lambda: stale(steered) == [True])
    assert not steered.status(made.v4).end_of_rib
    made.start_daemon("bgpd")
    steered.wait_up(made.v4)
    wait("it is fresh", lambda: stale(steered) == [False])
    wait("End-of-RIB", lambda: steered.status(made.v4).end_of_rib == {Family.IPV4})


def test_a_restarted_daemon_is_waited_for_and_tells_everybody(steered: Steered) -> None:
    graceful = router(steered, 65002, "bgp graceful-restart")
    plain = router(steered, 65003, "bgp graceful-restart-disable")
    routers = ((graceful, 65002), (plain, 65003))
    for made, asn in routers:
        steered.add(peer(made, asn))
    steered.wait_up(graceful.v4, plain.v4)
    for made, _ in routers:
        wait("ours", lambda made=made: made.has(OURS))  # type: ignore[misc]
    steered.node.kill("gobgpd")
    wait("one notices", lambda: not plain.has(OURS))
    assert graceful.has(OURS)
    steered.do(steered.session.close())
    steered.start()
    restore(steered)
    for made, asn in routers:
        steered.add(peer(made, asn), restarting=True)
    since = time.monotonic()
    while not (steered.status(graceful.v4).established and steered.status(plain.v4).established):
        assert graceful.has(OURS)
        assert time.monotonic() < since + RESTART
        time.sleep(0.1)
    assert graceful.neighbour(graceful.node_v4)["gracefulRestartInfo"]["rBit"]
    steered.status(plain.v4)
    wait("who can't wait hears at once", lambda: plain.has(OURS), 3)
    assert graceful.has(OURS)
    wait("the other after all are in step", lambda: fresh(graceful), RESTART + 5)
    wait("and from then on both hear", lambda: all(_hears(steered, made) for made, _ in routers), 10)


def fresh(made: Frr) -> bool:
    return bool(made.paths(OURS)) and not any(path.get("stale") for path in made.paths(OURS))


def _hears(steered: Steered, made: Frr) -> bool:
    later = ip_network("10.244.2.0/24")
    steered.do(steered.session.peers())
    steered.do(steered.session.announce([LocalPath(later, ip_address(0))]))
    return made.has(str(later))
