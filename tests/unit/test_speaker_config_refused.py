"""speaker.toml: the words for what is wrong in it."""

from __future__ import annotations

import pytest

from speaker.config.speaker_toml import ConfigError, parse

BGP = '[bgp]\nasn = 65001\nrouter-id = "10.0.0.1"\n'
PEER = '[[peer]]\naddress = "10.0.0.254"\nasn = 65000\n'


def pool(name: str, *prefixes: str) -> str:
    return f"[[anycast.pool]]\nname = '{name}'\nprefixes = {list(prefixes)}\n"


REFUSED = [
    ("", "bgp: missing; add [bgp]"),
    ("[bgp]\nasn = 1\n", 'bgp.router-id: missing; add router-id = "10.0.0.1"'),
    ('[bgp]\nrouter-id = "10.0.0.1"\n', "bgp.asn: missing; add asn = 65001"),
    (
        '[bgp]\nasn = 1\nrouter-id = "x"\n',
        'bgp.router-id: "x" is not an IPv4 address; write it like 10.0.0.1',
    ),
    (
        '[bgp]\nasn = 1\nrouter-id = "::1"\n',
        'bgp.router-id: "::1" is not an IPv4 address; write it like 10.0.0.1',
    ),
    (
        '[bgp]\nasn = "1"\nrouter-id = "10.0.0.1"\n',
        'bgp.asn: "1" is not a whole number; write digits without quotes',
    ),
    (
        '[bgp]\nasn = 65001.0\nrouter-id = "10.0.0.1"\n',
        "bgp.asn: 65001.0 is not a whole number; write digits without quotes",
    ),
    (
        '[bgp]\nasn = 0\nrouter-id = "10.0.0.1"\n',
        "bgp.asn: 0 is out of range; write a number from 1 to 4294967294",
    ),
    (BGP + "listen-port = 0\n", "bgp.listen-port: 0 is no port; write 179, or -1 to accept no connections"),
    (
        BGP + 'listen-addresses = ["all"]\n',
        'bgp.listen-addresses[0]: "all" is not an IP address; write it like 10.0.0.1 or 2001:db8::1',
    ),
    (BGP + 'router_id = "10.0.0.1"\n', 'bgp.router_id: unknown key; did you mean "router-id"?'),
    (BGP + "[peers]\n", 'peers: unknown key; did you mean "peer"?'),
    (
        BGP + "[zebra]\n",
        "zebra: unknown key; known here: accept, announce, announcement, anycast, bgp, dynamic-peer, gobgpd, kernel,"
        " peer, speaker, state, timers",
    ),
    (
        BGP + '[gobgpd]\napi = "/run/api.sock"\n',
        (
            'gobgpd.api: "/run/api.sock" is no gRPC address;'
            " write unix:///run/anypod/gobgpd/api.sock or HOST:PORT"
        ),
    ),
    (
        BGP + "[[peer]]\nasn = 1\n",
        'peer[0].address: missing; add address = "10.0.0.1", or interface = "eth0"',
    ),
    (
        BGP + PEER + 'families = ["v4"]\n',
        'peer[0].families[0]: "v4" is not allowed; write "ipv4" or "ipv6"',
    ),
    (
        BGP + PEER + 'families = ["ipv4", "ipv6"]\n',
        (
            'peer[0].families: "ipv6" has no next hop on this session;'
            " set announce.next-hop-ipv6 or remove the family"
        ),
    ),
    (
        BGP + PEER + 'families = ["ipv6"]\n[announce]\ntransit = true\n',
        (
            'peer[0].families: "ipv6" cannot be passed on over this session;'
            " add a [[peer]] with its IPv6 address for it"
        ),
    ),
    (
        BGP + PEER + 'local-address = "fd00::1"\n',
        'peer[0].local-address: "fd00::1" is not an IPv4 address; write it like 10.0.0.1',
    ),
    (
        BGP + PEER + PEER,
        'peer[1].address: "10.0.0.254" is there twice; keep one of them',
    ),
    (
        BGP + '[[peer]]\naddress = "10.0.0.2"\nasn = 65001\nmultihop-ttl = 3\n',
        "peer[0].multihop-ttl: 3 is for eBGP only; remove it, iBGP has no limit",
    ),
    (
        BGP + PEER + "[peer.timers]\nhold = 30\nkeepalive = 11\n",
        "peer[0].timers.keepalive: 11 is more than a third of hold; write at most 10, or raise hold",
    ),
    (
        BGP + "listen-port = -1\n" + PEER + "passive = true\n",
        "peer[0].passive: true waits for a connection, but bgp.listen-port is -1; remove one of the two",
    ),
    (
        BGP + PEER + "passive = 1\n",
        "peer[0].passive: 1 is not true or false; write true or false without quotes",
    ),
    (
        BGP + '[announce]\nsubnets = "10.1.0.0/24"\n',
        'announce.subnets: "10.1.0.0/24" is not a list; write it in brackets, like ["…"]',
    ),
    (
        BGP + '[announce]\nsubnets = ["10.1.0.5/24"]\n',
        'announce.subnets[0]: "10.1.0.5/24" has bits beyond its length; did you mean 10.1.0.0/24?',
    ),
    (
        BGP + '[announce]\nsubnets = ["10.1.0.5"]\n',
        'announce.subnets[0]: "10.1.0.5" has no length; write it like 10.1.0.5/32',
    ),
    (
        BGP + '[announce]\nprefixes = ["10.1.0.0/33"]\n',
        'announce.prefixes[0]: "10.1.0.0/33" is not a prefix; write it like 10.244.1.0/24 or 2001:db8:1::/64',
    ),
    (
        BGP + '[announce]\nsubnets = ["0.0.0.0/0"]\n',
        (
            'announce.subnets[0]: "0.0.0.0/0" would make the whole world unreachable from here;'
            " write the node's pod subnet"
        ),
    ),
    (
        BGP + '[announce]\nsubnets = ["fe80::/64"]\n',
        'announce.subnets[0]: "fe80::/64" is never routed; write a prefix of ordinary addresses',
    ),
    (
        BGP + '[announce]\nsubnets = ["10.1.0.0/24"]\nprefixes = ["10.1.0.0/24"]\n',
        'announce.prefixes[0]: "10.1.0.0/24" is in announce.subnets too; keep one of them',
    ),
    (
        BGP + '[accept]\nprefixes = ["10.0.0.0/8", "10.0.0.0/8"]\n',
        'accept.prefixes[1]: "10.0.0.0/8" is there twice; keep one of them',
    ),
    (
        BGP + "[kernel]\ntable = 255\n",
        "kernel.table: 255 is the kernel's table of its own addresses; write 254 for the main table",
    ),
    *(
        (
            BGP + f"[kernel]\nprotocol = {number}\n",
            f"kernel.protocol: {number} marks routes of {owner}, which the speaker would remove as its own;"
            " write a free one, like 177",
        )
        for number, owner in ((11, "zebra"), (12, "BIRD"), (16, "DHCP"), (186, "FRR"))
    ),
    *(
        (
            f"{BGP}[announce]\nsubnets = ['10.1.0.0/24']\nprefixes = ['192.0.2.7/32', '192.0.3.0/24']\n{text}",
            f"anycast.{line}",
        )
        for text, line in (
            (
                pool("a", "10.1.0.0/16"),
                'pool[0].prefixes[0]: "10.1.0.0/16" overlaps 10.1.0.0/24 of announce.subnets; change one of them',
            ),
            (
                pool("a", "10.1.0.0/24"),
                'pool[0].prefixes[0]: "10.1.0.0/24" is in announce.subnets too; keep one of them',
            ),
            (
                pool("a", "192.0.3.0/24"),
                'pool[0].prefixes[0]: "192.0.3.0/24" is in announce.prefixes too; keep one of them',
            ),
            (
                pool("a", "192.0.2.0/25"),
                'pool[0].prefixes[0]: "192.0.2.0/25" overlaps 192.0.2.7/32 of announce.prefixes;'
                " change one of them",
            ),
            (
                pool("a", "198.51.100.0/24") + pool("b", "2001:db8::/64", "198.51.100.8/29"),
                'pool[1].prefixes[1]: "198.51.100.8/29" overlaps 198.51.100.0/24 of anycast.pool[0].prefixes;'
                " change one of them",
            ),
            (
                pool("a", "198.51.100.0/24") + pool("a", "2001:db8::/64"),
                'pool[1].name: "a" is there twice; keep one of them',
            ),
            (
                pool("a", "198.51.100.0/24") + "[[announcement]]\nname = 'a'\nprefixes = ['10.9.0.0/16']\n",
                'pool[0].name: "a" is that of an [[announcement]]; write another name',
            ),
            (
                pool("hosts", "198.51.100.0/24"),
                'pool[0].name: "hosts" is what [announce] stands for; write another name',
            ),
            (
                pool("a", "::/0"),
                'pool[0].prefixes[0]: "::/0" is the whole world, all of which pods could ask for;'
                " write the addresses meant for VIPs",
            ),
            (
                pool("a", "198.51.100.0/24") + "peers = ['10.0.0.253']\n" + PEER,
                'pool[0].peers: "10.0.0.253" is no peer here; did you mean "10.0.0.254"?',
            ),
            (
                "[anycast]\nmetric = 1189\n",
                "metric: 1189 is too close to kernel.metric, that of learned routes behind; write 1188 or less",
            ),
            (
                "[anycast]\nprotocol = 177\n",
                "protocol: 177 is kernel.protocol, that of learned routes; write another number, like 178",
            ),
            (
                "[anycast]\nprotocol = 186\n",
                "protocol: 186 marks routes of FRR, which the speaker would remove as its own;"
                " write a free one, like 178",
            ),
        )
    ),
    (
        BGP + "[kernel]\nmetric = 0.5\n",
        "kernel.metric: 0.5 is not a whole number; write digits without quotes",
    ),
    (
        BGP + "[kernel]\nprotocol = 4\n",
        "kernel.protocol: 4 is out of range; write a number from 5 to 255",
    ),
    (
        BGP + '[state]\ndir = "run"\n',
        'state.dir: "run" is not an absolute path; write it like /run/anypod',
    ),
    (
        BGP + "[timers]\nresync = 1.5\n",
        "timers.resync: 1.5 is not a whole number; write digits without quotes",
    ),
]


@pytest.mark.parametrize(("text", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_says_file_key_value_and_fix(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(text, "speaker.toml")
    assert str(raised.value) == f"speaker.toml: {line}"
