"""Every option of a session, as the router at its other end sees it. The node listens on port 1179."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import run, wait
from tests.system.peers_rig import ASN, Stage, join, peer
from tests.system.peers_routers import Frr, bird_conf, frr_conf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.peers_routers import Bird, ExaBgp, Router

PORT = 1179
METRICS = "127.0.0.1:9179"
SECRETS = ("pa55-w0rd_of.m1ne", "an0ther-w0rd")
BOTH = ["ipv4", "ipv6"]
UP_SECONDS = 25
ANNOUNCE = """
[announce]
subnets = ["10.244.1.0/24", "fd24:1::/64"]
[[announcement]]
name = "for-a-group"
prefixes = ["10.96.10.0/24"]
peers = ["exa"]
[[announcement]]
name = "for-a-link"
prefixes = ["10.96.9.0/24"]
peers = ["r9"]
"""
FAR, FAR_GATEWAY = "10.97.0.2", "10.97.0.1"


def remote(router: Router, *lines: str, asn: int = ASN, address: str = "") -> str:
    """The node as FRR's neighbour."""
    node = address or router.node_v4
    own = (f"remote-as {asn}", f"port {PORT}", "timers connect 1", *lines)
    return "".join(f"neighbor {node} {line}\n" for line in own)


class Sessions(Stage):
    """One router for each thing to be shown; the link's number is part of its addresses."""

    def build(self) -> None:
        self.plain = self.frr("plain")
        self.inner = self.bird("inner")
        self.secret = self.frr("secret")
        self.wrong = self.frr("wrong")
        self.disguised = self.frr("disguised")
        self.near = self.frr("near")
        self.loose = self.frr("loose")
        self.patient = self.frr("patient")
        self.unnumbered = self.frr("unnumbered")
        self.dynamic = self.exabgp("dynamic")
        self.six = self.frr("six")
        self.dynamic_six = self.bird("dynamic6")
        self.far = Frr("far", self.directory, len(self.members))
        self.members.append(self.far)

    def up(self) -> None:
        self._addresses()
        self._routers()
        self._others()
        for name, word in zip(("right", "other"), SECRETS, strict=True):
            path = self.directory / name
            path.touch(0o600)
            path.write_text(f"{word}\n")
        self.configure(self._peers(), self._dynamic() + ANNOUNCE, f"listen-port = {PORT}", METRICS)
        self.start_node()

    def _addresses(self) -> None:
        self.node.ip("address", "add", "10.98.5.9/24", "dev", self.disguised.link)
        self.unnumber(self.unnumbered)
        join(self.plain, "far", self.far, "near")
        self.plain.ip("address", "add", f"{FAR_GATEWAY}/24", "dev", "far")
        self.far.ip("address", "add", f"{FAR}/24", "dev", "near")
        self.far.ip("route", "add", "10.98.1.0/24", "via", FAR_GATEWAY)
        self.node.ip("route", "add", "10.97.0.0/24", "via", self.plain.v4)
        self.plain.forward()

    def _routers(self) -> None:
        plain, secret, near, six = self.plain, self.secret, self.near, self.six
        plain.start_frr(
            frr_conf(
                65100,
                1,
                remote(plain, "timers 60 180"),
                "network 10.1.0.0/16",
                f"neighbor {plain.node_v4} activate",
            )
        )
        secret.start_frr(
            frr_conf(65103, 3, remote(secret, f"password {SECRETS[0]}", "passive")), "-p", "1790"
        )
        self.wrong.start_frr(frr_conf(65104, 4, remote(self.wrong, "password mine")))
        self.disguised.start_frr(frr_conf(65105, 5, remote(self.disguised, asn=64777, address="10.98.5.9")))
        near.start_frr(frr_conf(4200000106, 6, remote(near, "ttl-security hops 1")))
        self.loose.start_frr(frr_conf(65107, 7, remote(self.loose)))
        self.patient.start_frr(frr_conf(65108, 8, remote(self.patient, "passive")))
        lines = f"neighbor node interface remote-as external\nneighbor node port {PORT}\n"
        self.unnumbered.start_frr(
            frr_conf(65109, 9, lines, "network 10.9.0.0/16", "network fd09::/64\nneighbor node activate")
        )
        six.start_frr(
            frr_conf(
                65111,
                11,
                remote(six, address=six.node_v6),
                ipv6=f"neighbor {six.node_v6} activate\nnetwork fd11::/64",
            )
        )
        self.far.start_frr(
            frr_conf(
                65113, 13, remote(self.far, "ebgp-multihop 2", address="10.98.1.1"), "network 10.13.0.0/16"
            )
        )

    def _others(self) -> None:
        inner, dynamic, six = self.inner, self.dynamic, self.dynamic_six
        inner.start_bird(
            bird_conf(
                2,
                f"protocol bgp node {{ local {inner.v4} as {ASN}; neighbor {inner.node_v4} port {PORT} as {ASN};"
                " connect delay time 1; ipv4 { import all; export none; }; }",
            )
        )
        six.start_bird(
            bird_conf(
                12,
                f"protocol bgp node {{ local {six.v6} as 65112; neighbor {six.node_v6} port {PORT} as {ASN};"
                " connect delay time 1; ipv6 { import all; export none; }; }",
            )
        )
        dynamic.start_exabgp(
            f"{dynamic.node_v4} {{ router-id {dynamic.v4}; local-address {dynamic.v4}; local-as 65110;"
            f" peer-as {ASN}; connect {PORT}; hold-time 9; family {{ ipv4 unicast; }}"
            " api { processes [ heard say ]; neighbor-changes; receive { parsed; update; notification; } } }"
        )

    def _peers(self) -> list[str]:
        timers = "[peer.timers]\nconnect-retry = 5\nhold = 12\nkeepalive = 4\n"
        right, other = (str(self.directory / name) for name in ("right", "other"))
        return [
            peer(self.plain.v4, 65100, timers, description="plain"),
            peer(self.inner.v4, ASN),
            peer(self.secret.v4, 65103, port=1790, password_file=right),
            peer(self.wrong.v4, 65104, password_file=other),
            peer(self.disguised.v4, 65105, local_asn=64777, local_address="10.98.5.9"),
            peer(self.near.v4, 4200000106, ttl_security=1),
            peer(self.loose.v4, 65107, ttl_security=1),
            peer(self.patient.v4, 65108, passive=True),
            peer(self.unnumbered.link, 65109, families=BOTH),
            peer(self.six.v6, 65111, passive=True),
            peer(FAR, 65113, multihop_ttl=2),
        ]

    def _dynamic(self) -> str:
        return (
            '[[dynamic-peer]]\nname = "exa"\nprefixes = ["10.98.10.0/24"]\nasn = 65110\n'
            '[[dynamic-peer]]\nname = "six"\nprefixes = ["fd98:12::/64"]\nasn = 65112\n'
        )


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sessions]:
    stage = Sessions(tmp_path_factory.mktemp("sessions"))
    try:
        stage.up()
        yield stage
    finally:
        stage.close()


