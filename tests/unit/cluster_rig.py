"""Small clusters, one of each design."""

from __future__ import annotations

import tomllib

from speaker.config import cluster

MESH = """
[cluster]
design = "full-mesh"
asn = 64512
[[node]]
name = "a"
addresses = ["10.0.0.1", "fd00::1"]
subnets = ["10.244.1.0/24", "fd00:244:1::/64"]
[[node]]
name = "b"
addresses = ["10.0.0.2", "fd00::2"]
subnets = ["10.244.2.0/24"]
[[node]]
name = "c"
addresses = ["10.0.0.3"]
asn = 65003
"""
RACK = """
[cluster]
design = "rack"
[[rack]]
name = "r1"
router = [{address = "10.0.0.254", asn = 65000}, {interface = "eth1", asn = 65000}]
[[node]]
name = "a"
addresses = ["10.0.0.1"]
asn = 65001
rack = "r1"
"""
REFLECTORS = """
[cluster]
design = "reflectors"
asn = 64512
cluster-id = "10.0.0.250"
[[node]]
name = "r1"
addresses = ["10.0.0.1"]
reflector = true
[[node]]
name = "r2"
addresses = ["10.0.0.2"]
reflector = true
[[node]]
name = "n1"
addresses = ["10.0.0.3"]
[[node]]
name = "n2"
addresses = ["10.0.0.4"]
"""


def built(text: str) -> cluster.Cluster:
    return cluster.build(tomllib.loads(text), "cluster.toml")
