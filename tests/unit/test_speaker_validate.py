"""What is declined before gobgpd sees it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from speaker.bgp import (
    Attributes,
    BgpGlobal,
    DynamicPeers,
    Family,
    LocalPath,
    Peer,
    Policies,
    PrefixLimit,
    PrefixMatch,
    Rule,
    SessionOptions,
)
from speaker.gobgp import validate
from speaker.gobgp.session import DaemonRefusedError

DAEMON = BgpGlobal(65001, "10.0.0.1")
GOOD = SessionOptions(65002, families=frozenset(Family))
INTERNAL = replace(GOOD, asn=65001)
ADDRESS = ip_address("10.0.0.2")
GROUP = DynamicPeers("pods", (ip_network("10.9.0.0/16"),), GOOD)
SECRET = "s3cret"  # noqa: S105

GLOBALS = {
    "AS 0": BgpGlobal(0, "10.0.0.1"),
    "AS too large": BgpGlobal(1 << 32, "10.0.0.1"),
    "router id a name": BgpGlobal(65001, "node-1"),
    "router id 0": BgpGlobal(65001, "0.0.0.0"),
    "port 0": BgpGlobal(65001, "10.0.0.1", 0),
    "port too large": BgpGlobal(65001, "10.0.0.1", 65536),
    "listen address": BgpGlobal(65001, "10.0.0.1", 179, ("eth0",)),
}
PEERS = {
    "nobody": Peer(None, GOOD),
    "both address and interface": Peer(ADDRESS, GOOD, "eth0"),
    "interface with a slash": Peer(None, GOOD, "a/b"),
    "interface too long": Peer(None, GOOD, "a" * 16),
    "port 0": Peer(ADDRESS, GOOD, port=0),
    "multicast": Peer(ip_address("224.0.0.1"), GOOD),
    "unspecified": Peer(ip_address("::"), GOOD),
    "local address of the other family": Peer(ADDRESS, replace(GOOD, local_address=ip_address("::1"))),
    "local address on an interface": Peer(None, replace(GOOD, local_address=ADDRESS), "eth0"),
    "password on an interface": Peer(None, replace(GOOD, password=SECRET), "eth0"),
    "password with a zone": Peer(ip_address("fe80::1%eth0"), replace(GOOD, password=SECRET)),
}
OPTIONS = {
    "AS 0": replace(GOOD, asn=0),
    "local AS too large": replace(GOOD, local_asn=1 << 32),
    "no family": replace(GOOD, families=frozenset()),
    "password too long": replace(GOOD, password="x" * 81),
    "password with a zero": replace(GOOD, password="\0"),  # noqa: S106
    "multihop too far": replace(GOOD, multihop_ttl=256),
    "TTL security too far": replace(GOOD, ttl_security=256),
    "multihop and TTL security": replace(GOOD, multihop_ttl=2, ttl_security=1),
    "connect retry 0": replace(GOOD, connect_retry=0),
    "hold 2": replace(GOOD, hold=2),
    "keepalive 0": replace(GOOD, keepalive=0),
    "keepalive over hold": replace(GOOD, hold=9, keepalive=10),
    "restart time too long": replace(GOOD, restart_time=4096),
    "reflector client outside": replace(GOOD, reflector_client=True),
    "reflector client outside by its local AS": replace(INTERNAL, local_asn=65009, reflector_client=True),
    "cluster id alone": replace(INTERNAL, cluster_id="10.0.0.1"),
    "cluster id a name": replace(INTERNAL, reflector_client=True, cluster_id="one"),
    "limit 0": replace(GOOD, prefix_limits=(PrefixLimit(Family.IPV4, 0),)),
    "limit of no family": replace(
        GOOD, families=frozenset({Family.IPV4}), prefix_limits=(PrefixLimit(Family.IPV6, 1),)
    ),
    "warning over 100": replace(GOOD, prefix_limits=(PrefixLimit(Family.IPV4, 1, 101),)),
}
GROUPS = {
    "no name": replace(GROUP, name=""),
    "no prefixes": replace(GROUP, prefixes=()),
    "password": replace(GROUP, options=replace(GOOD, password=SECRET)),
    "local address of the other family": replace(
        GROUP, options=replace(GOOD, local_address=ip_address("::1"))
    ),
    "options": replace(GROUP, options=replace(GOOD, hold=1)),
}
V4, V6 = ip_network("10.1.0.0/24"), ip_network("fd00::/64")
PATHS = {
    "IPv4 for IPv6": LocalPath(V6, ip_address("10.0.0.1")),
    "loopback": LocalPath(V4, ip_address("127.0.0.1")),
    "IPv6 loopback": LocalPath(V6, ip_address("::1")),
    "multicast": LocalPath(V4, ip_address("224.0.0.1")),
    "broadcast": LocalPath(V4, ip_address("255.255.255.255")),
    "community": LocalPath(V4, ADDRESS, Attributes(communities=frozenset({1 << 32}))),
    "large community": LocalPath(V4, ADDRESS, Attributes(large_communities=frozenset({(1, 2, 1 << 32)}))),
    "local preference": LocalPath(V4, ADDRESS, Attributes(local_pref=-1)),
    "MED": LocalPath(V4, ADDRESS, Attributes(med=1 << 32)),
}
RULES = {
    "local preference 0": Rule(accept=True, local_pref=0),
    "MED": Rule(accept=True, med=-1),
    "prepend": Rule(accept=True, prepend=256),
    "length": Rule(accept=True, prefixes=frozenset({PrefixMatch(V4, 24, 33)})),
}


def test_what_is_right_passes() -> None:
    validate.check_global(DAEMON)
    validate.check_global(BgpGlobal(1, "10.0.0.1", -1, ("::",)))
    validate.check_peer(Peer(ADDRESS, replace(GOOD, password="x" * 80)), DAEMON)
    validate.check_peer(
        Peer(ADDRESS, replace(INTERNAL, reflector_client=True, cluster_id="10.0.0.1")), DAEMON
    )
    validate.check_peer(Peer(None, GOOD, "eth0.1"), DAEMON)
    validate.check_dynamic_peers(GROUP, DAEMON)
    attributes = Attributes(frozenset({0, 0xFFFFFFFF}), frozenset({(0, 0, 0)}), 0, 0)
    validate.check_paths([LocalPath(V4, ip_address(0), attributes), LocalPath(V4, ip_address("fd00::1"))])
    validate.check_policies(Policies((Rule(accept=True),), (Rule(accept=False, prepend=255, med=0),)))


@pytest.mark.parametrize("name", GLOBALS)
def test_a_daemon_that_could_not_be(name: str) -> None:
    with pytest.raises(DaemonRefusedError):
        validate.check_global(GLOBALS[name])


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_could_not_be(name: str) -> None:
    with pytest.raises(DaemonRefusedError):
        validate.check_peer(PEERS[name], DAEMON)


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_could_not_be(name: str) -> None:
    with pytest.raises(DaemonRefusedError):
        validate.check_peer(Peer(ADDRESS, OPTIONS[name]), DAEMON)


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_that_could_not_be(name: str) -> None:
    with pytest.raises(DaemonRefusedError):
        validate.check_dynamic_peers(GROUPS[name], DAEMON)


@pytest.mark.parametrize("name", PATHS)
def test_a_path_that_could_not_be(name: str) -> None:
    with pytest.raises(DaemonRefusedError):
        validate.check_paths([PATHS[name]])


@pytest.mark.parametrize("name", RULES)
def test_a_rule_that_could_not_be(name: str) -> None:
    with pytest.raises(DaemonRefusedError):
        validate.check_policies(Policies((), (RULES[name],)))