def up(router: Frr, name: str = "") -> dict[str, object]:
    """FRR's view of its session with the node."""
    name = name or router.node_v4
    wait(f"{name} is up at {router.directory.name}", lambda: router.is_up(name), UP_SECONDS)
    return router.neighbour(name)


def test_external_session_has_the_configured_timers(stage: Sessions) -> None:
    seen = up(stage.plain)
    assert seen["remoteAs"] == ASN
    assert seen["nbrExternalLink"] is True
    assert seen["remoteRouterId"] == "10.98.0.1"
    # FRR's own are 180 and 60: the smaller hold time counts, and a third of it.
    assert (seen["bgpTimerHoldTimeMsecs"], seen["bgpTimerKeepAliveIntervalMsecs"]) == (12000, 4000)
    assert stage.plain.has("10.244.1.0/24")


def test_internal_session(stage: Sessions) -> None:
    wait("iBGP", lambda: stage.inner.is_up("node"), UP_SECONDS)
    wait("the subnet", lambda: stage.inner.has("10.244.1.0/24"), 15)
    found = stage.inner.attributes("10.244.1.0/24")
    assert (found["as_path"], found["local_pref"], found["next_hop"]) == ("", "100", stage.inner.node_v4)


def test_right_password_on_another_port_that_only_the_node_dials(stage: Sessions) -> None:
    seen = up(stage.secret)
    assert seen["authenticationEnabled"] == 1
    assert (seen["portLocal"], seen["hostForeign"]) == (1790, stage.secret.node_v4)


def test_local_as_and_local_address(stage: Sessions) -> None:
    seen = up(stage.disguised, "10.98.5.9")
    assert (seen["remoteAs"], seen["hostForeign"]) == (64777, "10.98.5.9")
    wait("the subnet", lambda: stage.disguised.has("10.244.1.0/24"), 15)
    # Nothing of the node's own AS.
    assert stage.disguised.paths("10.244.1.0/24")[0]["aspath"]["string"] == "64777"


