"""`anypod gc` on a real node: what is nobody's goes, and nothing that a running pod uses."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from cni.reader import StateReader
from speaker.anycast.endpoints import endpoints
from speaker.commands.record import read_or_why
from tests.system.leak_rig import WHOLE, conf, forget, make_limits, make_port, port
from tests.system.plugin_node import run

if TYPE_CHECKING:
    from lab.installed import Installation
    from tests.system.plugin_node import Node


class Gc:
    """The command, in the node's namespace."""

    def __init__(self, installation: Installation, node: Node) -> None:
        self._start = ["ip", "netns", "exec", node.name, *installation.anypod, "gc", "-o", "json"]
        self._environment = {**os.environ, "ANYPOD_STATE_DIR": str(node.state)}

    def __call__(self, *words: str) -> dict[str, Any]:
        done = subprocess.run(
            [*self._start, *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=self._environment,
        )
        assert (done.returncode, done.stderr) == (0, "")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def names(self, *words: str) -> set[tuple[str, str]]:
        return {(one["what"], one["name"].split("/")[0]) for one in self(*words)["removed"]}


@pytest.fixture
def gc(installation: Installation, node: Node) -> Gc:
    return Gc(installation, node)


def test_a_node_without_pods_stays_as_it_is(node: Node, gc: Gc) -> None:
    assert gc()["removed"] == []
    assert not node.state.exists()


def test_running_pods_lose_nothing(node: Node, gc: Gc) -> None:
    document = conf(node, **WHOLE)
    pods = [node.pod() for _ in range(3)]
    node.add("c0", pods[0], document)
    for number, pod in enumerate(pods[1:], 1):
        node.add(f"c{number}", pod, document | {"runtimeConfig": {}})
    before = (node.links(), node.held())
    assert gc() == {"dry_run": False, "removed": [], "kept": [], "made_anew": 0}
    assert (node.links(), node.held()) == before


def test_what_a_pod_without_del_left_goes_and_its_address_is_free(node: Node, gc: Gc) -> None:
    document = conf(node)
    pod, other = node.pod(), node.pod()
    node.add("c1", pod, document)
    node.add("c2", other, document)
    run("ip", "netns", "del", pod)
    assert gc.names("--dry-run") == {("attachment", "c1")}
    assert len(node.held()) == 2
    assert gc.names() == {("attachment", "c1")}
    assert list(node.held()) == ["c2"]
    assert gc()["removed"] == []


def test_links_that_no_record_explains(node: Node, gc: Gc) -> None:
    """Of a pod that may run none goes; of an ADD that was cut off, and limits of nobody, all do."""
    document = conf(node)
    node.add("c1", node.pod(), document)
    node.add("c2", node.pod(), document)
    forget(node, "c2")
    half = make_port(node, "s2")
    limits = make_limits(node, "s3", "pods")
    elsewhere = make_port(node, "k1", "elsewhere")
    found = gc()
    assert {one["name"] for one in found["removed"]} == {half, limits}
    assert [one["link"] for one in found["kept"]] == [port("c2")]
    assert {port("c1"), port("c2"), elsewhere} <= node.links()
    assert not {half, limits} & node.links()


def test_a_lost_state_file_is_made_anew_from_the_pods_links(node: Node, gc: Gc) -> None:
    node.add("c1", node.pod(), conf(node))
    before = node.held()
    for file in node.state.glob("state.db*"):
        file.unlink()
    assert gc() == {"dry_run": False, "removed": [], "kept": [], "made_anew": 1}
    assert node.held() == before


def test_a_pod_of_a_runtime_without_namespaces_is_called_by_its_name(node: Node) -> None:
    environment = node.environment("ADD", "c1", node.pod()) | {"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=web"}
    vips = {"pools": [{"name": "open", "addresses": ["198.51.100.0/24"]}], "vips": ["198.51.100.10"]}
    answer = node.call(environment, json.dumps(node.conf(anycast=vips)).encode())
    assert answer.status == 0, answer
    state = read_or_why(str(node.state))
    assert not isinstance(state, str)
    assert [one.pod for one in state.allocations] == ["web"]
    assert [one.pod for one in endpoints(StateReader(str(node.state)).allocations())] == ["web"]
