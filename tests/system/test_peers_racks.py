"""A node between two racks: both next hops in the kernel, and one alone while the other fails."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from lab import netns
from lab.monitor import RouteMonitor
from tests.system.gobgp_rig import wait
from tests.system.peers_rig import ASN, Stage, peer
from tests.system.peers_routers import bird_conf, frr_conf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.system.gobgp_rig import Member
    from tests.system.peers_routers import Frr, Router

PREFIXES = ("10.50.0.0/16", "fd50::/64")
ANNOUNCE = '[announce]\nsubnets = ["10.244.1.0/24", "fd24:1::/64"]\n'
HOLD = 9


class Racks(Stage):
    """FRR and BIRD, each with a session per family; and two FRRs that are unnumbered."""

    def build(self) -> None:
        self.first = self.frr("first")
        self.second = self.bird("second")
        netns.configure(self.second.ns)  # its IPv6 address outlives that the link is down
        self.third = self.frr("third")
        self.fourth = self.frr("fourth")

    def up(self) -> None:
        first = self.first
        lines = "".join(
            f"neighbor {node} remote-as {ASN}\nneighbor {node} timers connect 1\n"
            for node in (first.node_v4, first.node_v6)
        )
        six = f"neighbor {first.node_v6} activate\nnetwork {PREFIXES[1]}\n"
        first.start_frr(frr_conf(65301, 1, lines, f"network {PREFIXES[0]}\n", six))
        self.second.start_bird(self.bird_text())
        for router in (self.third, self.fourth):
            self.unnumber(router)
            router.start_frr(unnumbered(router))
        self.configure(
            [
                *(peer(address, 65301) for address in (first.v4, first.v6)),
                *(peer(address, 65302) for address in (self.second.v4, self.second.v6)),
                *(
                    peer(router.link, 65300 + router.number, families=["ipv4", "ipv6"])
                    for router in (self.third, self.fourth)
                ),
            ],
            ANNOUNCE,
        )
        self.start_node()

    def bird_text(self) -> str:
        second = self.second
        blocks = []
        for version, local, node in ((4, second.v4, second.node_v4), (6, second.v6, second.node_v6)):
            prefix = PREFIXES[version == 6]
            blocks += [
                f"protocol static own{version} {{ ipv{version}; route {prefix} blackhole; }}",
                f"protocol bgp node{version} {{ local {local} as 65302; neighbor {node} as {ASN};"
                f" connect delay time 1; error wait time 1, 2; hold time {HOLD};"
                f" ipv{version} {{ import all; export where source = RTS_STATIC; }}; }}",
            ]
        return bird_conf(2, *blocks)


def unnumbered(router: Frr) -> str:
    lines = "neighbor node interface remote-as external\nneighbor node timers connect 1\n"
    number = router.number
    return frr_conf(
        65300 + number, number, lines, "network 10.60.0.0/16\n", "network fd60::/64\nneighbor node activate\n"
    )


@pytest.fixture(scope="module")
def racks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Racks]:
    stage = Racks(tmp_path_factory.mktemp("racks"))
    try:
        stage.up()
        yield stage
    finally:
        stage.close()


def through(racks: Racks, *routers: Router) -> Callable[[], bool]:
    """Whether both families are routed over exactly these racks."""

    def look() -> bool:
        wanted = [{router.v4 for router in routers}, {router.v6 for router in routers}]
        return [racks.node.gateways(prefix) for prefix in PREFIXES] == wanted

    return look


@dataclass(frozen=True, slots=True)
class Failure:
    """How a rack fails and comes back, and how many seconds its next hop may stay."""

    fails: Callable[[Racks], object]
    returns: Callable[[Racks], object]
    seconds: float


def kill(racks: Racks) -> None:
    racks.second.kill("bird")


def start(racks: Racks) -> None:
    racks.second.start_bird(racks.bird_text())


def signalled(number: int) -> Callable[[Racks], object]:
    return lambda racks: racks.second.processes["bird"].send_signal(number)


def link(state: str) -> Callable[[Racks], object]:
    return lambda racks: racks.second.ip("link", "set", "node", state)


FAILURES = {
    "its router dies": Failure(kill, start, HOLD / 2),
    "its router freezes": Failure(signalled(signal.SIGSTOP), signalled(signal.SIGCONT), HOLD + 3),
    "its link goes down": Failure(link("down"), link("up"), HOLD / 2),
}


@pytest.mark.parametrize("name", list(FAILURES))
def test_a_rack_that_fails_takes_its_next_hop_along_and_nothing_else(racks: Racks, name: str) -> None:
    failure = FAILURES[name]
    wait("both racks", through(racks, racks.first, racks.second), 25)
    with RouteMonitor(racks.node.ns) as monitor:
        failure.fails(racks)
        try:
            wait("one rack", through(racks, racks.first), failure.seconds)
        finally:
            failure.returns(racks)
        wait("both racks again", through(racks, racks.first, racks.second), 30)
    assert [monitor.removed(ip_network(prefix)) for prefix in PREFIXES] == [[], []]


def test_unnumbered_racks_are_two_next_hops_in_both_families(racks: Racks) -> None:
    links = {racks.third.link, racks.fourth.link}
    for prefix in ("10.60.0.0/16", "fd60::/64"):
        wait(prefix, lambda prefix=prefix: devices(racks.node, prefix) == links, 25)  # type: ignore[misc]
    racks.fourth.kill("bgpd")
    for prefix in ("10.60.0.0/16", "fd60::/64"):
        wait(prefix, lambda prefix=prefix: devices(racks.node, prefix) == {racks.third.link}, HOLD / 2)  # type: ignore[misc]
    racks.fourth.start_daemon("bgpd")
    for prefix in ("10.60.0.0/16", "fd60::/64"):
        wait(prefix, lambda prefix=prefix: devices(racks.node, prefix) == links, 25)  # type: ignore[misc]


def devices(node: Member, prefix: str) -> set[str]:
    """The links that our routes for this prefix lead to."""
    hops = [hop for route in node.routes(prefix) for hop in [route, *route.get("nexthops", [])]]
    return {str(hop["dev"]) for hop in hops if "dev" in hop}