def test_ttl_security(stage: Sessions) -> None:
    assert up(stage.near)["bgpState"] == "Established"


def test_multihop(stage: Sessions) -> None:
    assert up(stage.far, "10.98.1.1")["hostLocal"] == FAR
    wait("the route", lambda: stage.node.gateways("10.13.0.0/16") == {stage.plain.v4}, 15)


def test_a_passive_node_is_dialled(stage: Sessions) -> None:
    assert up(stage.six, stage.six.node_v6)["portForeign"] == PORT
    wait("the subnet", lambda: stage.six.has("fd24:1::/64"), 15)
    wait("its route", lambda: stage.node.gateways("fd11::/64") == {stage.six.v6}, 15)


def test_unnumbered_session_routes_ipv4_by_ipv6_next_hops(stage: Sessions) -> None:
    up(stage.unnumbered, "node")
    for prefix in ("10.244.1.0/24", "fd24:1::/64"):
        wait(prefix, lambda prefix=prefix: stage.unnumbered.has(prefix), 15)  # type: ignore[misc]
    routed = stage.unnumbered.ip("-4", "route", "show", "10.244.1.0/24")
    assert re.search(r"via inet6 fe80::\S+ dev node", routed), routed
    for prefix in ("10.9.0.0/16", "fd09::/64"):
        wait(prefix, lambda prefix=prefix: stage.node.routes(prefix) != [], 15)  # type: ignore[misc]
        assert f"dev {stage.unnumbered.link}" in stage.node.ip("route", "get", prefix.split("/")[0])


def test_dynamic_neighbours_of_both_families(stage: Sessions) -> None:
    exa: ExaBgp = stage.dynamic
    wait("ExaBGP is let in", exa.is_up, UP_SECONDS)
    wait("the subnet", lambda: exa.has("10.244.1.0/24"), 15)
    exa.say("announce route 10.10.0.0/16 next-hop self")
    wait("its route", lambda: stage.node.gateways("10.10.0.0/16") == {exa.v4}, 15)
    exa.say("withdraw route 10.10.0.0/16 next-hop self")
    wait("and its withdrawal", lambda: stage.node.routes("10.10.0.0/16") == [], 15)
    bird: Bird = stage.dynamic_six
    wait("BIRD is let in", lambda: bird.is_up("node"), UP_SECONDS)
    wait("the IPv6 subnet", lambda: bird.has("fd24:1::/64"), 15)


def test_announcements_for_a_group_and_for_a_link_reach_nobody_else(stage: Sessions) -> None:
    wait("the group's", lambda: stage.dynamic.has("10.96.10.0/24"), UP_SECONDS)
    wait("the link's", lambda: stage.unnumbered.has("10.96.9.0/24"), UP_SECONDS)
    assert not stage.dynamic.has("10.96.9.0/24")
    assert not stage.unnumbered.has("10.96.10.0/24")
    for prefix in ("10.96.9.0/24", "10.96.10.0/24"):
        assert not stage.plain.has(prefix)


def test_those_who_should_not_get_a_session_have_none(stage: Sessions) -> None:
    """A wrong password, packets that may come from afar, and two ends that both wait."""
    up(stage.secret)
    up(stage.near)
    for router in (stage.wrong, stage.loose, stage.patient):
        assert stage.node.logged(f'"peer up" peer={router.v4} ') == 0
        assert not router.has("10.244.1.0/24")


def test_a_wrong_password_is_reported_as_such(stage: Sessions) -> None:
    def told() -> list[str]:
        lines = stage.node.log.read_text().splitlines()
        about = [line for line in lines if stage.wrong.v4 in line]
        return [line for line in about if re.search("md5|password", line, re.IGNORECASE)]

    wait("a line about the password", told, 40)
    assert len(told()) == 1
    url = f"http://{METRICS}/metrics"
    ask = f"import urllib.request; print(urllib.request.urlopen('{url}').read().decode())"
    page = run("ip", "netns", "exec", stage.node.ns, sys.executable, "-c", ask)
    assert re.search(r"^anypod_peers_password_differs 1(\.0)?$", page, re.MULTILINE), page


def test_no_password_is_written_anywhere(stage: Sessions) -> None:
    files = [path for path in stage.directory.rglob("*") if path.is_file()]
    found = {path.name for path in files if any(word in path.read_text() for word in SECRETS)}
    assert found == {"right", "other"}
    assert {"speaker.log", "gobgpd.log", "policies.json", "speaker.toml"} <= {path.name for path in files}
