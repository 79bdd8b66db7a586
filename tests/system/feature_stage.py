"""Nodes whose attachments have all that there is, or get their addresses from another plugin."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.system.crash_rig import Scene, stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

PORTS = [
    {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
    {"hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"},
]
BANDWIDTH = {
    "ingressRate": 8_000_000,
    "ingressBurst": 800_000,
    "egressRate": 8_000_000,
    "egressBurst": 800_000,
}
VIPS = {"vips": ["198.51.100.10", "2001:db8:a::10"], "check": "tcp://:80", "weight": 3}
POOL = {"name": "edge", "addresses": ["198.51.100.0/24", "2001:db8:a::/64"]}
FEATURES: dict[str, Any] = {
    "ipMasq": True,
    "macspoofchk": True,
    "hairpinMode": True,
    "anycast": {"pools": [POOL]},
    "runtimeConfig": {"portMappings": PORTS, "bandwidth": BANDWIDTH, "aliases": ["web"], "anycast": VIPS},
}
# A fake: it gives every attachment the same address, and keeps one file for each that it gave.
LISTED_IPAM = """#!/bin/sh
list=$(dirname "$0")/list
cat >/dev/null
case $CNI_COMMAND in
    ADD)
        : >"$list/$CNI_CONTAINERID-$CNI_IFNAME"
        echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.244.9.9/24", "gateway": "10.244.9.1"}]}'
        ;;
    DEL) rm -f "$list/$CNI_CONTAINERID-$CNI_IFNAME" ;;
esac
"""


@contextmanager
def stage_with_features(plugin: Path, factory: pytest.TempPathFactory) -> Iterator[list[Scene]]:
    """Nodes with a pod attached, without host ports: they would be taken."""
    with stage(plugin, factory, **FEATURES) as made:
        for scene in made:
            scene.node.add("warm", scene.node.pods[0], scene.conf | {"runtimeConfig": {}})
            scene.warm_up()
        yield made


@contextmanager
def stage_with_delegate(plugin: Path, factory: pytest.TempPathFactory) -> Iterator[list[Scene]]:
    """Nodes whose addresses another plugin gives."""
    with stage(plugin, factory, ipam={"type": "listed"}) as made:
        for scene in made:
            command = scene.node.state.parent / "listed"
            command.write_text(LISTED_IPAM)
            command.chmod(0o755)
            scene.env["CNI_PATH"] = str(command.parent)
            scene.watched = command.parent / "list"
            scene.watched.mkdir()
            scene.warm_up()
        yield made
