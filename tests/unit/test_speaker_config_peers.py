"""[[peer]] and [[dynamic-peer]] of speaker.toml: the values, and what contradicts itself."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from speaker.bgp import Family, PrefixLimit, PrefixMatch, SessionOptions
from speaker.config.speaker_toml import ConfigError, parse
from speaker.settings import PeerPolicy

if TYPE_CHECKING:
    from pathlib import Path

BGP = '[bgp]\nasn = 65001\nrouter-id = "10.0.0.1"\n'
PEER = '[[peer]]\naddress = "10.0.0.254"\nasn = 65000\n'
INSIDE = '[[peer]]\naddress = "10.0.0.2"\nasn = 65001\n'
LINK = '[[peer]]\ninterface = "eth0"\nasn = 65000\n'
GROUP = '[[dynamic-peer]]\nname = "pods"\nprefixes = ["10.9.0.0/24"]\nasn = 65009\n'
GROUP_2 = '[[dynamic-peer]]\nname = "more"\nprefixes = ["10.9.0.128/25"]\nasn = 65009\n'


def test_every_option_of_a_peer(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    config = parse(
        BGP
        + f"""[[peer]]
address = "fd00::2"
asn = 65001
port = 1179
local-asn = 0
description = "reflector client"
families = ["ipv6"]
local-address = "fd00::1"
password-file = "{secret}"
passive = true
ttl-security = 2
reflector-client = true
cluster-id = "10.0.0.9"
timers = {{connect-retry = 7, hold = 9, keepalive = 3}}
graceful-restart.restart-time = 120
prefix-limit = {{ipv6 = 100, warning-percent = 90}}
[peer.import]
only = ["fd00::/8 le 64"]
reject = ["fd00:1::/32"]
local-preference = 150
[peer.export]
only = ["fd00:2::/32"]
reject = ["fd00:2:3::/48"]
communities = ["no-peer", "65001:1:2"]
local-preference = 160
med = 5
"""
    )
    (peer,) = config.peers
    assert (peer.key, peer.port, peer.description) == ("fd00::2", 1179, "reflector client")
    assert peer.options == SessionOptions(
        asn=65001,
        families=frozenset({Family.IPV6}),
        password="s3cret",  # noqa: S106
        local_address=ip_address("fd00::1"),
        passive=True,
        ttl_security=2,
        connect_retry=7,
        hold=9,
        keepalive=3,
        restart_time=120,
        reflector_client=True,
        cluster_id="10.0.0.9",
        prefix_limits=(PrefixLimit(Family.IPV6, 100, 90),),
    )
    assert config.policies == {
        "fd00::2": PeerPolicy(
            import_only=frozenset({PrefixMatch(ip_network("fd00::/8"), 8, 64)}),
            import_reject=frozenset({PrefixMatch(ip_network("fd00:1::/32"), 32, 128)}),
            import_local_pref=150,
            export_only=frozenset({PrefixMatch(ip_network("fd00:2::/32"), 32, 128)}),
            export_reject=frozenset({PrefixMatch(ip_network("fd00:2:3::/48"), 48, 128)}),
            export_communities=frozenset({0xFFFFFF04}),
            export_large_communities=frozenset({(65001, 1, 2)}),
            export_local_pref=160,
            export_med=5,
        )
    }
    assert str(secret) in config.files
    assert "s3cret" not in repr(config)


def test_a_longer_path_is_for_an_external_peer() -> None:
    assert parse(BGP + PEER + "[peer.export]\nprepend = 2\n").policies == {
        "10.0.0.254": PeerPolicy(export_prepend=2)
    }


@pytest.mark.parametrize("transit", ["", "[announce]\ntransit = true\n"])
def test_ipv4_may_go_over_an_ipv6_session(transit: str) -> None:
    both = PEER.replace("10.0.0.254", "fd00::2") + 'families = ["ipv4", "ipv6"]\n'
    config = parse(
        BGP + both + GROUP.replace("10.9.0.0/24", "fd00:9::/64") + 'families = ["ipv4"]\n' + transit
    )
    assert config.peers[0].options.families == set(Family)
    assert config.dynamic[0].options.families == {Family.IPV4}


def test_an_empty_list_filters_nothing() -> None:
    assert parse(BGP + PEER + "[peer.import]\nonly = []\n[peer.export]\nonly = []\n").policies == {}


def test_a_peer_on_an_interface_exchanges_both_families() -> None:
    (peer,) = parse(BGP + LINK).peers
    assert (peer.key, peer.address, peer.options.families) == ("eth0", None, frozenset(Family))


def test_both_families_over_one_session_need_a_next_hop_for_the_other() -> None:
    text = BGP + PEER + 'families = ["ipv4", "ipv6"]\n[announce]\nnext-hop-ipv6 = "fd00::1"\n'
    assert parse(text).peers[0].options.families == frozenset(Family)


def test_the_router_id_is_the_cluster_id_anyway() -> None:
    (peer,) = parse(BGP + INSIDE + 'reflector-client = true\ncluster-id = "10.0.0.1"\n').peers
    assert peer.options.cluster_id == ""


def test_dynamic_neighbours() -> None:
    text = GROUP.replace('"]', '", "10.8.0.0/24"]')
    (group,) = parse(BGP + text + "[dynamic-peer.export]\nmed = 9\n").dynamic
    assert (group.name, group.prefixes) == ("pods", (ip_network("10.8.0.0/24"), ip_network("10.9.0.0/24")))
    assert group.options == SessionOptions(asn=65009, families=frozenset({Family.IPV4}))
    assert parse(BGP + GROUP + "[dynamic-peer.export]\nmed = 9\n").policies == {
        "pods": PeerPolicy(export_med=9)
    }


REFUSED = [
    (
        PEER + 'interface = "eth0"\n',
        'peer[0].interface: "eth0" is there beside address; remove one of the two',
    ),
    (
        LINK.replace("eth0", "eth/0"),
        'peer[0].interface: "eth/0" is no name of an interface; write one of `ip link`, like eth0',
    ),
    (
        LINK + 'local-address = "10.0.0.1"\n',
        'peer[0].local-address: "10.0.0.1" is the link\'s own with interface; remove it',
    ),
    (
        LINK + "multihop-ttl = 3\n",
        "peer[0].multihop-ttl: 3 is for neighbours behind a router, not on an interface; remove it",
    ),
    (
        LINK + 'password-file = "/etc/secret"\n',
        (
            'peer[0].password-file: "/etc/secret" has no effect here: TCP-MD5 needs an address in place of'
            " interface; remove it"
        ),
    ),
    (
        PEER.replace("10.0.0.254", "fe80::1%eth3"),
        (
            'peer[0].address: "fe80::1%eth3" is link-local; write interface = "eth3", its link,'
            " in place of address"
        ),
    ),
    (
        PEER.replace("10.0.0.254", "::ffff:10.0.0.254"),
        'peer[0].address: "::ffff:10.0.0.254" is IPv4 written as IPv6; write 10.0.0.254',
    ),
    (
        PEER.replace("10.0.0.254", "224.0.0.5"),
        'peer[0].address: "224.0.0.5" is no address of a host; write it like 10.0.0.1 or 2001:db8::1',
    ),
    (
        PEER.replace("10.0.0.254", "10.0.0.1"),
        (
            'peer[0].address: "10.0.0.1" is this node itself, see bgp.router-id;'
            " write the neighbour's address"
        ),
    ),
    (LINK + LINK, 'peer[1].interface: "eth0" is there twice; keep one of them'),
    (
        PEER + 'local-address = "10.0.0.254"\n',
        'peer[0].local-address: "10.0.0.254" is the neighbour\'s address; write one of this node',
    ),
    (
        PEER + "multihop-ttl = 3\nttl-security = 1\n",
        "peer[0].ttl-security: 1 excludes multihop-ttl; remove one of the two",
    ),
    (PEER + "local-asn = 65001\n", "peer[0].local-asn: 65001 is bgp.asn, which counts anyway; remove it"),
    (
        PEER + "reflector-client = true\n",
        "peer[0].reflector-client: true is for iBGP only; remove it, or set asn to 65001",
    ),
    (
        INSIDE + 'cluster-id = "10.0.0.9"\n',
        'peer[0].cluster-id: "10.0.0.9" is for reflector clients only; remove it',
    ),
    (
        PEER + "prefix-limit.ipv6 = 10\n",
        "peer[0].prefix-limit.ipv6: 10 is for a family not exchanged; remove it, or see families",
    ),
    (
        PEER + 'description = "a\\nb"\n',
        'peer[0].description: "a\\nb" has control characters; write one line of plain text',
    ),
    (
        PEER + '[peer.import]\nonly = ["10.1.0.0/16"]\nreject = ["10.0.0.0/8"]\n',
        'peer[0].import.only: "10.1.0.0/16" is all in import.reject too; remove it from one of them',
    ),
    (
        GROUP + 'families = ["ipv6"]\n',
        (
            'dynamic-peer[0].families: "ipv6" has no next hop on this session;'
            " set announce.next-hop-ipv6 or remove the family"
        ),
    ),
    (
        PEER.replace("10.0.0.254", "::1"),
        (
            'peer[0].address: "::1" is loopback, and so would be the next hop of all that it tells;'
            " write its address on a network"
        ),
    ),
    (
        PEER + 'local-address = "127.0.0.1"\n',
        (
            'peer[0].local-address: "127.0.0.1" is loopback, which peers refuse as a next hop;'
            " write an address of this node"
        ),
    ),
    (
        PEER.replace("65000", "65001") + "[peer.export]\nprepend = 2\n",
        "peer[0].export.prepend: 2 is for eBGP only; remove it",
    ),
    (
        GROUP + "[dynamic-peer.export]\nlocal-preference = 5\n",
        "dynamic-peer[0].export.local-preference: 5 is for iBGP only; remove it",
    ),
    (
        GROUP.replace('"]', '", "fd00:9::/64"]'),
        'dynamic-peer[0].prefixes: "fd00:9::/64" is of the other family; give it a [[dynamic-peer]] of its own',
    ),
    (
        GROUP + 'password-file = "/etc/secret"\n',
        (
            'dynamic-peer[0].password-file: "/etc/secret" has no effect here: TCP-MD5 needs [[peer]] tables'
            " with an address each; remove it"
        ),
    ),
    (
        GROUP + GROUP.replace("10.9", "10.8"),
        'dynamic-peer[1].name: "pods" is there twice; keep one of them',
    ),
    (
        GROUP + GROUP_2,
        (
            'dynamic-peer[1].prefixes: "10.9.0.128/25" overlaps 10.9.0.0/24 of dynamic-peer[0];'
            " a neighbour must be in one, change one of them"
        ),
    ),
    (
        GROUP + PEER.replace("10.0.0.254", "10.9.0.7"),
        (
            'peer[0].address: "10.9.0.7" is in 10.9.0.0/24 of dynamic-peer[0] too;'
            " remove it here, or narrow those prefixes"
        ),
    ),
    (
        LINK + GROUP.replace("pods", "eth0"),
        'dynamic-peer[0].name: "eth0" is what peer[0] goes by; write another name',
    ),
]


@pytest.mark.parametrize(("text", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_says_file_key_value_and_fix(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(BGP + text, "speaker.toml")
    assert str(raised.value) == f"speaker.toml: {line}"


def test_dynamic_neighbours_need_a_port() -> None:
    with pytest.raises(
        ConfigError, match=r'^f: dynamic-peer\[0\]\.name: "pods" waits for a connection, but '
    ):
        parse(BGP + "listen-port = -1\n" + GROUP, "f")
