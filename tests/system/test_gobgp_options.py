"""What each option of a session does, with a real gobgpd and FRR at the other end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest

from speaker.bgp import Family, LocalPath, Peer, PrefixLimit
from tests.system.gobgp_rig import wait
from tests.system.gobgp_steered import KINDS, OPEN, Neighbour, Steered, options, rack, steered_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speaker.bgp import PeerStatus

ASN = 65002
SECRET = "s3cret"  # noqa: S105
# Seconds in which gobgpd has dialled at least once.
DIALLED = 12.0


@dataclass(frozen=True)
class Case:
    """A pair of addresses, what gobgpd is told, and FRR's lines for it."""

    options: dict[str, Any] = field(default_factory=dict)
    frr: tuple[str, ...] = ()
    remote: int = 65001
    up: bool = True


LIMITS = (PrefixLimit(Family.IPV4, 2),)
CASES = {
    "plain": Case(),
    "local AS": Case({"local_asn": 64999}, remote=64999),
    "password": Case({"password": SECRET}, (f"password {SECRET}",)),
    "wrong password": Case({"password": SECRET}, ("password other",), up=False),
    "no password there": Case({"password": SECRET}, up=False),
    # RFC 5082: who wants it sends 255 and hears nothing that has travelled.
    "TTL security": Case({"ttl_security": 1}, ("ttl-security hops 1",)),
    "TTL security here": Case({"ttl_security": 1}, up=False),
    "TTL security there": Case({}, ("ttl-security hops 1",), up=False),
    "multihop": Case({"multihop_ttl": 250}, ("ttl-security hops 10",)),
    "not that far": Case({"multihop_ttl": 100}, ("ttl-security hops 10",), up=False),
    "timers": Case({"hold": 30, "keepalive": 7}, ("timers 25 60",)),
    "graceful restart": Case({"restart_time": 77}),
    "IPv4 only": Case({"families": frozenset({Family.IPV4})}),
    "passive": Case({"passive": True}),
    "dials": Case({}, ("passive",)),
    "both wait": Case({"passive": True}, ("passive",), up=False),
    "within its limit": Case({"prefix_limits": (PrefixLimit(Family.IPV4, 3),)}),
    "past its limit": Case({"prefix_limits": LIMITS}, up=False),
}
NETWORKS = ("10.50.0.0/16", "10.51.0.0/16", "10.52.0.0/16")


class Sessions:
    """All cases at once: each pair of addresses is one session on the same link."""

    def __init__(self, steered: Steered) -> None:
        self.steered = steered
        self.router = rack(steered, ASN)
        self.neighbours: dict[str, Neighbour] = {}
        self._enter = ("configure terminal", f"router bgp {ASN}")
        self.router.vtysh(
            *self._enter, "address-family ipv4 unicast", *(f"network {net}" for net in NETWORKS)
        )
        steered.do(steered.session.set_policies(OPEN))
        for name, case in CASES.items():
            steered.node.ip("address", "add", f"{self.here(name)}/24", "dev", self.router.link)
            self.router.ip("address", "add", f"{self.there(name)}/24", "dev", "node")
            self.neighbours[name] = self.neighbour(name, *case.frr)
            self.neighbours[name].__enter__()
            steered.add(self.peer(name))
        self.since = time.monotonic()

    def here(self, name: str) -> str:
        return f"10.98.1.{11 + list(CASES).index(name)}"

    def there(self, name: str) -> str:
        return f"10.98.1.{111 + list(CASES).index(name)}"

    def neighbour(self, name: str, *lines: str) -> Neighbour:
        source = f"update-source {self.there(name)}"
        return Neighbour(self.router, ASN, self.here(name), CASES[name].remote, source, *lines)

    def peer(self, name: str, **changed: object) -> Peer:
        values = {**CASES[name].options, **changed, "local_address": ip_address(self.here(name))}
        return Peer(ip_address(self.there(name)), options(ASN, **values))

    def status(self, name: str) -> PeerStatus:
        return self.steered.status(self.there(name))

    def seen(self, name: str) -> dict[str, Any]:
        return self.neighbours[name].seen()


