"""ADD and DEL with all that an attachment can have, killed before each system call that the plugin makes itself.

Host ports, bandwidth and protection against forged hardware addresses leave traces in nftables and a second
link; another IPAM plugin keeps its own list. The interpreter's start is that of test_crash_known.py. What the
plugin started goes on when it dies; the DEL comes when that has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.system import injector
from tests.system.crash_rig import Scene, Walk, add, delete, nothing, own_steps, stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.installed import Installation

pytestmark = [
    pytest.mark.skipif(not injector.SUPPORTED, reason="the injector knows the registers of x86-64"),
    pytest.mark.timeout(600),
]
SECONDS = 500
WALKS = {"add": Walk("ADD", nothing, delete), "del": Walk("DEL", add, delete)}
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
FEATURES: dict[str, Any] = {
    "ipMasq": True,
    "macspoofchk": True,
    "hairpinMode": True,
    "runtimeConfig": {"portMappings": PORTS, "bandwidth": BANDWIDTH, "aliases": ["web"]},
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


def walked(walk: Walk, scenes: list[Scene], least: int) -> None:
    steps = own_steps(walk.record(scenes[0], SECONDS))
    counts = walk.kill(scenes, steps, SECONDS)
    print(f"{walk.verb}: {len(steps)} system calls, {dict(counts)}")
    assert counts["killed"] > 0.98 * len(steps) > least


@pytest.fixture(scope="module")
def featured(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Scene]]:
    """Nodes with a pod attached, without host ports: they would be taken."""
    with stage(installation.plugin, tmp_path_factory, **FEATURES) as made:
        for scene in made:
            scene.node.add("warm", scene.node.pods[0], scene.conf | {"runtimeConfig": {}})
            scene.warm_up()
        yield made


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS.keys())
def test_a_call_with_ports_bandwidth_and_spoof_check_leaves_nothing_behind_a_del(
    featured: list[Scene], walk: Walk
) -> None:
    walked(walk, featured, 300)


@pytest.fixture(scope="module")
def delegating(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Scene]]:
    """Nodes whose addresses another plugin gives."""
    with stage(installation.plugin, tmp_path_factory, ipam={"type": "listed"}) as made:
        for scene in made:
            command: Path = tmp_path_factory.mktemp("bin") / "listed"
            command.write_text(LISTED_IPAM)
            command.chmod(0o755)
            scene.env["CNI_PATH"] = str(command.parent)
            scene.watched = command.parent / "list"
            scene.watched.mkdir()
            scene.warm_up()
        yield made


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS.keys())
def test_a_call_whose_addresses_another_plugin_gives_leaves_nothing_behind_a_del(
    delegating: list[Scene], walk: Walk
) -> None:
    walked(walk, delegating, 300)
