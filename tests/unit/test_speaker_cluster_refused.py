"""cluster.toml: the words for what is wrong in it."""

from __future__ import annotations

import pytest

from speaker.config.checks import ConfigError
from tests.unit.cluster_rig import MESH, RACK, REFLECTORS, built

NODE_D = '[[node]]\nname = "d"\naddresses = ["10.0.0.4"]\n'
REFUSED = [
    (MESH + NODE_D.replace('"d"', '"A"'), 'node[3].name: "a" is a\'s too; give each node its own'),
    (
        MESH + NODE_D.replace("0.4", "0.1") + 'router-id = "10.0.0.4"\n',
        'node[3].addresses: "10.0.0.1" is a\'s too; give each node its own',
    ),
    (
        MESH + NODE_D + 'router-id = "10.0.0.2"\n',
        'node[3].router-id: "10.0.0.2" is b\'s too; give each node its own',
    ),
    (
        MESH + NODE_D + 'subnets = ["10.244.0.0/16"]\n',
        'node[3].subnets: "10.244.0.0/16" overlaps 10.244.1.0/24 of a; give each node subnets of its own',
    ),
    (
        MESH + NODE_D + 'subnets = ["fd00:244:4::/64"]\n',
        (
            'node[3].subnets: "fd00:244:4::/64" needs an IPv6 next hop;'
            " add such an address to the node, or remove it"
        ),
    ),
    (
        MESH + NODE_D + 'subnets = ["0.0.0.0/0"]\n',
        (
            'node[3].subnets[0]: "0.0.0.0/0" would make the whole world unreachable from here;'
            " write the node's pod subnet"
        ),
    ),
    (
        MESH + NODE_D.replace('"]', '", "10.0.0.5"]'),
        (
            'node[3].addresses[1]: "10.0.0.5" is a second address of one family;'
            " keep the one that other nodes reach"
        ),
    ),
    (
        MESH + NODE_D.replace("10.0.0.4", "fd00::4"),
        'node[3].router-id: missing; add router-id = "10.0.0.1": the node has no IPv4 address to take',
    ),
    (
        RACK.replace("asn = 65001", ""),
        "node[0].asn: missing; add asn = 65001, or cluster.asn for all nodes",
    ),
    (MESH + NODE_D + 'rack = "r9"\n', 'node[3].rack: "r9" is no [[rack]]; known here: none'),
    (
        MESH + NODE_D + "reflector = true\n",
        'node[3].reflector: true counts with the design "reflectors" only; remove it, or set cluster.design',
    ),
    (
        MESH + "[bgp]\nlisten-port = -1\n",
        "bgp.listen-port: -1 keeps nodes from connecting to each other; write 179",
    ),
    (
        MESH + "[cluster.session.timers]\nhold = 9\n",
        ("cluster.session.timers.keepalive: 30 is more than a third of hold; write at most 3, or raise hold"),
    ),
    (
        MESH + "[pods.netconf]\nstateDir = '/run/pods'\n",
        'pods.netconf.stateDir: "/run/pods" follows from the rest of the file; remove it',
    ),
    (
        MESH + "[pods.netconf.ipam]\nsubnet = '10.0.0.0/24'\n",
        (
            'pods.netconf.ipam: {"subnet": "10.0.0.0/24"} may have routes and resolvConf only, for the ranges'
            " are the node's subnets; remove the rest"
        ),
    ),
    (RACK + NODE_D + "asn = 65004\n", "node[1].rack: missing; add the name of the node's [[rack]]"),
    (
        RACK.replace("asn = 65000}, {", "asn = 65001}, {"),
        (
            "rack[0].router[0].asn: 65001 is the nodes' AS as well, and racks are for eBGP;"
            " give the rack one of its own"
        ),
    ),
    (
        RACK + "[cluster.session]\nmultihop-ttl = 3\n",
        (
            'cluster.session: {"multihop-ttl": 3} is for sessions between nodes, of which this design has none;'
            " write it into [[rack.router]]"
        ),
    ),
    (
        RACK.replace("asn = 65000}, {", "asn = 65000, local-asn = 65001}, {"),
        "rack[0].router[0].local-asn: 65001 is bgp.asn, which counts anyway; remove it",
    ),
    (
        REFLECTORS + NODE_D.replace("0.4", "0.5") + "asn = 65004\n",
        "node[4].asn: 65004 is not 64512, as r1's; reflectors serve one AS, remove it",
    ),
    (
        REFLECTORS.replace("reflector = true", ""),
        'cluster.design: "reflectors" needs a reflector; set reflector = true on one [[node]] or more',
    ),
    (
        MESH.replace("asn = 64512", 'asn = 64512\ncluster-id = "10.0.0.9"'),
        ('cluster.cluster-id: "10.0.0.9" is for reflectors only; remove it'),
    ),
]


@pytest.mark.parametrize(("text", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_says_file_key_value_and_fix(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        built(text)
    assert str(raised.value) == f"cluster.toml: {line}"
