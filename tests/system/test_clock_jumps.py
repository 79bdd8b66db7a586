"""A wall clock that jumps, a day back or ahead: nothing is taken from a pod that lives, and what is free is found."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.anycast_rig import V4
from tests.system.conformance_rig import encoded, refused, silent
from tests.system.leak_rig import conf, remove_pod
from tests.system.plugin_node import run
from tests.system.test_plugin_anycast_chained import attachment, behind

if TYPE_CHECKING:
    from lab.installed import Installation
    from tests.system.plugin_node import Answer, Node

DAY = 86400
# One address for a pod.
RANGE: dict[str, Any] = {
    "ranges": [[{"subnet": "10.244.1.0/24", "rangeStart": "10.244.1.10", "rangeEnd": "10.244.1.10"}]]
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("clock") / "jump_clock.so"
    source = Path(__file__).with_name("jump_clock.c")
    argv = ["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(argv, check=True, timeout=60)
    return library


def jumped(node: Node, library: Path, seconds: int, verb: str, container: str, pod: str) -> Answer:
    env = node.environment(verb, container, pod) | {"LD_PRELOAD": str(library), "JUMP_SECONDS": str(seconds)}
    return node.call(env, encoded(conf(node, ipam=RANGE)))


@pytest.mark.parametrize("seconds", [-DAY, DAY], ids=["back", "ahead"])
def test_a_pod_keeps_its_address_and_one_that_is_gone_does_not(
    node: Node, library: Path, seconds: int
) -> None:
    pods = [node.pod(), node.pod()]
    node.add("c0", pods[0], conf(node, ipam=RANGE))
    held = node.held()
    refused(jumped(node, library, seconds, "ADD", "c1", pods[1]), 100, "1 held")
    assert node.held() == held
    assert node.pings(pods[0], "10.244.1.1")
    remove_pod(node, pods[0], "c0")
    answer = jumped(node, library, seconds, "ADD", "c1", pods[1])
    assert (answer.status, node.held()) == (0, {"c1": held["c0"]}), answer
    silent(jumped(node, library, seconds, "DEL", "c1", pods[1]))
    assert node.held() == {}


@pytest.mark.parametrize("seconds", [-DAY, DAY], ids=["back", "ahead"])
def test_anypod_gc_ends_pods_of_another_plugin_with_their_namespace_alone(
    node: Node, library: Path, installation: Installation, seconds: int
) -> None:
    """They have no link of ours by which it could be told whether they live."""
    conflist = behind(node, "bridge")
    stays, leaves = (attachment(node, V4, container=name) for name in ("stays", "leaves"))
    conflist.add(stays)
    conflist.add(leaves)
    run("ip", "netns", "del", leaves.pod)
    node.pods.remove(leaves.pod)
    clock = ["env", f"LD_PRELOAD={library}", f"JUMP_SECONDS={seconds}"]
    command = [*clock, *installation.anypod, "gc", "--state-dir", str(node.state), "-o", "json"]
    told = json.loads(node.execute(node.name, *command))
    assert [one["name"] for one in told["removed"] if one["what"] == "attachment"] == ["leaves/eth0"]
