"""speaker.toml: what is accepted, and the words for what is not."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from speaker.bgp import Attributes, BgpGlobal, Family, Peer, PrefixMatch, SessionOptions
from speaker.config.speaker_toml import ConfigError, load, parse
from speaker.settings import (
    Accept,
    Announce,
    Announcement,
    Anycast,
    Api,
    Config,
    Kernel,
    LoadShare,
    Pool,
)

if TYPE_CHECKING:
    from pathlib import Path

BGP = '[bgp]\nasn = 65001\nrouter-id = "10.0.0.1"\n'
PEER = '[[peer]]\naddress = "10.0.0.254"\nasn = 65000\n'


def test_lists_all_problems_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        parse('[bgp]\nasn = 1\nrouter-id = "x"\n[announce]\nsubnets = ["y"]\n', "f")
    assert [line.split(":")[1] for line in str(raised.value).splitlines()] == [
        " bgp.router-id",
        " announce.subnets[0]",
    ]


def test_of_very_many_problems_the_first_are_told() -> None:
    with pytest.raises(ConfigError) as raised:
        parse(f"{BGP}[accept]\nprefixes = {['x'] * 1000}\n", "f")
    lines = str(raised.value).splitlines()
    assert len(lines) == 51
    assert lines[-1] == "f: 950 more; mend these first"


def test_two_missing_keys_are_two_lines() -> None:
    with pytest.raises(ConfigError) as raised:
        parse("[bgp]\n", "f")
    assert [line.split(":")[1] for line in str(raised.value).splitlines()] == [" bgp.asn", " bgp.router-id"]


def test_broken_toml_names_the_line() -> None:
    with pytest.raises(ConfigError, match=r"^f: not TOML: .*line 2, column 7.*; correct that line$"):
        parse("[bgp]\nasn = \n", "f")


def test_unreadable_files_are_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    with pytest.raises(
        ConfigError, match=r"none\.toml: can't be read \(No such file or directory\); name a readable file"
    ):
        load(str(missing))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"[bgp]\n\xff")
    with pytest.raises(ConfigError, match=r"binary\.toml: byte 6 is not UTF-8"):
        load(str(binary))


def test_defaults() -> None:
    config = parse(BGP + PEER)
    assert config == Config(
        bgp=BgpGlobal(65001, "10.0.0.1"),
        api=Api("unix:///run/anypod/gobgpd/api.sock"),
        peers=(Peer(ip_address("10.0.0.254"), SessionOptions(asn=65000, families=frozenset({Family.IPV4}))),),
    )


def test_a_full_file() -> None:
    config = parse(FULL)
    assert config.bgp == BgpGlobal(65001, "10.0.0.1", 1179, ("10.0.0.1",))
    assert config.api == Api("127.0.0.1:50051")
    assert config.announce == Announce(
        subnets=Announcement(
            "subnets",
            (ip_network("10.244.1.0/24"), ip_network("fd00:1::/64")),
            GENERAL,
            (ip_address("10.0.0.1"), ip_address("fd00::1")),
            1,
        ),
        hosts=Announcement("hosts", (), HOSTS, (ip_address("10.0.0.1"), ip_address("fd00::1")), 0),
        others=(
            Announcement(
                "prefixes",
                (ip_network("10.96.0.0/12"),),
                GENERAL,
                (ip_address("10.0.0.1"), ip_address("fd00::1")),
                1,
            ),
            Announcement(
                "far",
                (ip_network("192.0.2.0/24"),),
                Attributes(frozenset(), frozenset({(65001, 1, 2)}), 50, None),
                (ip_address("10.0.0.9"), ip_address("fd00::1")),
                3,
                frozenset({"fd00::254", "eth1"}),
            ),
        ),
    )
    assert config.accept == Accept((PrefixMatch(ip_network("10.0.0.0/8"), 16, 24),), True, 1000)
    assert config.kernel == Kernel(install=False, protocol=178, metric=20, table=100)
    assert config.anycast == Anycast(
        pools=(
            Pool(
                Announcement(
                    "edge",
                    (ip_network("198.51.100.0/24"), ip_network("2001:db8:a::/64")),
                    Attributes(frozenset({65001 << 16 | 9}), frozenset(), 300, 4),
                    (ip_address("fd00::9"), ip_address("10.0.0.1")),
                    2,
                    frozenset({"eth1"}),
                ),
                LoadShare.WEIGHT,
                min_endpoints=2,
                withdraw_below=True,
                unreachable=True,
                forwards_unknown=True,
                damping=0,
            ),
            Pool(Announcement("plain", (ip_network("203.0.113.9/32"),), next_hops=NEXT_HOPS)),
        ),
        drain=60,
        drain_prepend=5,
        metric=10,
        protocol=180,
        buckets=1024,
        idle_timer=30,
        unbalanced_timer=600,
    )
    assert (config.state_dir, config.follow_state) == ("/run/pods", False)
    assert (config.stale_routes, config.resync) == (10, 5)
    assert (config.withdraw_on_stop, config.dead_man, config.metrics) == (True, 0, "[::1]:9000")


FULL = """[bgp]
asn = 65001
router-id = "10.0.0.1"
listen-port = 1179
listen-addresses = ["10.0.0.1"]
[gobgpd]
api = "127.0.0.1:50051"
[[peer]]
address = "fd00:0:0::254"
asn = 65000
[[peer]]
interface = "eth1"
asn = 65000
[announce]
subnets = ["10.244.1.0/24", "fd00:1::/64"]
prefixes = ["10.96.0.0/12"]
next-hop-ipv4 = "10.0.0.1"
next-hop-ipv6 = "fd00::1"
communities = ["65001:100", "no-export"]
local-preference = 200
prepend = 1
[announce.hosts]
communities = ["blackhole"]
med = 7
prepend = 0
[[announcement]]
name = "far"
prefixes = ["192.0.2.0/24"]
communities = ["65001:1:2"]
local-preference = 50
prepend = 3
next-hop-ipv4 = "10.0.0.9"
peers = ["FD00::254", "eth1"]
[accept]
prefixes = ["10.0.0.0/8 ge 16 le 24"]
default-route = true
maximum = 1000
[kernel]
install = false
protocol = 178
metric = 20
table = 100
[anycast]
drain = 60
drain-prepend = 5
metric = 10
protocol = 180
buckets = 1024
idle-timer = 30
unbalanced-timer = 600
[[anycast.pool]]
name = "edge"
prefixes = ["198.51.100.0/24", "2001:db8:a::/64"]
communities = ["65001:9"]
local-preference = 300
med = 4
prepend = 2
next-hop-ipv6 = "fd00::9"
peers = ["eth1"]
link-bandwidth = "weight"
min-endpoints = 2
below = "withdraw"
when-empty = "unreachable"
unknown = "forward"
damping = 0
[[anycast.pool]]
name = "plain"
prefixes = ["203.0.113.9/32"]
[state]
dir = "/run/pods"
follow = false
[timers]
stale-routes = 10
resync = 5
[speaker]
on-stop = "withdraw"
dead-man = 0
metrics = "[::1]:9000"
"""
NEXT_HOPS = (ip_address("10.0.0.1"), ip_address("fd00::1"))
GENERAL = Attributes(frozenset({65001 << 16 | 100, 0xFFFFFF01}), frozenset(), 200, None)
HOSTS = Attributes(frozenset({0xFFFF029A}), frozenset(), 200, 7)


@pytest.mark.parametrize(
    ("kernel", "metric", "protocol"),
    [("", 190, 178), ("metric = 191", 189, 178), ("protocol = 178", 190, 179)],
)
def test_what_is_not_said_of_virtual_ips_fits_what_is_said_of_learned_routes(
    kernel: str, metric: int, protocol: int
) -> None:
    found = parse(f"{BGP}[kernel]\n{kernel}\n").anycast
    assert (found.metric, found.protocol) == (metric, protocol)


def test_what_is_announced_has_its_own_next_hop_or_the_session_s() -> None:
    announce = parse(BGP + '[announce]\nnext-hop-ipv6 = "fd00::1"\n').announce
    assert announce.subnets.next_hop(Family.IPV6) == ip_address("fd00::1")
    assert announce.hosts.next_hop(Family.IPV4).is_unspecified


@pytest.mark.parametrize("text", ["asn = " + "1" * 5000, "asn = " + "[" * 3000, "asn = {" * 3000])
def test_what_the_parser_gives_up_on_is_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^speaker\.toml: not TOML: [^\n]+$"):
        parse(text)