@pytest.fixture(scope="module", params=KINDS)
def sessions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sessions]:
    with steered_in(tmp_path_factory.mktemp("steered"), request.param) as steered:
        yield Sessions(steered)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.up])
def test_a_session_comes_up(sessions: Sessions, name: str) -> None:
    wait(name, lambda: sessions.status(name).established)
    found = sessions.status(name)
    assert sessions.seen(name)["bgpState"] == "Established"
    assert found.peer == sessions.peer(name)
    assert (found.router_id, found.reason) == ("10.98.1.2", "")
    assert 0 <= found.uptime < 60


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.up])
def test_a_session_does_not_come_up_or_ends(sessions: Sessions, name: str) -> None:
    time.sleep(max(0.0, sessions.since + DIALLED - time.monotonic()))
    assert not sessions.status(name).established
    assert sessions.seen(name)["bgpState"] != "Established"


def test_the_local_as_is_the_only_one_that_the_peer_sees(sessions: Sessions) -> None:
    assert sessions.seen("local AS")["remoteAs"] == 64999


def test_the_shorter_hold_time_counts(sessions: Sessions) -> None:
    seen = sessions.seen("timers")
    assert (seen["bgpTimerHoldTimeMsecs"], seen["bgpTimerKeepAliveIntervalMsecs"]) == (30_000, 10_000)


def test_graceful_restart_is_told_and_its_end_of_rib_heard(sessions: Sessions) -> None:
    seen = sessions.seen("graceful restart")
    assert seen["neighborCapabilities"]["gracefulRestartRemoteTimerMsecs"] == 77_000
    assert set(seen["gracefulRestartInfo"]["endOfRibRecv"]) == {"ipv4Unicast", "ipv6Unicast"}
    found = sessions.status("graceful restart")
    assert found.graceful
    wait("End-of-RIB", lambda: sessions.status("graceful restart").end_of_rib == set(Family))
    assert sessions.seen("plain")["neighborCapabilities"].get("gracefulRestart") != "advertisedAndReceived"
    assert not sessions.status("plain").graceful


def test_families_are_those_wanted(sessions: Sessions) -> None:
    def both(name: str) -> set[str]:
        spoken = sessions.seen(name)["neighborCapabilities"]["multiprotocolExtensions"]
        return {family for family, ends in spoken.items() if ends.get("advertisedAndReceived")}

    assert both("plain") == {"ipv4Unicast", "ipv6Unicast"}
    assert both("IPv4 only") == {"ipv4Unicast"}


def test_counts_are_told(sessions: Sessions) -> None:
    wait("all networks", lambda: sessions.status("plain").accepted == len(NETWORKS))
    assert sessions.status("plain").received >= len(NETWORKS)
    path = LocalPath(ip_network("10.244.1.0/24"), ip_address(0))
    sessions.steered.do(sessions.steered.session.announce([path]))
    for name in ("plain", "graceful restart"):
        assert sessions.status(name).advertised == 1
    assert sessions.status("wrong password").advertised == 0


def test_a_peer_past_its_limit_says_so_and_comes_back_when_added_anew(sessions: Sessions) -> None:
    name = "past its limit"
    wait("it ends", lambda: "limit" in sessions.status(name).reason)
    sessions.steered.remove(sessions.there(name))
    sessions.steered.add(sessions.peer(name, prefix_limits=()))
    wait("it is back", lambda: sessions.status(name).established)


def test_a_password_is_forgotten_with_its_peer(sessions: Sessions) -> None:
    name = "password"
    sessions.steered.remove(sessions.there(name))
    sessions.neighbours[name].__exit__()
    with sessions.neighbour(name):
        sessions.steered.add(sessions.peer(name, password="", passive=True))
        wait("the neighbour gets through without one", lambda: sessions.status(name).established)


def test_a_removed_peer_leaves_nothing_behind(sessions: Sessions) -> None:
    found = sessions.status("plain")
    sessions.steered.remove(found.address)
    wait("the other end hears", lambda: sessions.seen("plain").get("bgpState") != "Established")
    sessions.steered.do(sessions.steered.session.remove_peer(found))
    keys = {one.address for one in sessions.steered.do(sessions.steered.session.peers())}
    assert keys == {sessions.there(name) for name in CASES} - {found.address}
