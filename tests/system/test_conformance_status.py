"""CNI specification, STATUS: rules S1 to S5, with the installed executable as a process."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.conformance_rig import FakeIpam, add_with, ask, encoded, injected, refused, silent
from tests.system.plugin_node import Answer, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.plugin_node import Node


def conf_of(node: Node, **keys: object) -> dict[str, Any]:
    return node.conf(cniVersion="1.1.0") | keys


@pytest.mark.parametrize("pods", [0, 1], ids=["a new node", "a node with a pod"])
def test_S1_ready_is_exit_0_and_no_output(node: Node, pods: int) -> None:
    for number in range(pods):
        node.add(f"c{number}", node.pod(), conf_of(node))
    assert ask(node, "STATUS", conf_of(node)) == Answer(0, "", "")


def test_S2_an_exhausted_range_is_code_50_until_an_address_is_free(node: Node) -> None:
    conf, pod = conf_of(node, ipam={"subnet": "10.244.1.0/30"}), node.pod()
    node.add("c1", pod, conf)
    refused(ask(node, "STATUS", conf), 50, "no IP addresses available")
    node.delete("c1", pod, conf)
    silent(ask(node, "STATUS", conf))


def test_S2_a_range_that_only_gone_pods_exhaust_is_ready(node: Node) -> None:
    """The next ADD takes back what they hold (D7)."""
    conf, pod = conf_of(node, ipam={"subnet": "10.244.1.0/30"}), node.pod()
    node.add("c1", pod, conf)
    run("ip", "netns", "del", pod)
    node.pods.remove(pod)
    deadline = time.monotonic() + 10
    while len(node.links()) > 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    silent(ask(node, "STATUS", conf))
    assert set(node.held()) == {"c1"}
    node.add("c2", node.pod(), conf)


@pytest.mark.parametrize(
    "keys", [{"mtu": -5}, {"ipam": {"subnet": "nonsense"}}, {"bridge": "a/b"}, {"vlan": 5000}]
)
def test_S2_a_configuration_that_no_add_could_use_is_told(node: Node, keys: dict[str, object]) -> None:
    shown = refused(ask(node, "STATUS", conf_of(node, **keys)), 50)
    assert next(iter(keys)) in shown["msg"]


def test_S2_a_state_directory_that_cannot_be_made_is_code_50(node: Node, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "deeper"):
        refused(ask(node, "STATUS", conf_of(node, stateDir=str(path))), 50, "stateDir")


def test_S2_a_state_directory_that_is_read_only_is_code_50(node: Node, tmp_path: Path) -> None:
    """root writes everywhere, but not where the file system forbids it."""
    state = tmp_path / "ro"
    state.mkdir()
    mount = f'mount -t tmpfs -o ro none {state} && exec "$0"'
    process = node.start(
        node.environment("STATUS", "", ""),
        conf_of(node, stateDir=str(state)),
        ["unshare", "-m", "sh", "-c", mount],
    )
    stdout, stderr = process.communicate(timeout=60)
    refused(Answer(process.returncode, stdout.decode(), stderr.decode()), 50, "stateDir")


def test_S2_a_damaged_state_file_is_code_50_and_stays(node: Node) -> None:
    node.state.mkdir(mode=0o700)
    (node.state / "state.db").write_bytes(b"garbage" * 5000)
    refused(ask(node, "STATUS", conf_of(node)), 50, "state.db")
    assert os.listdir(node.state) == ["state.db"]


def test_S2_a_delegated_plugin_that_is_missing_is_code_50(node: Node, tmp_path: Path) -> None:
    conf = conf_of(node, ipam={"type": "nowhere"})
    refused(ask(node, "STATUS", conf, CNI_PATH=str(tmp_path)), 50, "nowhere")


@pytest.mark.parametrize("loss", ["link del cni0", "link set cni0 down"])
def test_S2_pods_without_their_bridge_are_code_51(node: Node, loss: str) -> None:
    conf, pod = conf_of(node), node.pod()
    node.add("c1", pod, conf)
    node.execute(node.name, "ip", *loss.split())
    refused(ask(node, "STATUS", conf), 51, "cni0")


def test_S2_without_pods_a_bridge_that_is_missing_is_no_fault(node: Node) -> None:
    conf, pod = conf_of(node), node.pod()
    node.add("c1", pod, conf)
    node.delete("c1", pod, conf)
    node.execute(node.name, "ip", "link", "del", "cni0")
    silent(ask(node, "STATUS", conf))


def test_S2_a_speaker_that_is_required_and_does_not_run_is_told(node: Node) -> None:
    conf = conf_of(node, requireSpeaker=True)
    refused(ask(node, "STATUS", conf), 50, "speaker")
    silent(ask(node, "STATUS", conf_of(node)))


@pytest.mark.parametrize("code", [50, 51])
def test_S3_the_delegated_plugins_status_is_asked_and_passed_on(
    node: Node, tmp_path: Path, code: int
) -> None:
    ipam = FakeIpam(tmp_path / "cni")
    conf = conf_of(node, ipam={"type": "fake-ipam"})
    silent(ask(node, "STATUS", conf, **ipam.variables))
    assert [call.split()[0] for call in ipam.calls()] == ["STATUS"]
    assert ipam.stdin("STATUS")["name"] == "pods"
    ipam.fails("STATUS", code=code)
    refused(ask(node, "STATUS", conf, **ipam.variables), code, "the fake refuses")


def test_S4_status_waits_for_no_lock(node: Node) -> None:
    """Whoever sets up the node or writes the state file meanwhile."""
    conf = conf_of(node)
    node.add("c1", node.pod(), conf)
    with ExitStack() as stack:
        for name in ("lock", "node.lock"):
            fcntl.flock(stack.enter_context((node.state / name).open("a")), fcntl.LOCK_EX)
        holder = sqlite3.connect(node.state / "state.db", isolation_level=None)
        stack.callback(holder.close)
        holder.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        silent(ask(node, "STATUS", conf))
        # Locks are waited for for 20 seconds and more.
        assert time.monotonic() - began < 10


def test_S4_status_takes_no_lock_and_writes_no_file(node: Node, tmp_path: Path) -> None:
    """As its system calls show: no flock, no file opened for writing, no process started."""
    conf = conf_of(node, ipMasq=True)
    node.add("c1", node.pod(), conf)
    log = tmp_path / "log"
    calls = "flock,fcntl,openat,open,creat,unlink,rename,mkdir,fork,vfork,clone,clone3,execve"
    trace = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={calls}"]
    process = node.start(node.environment("STATUS", "", ""), conf, trace)
    assert process.communicate(timeout=60) == (b"", b"")
    lines = log.read_text().splitlines()
    assert any("state.db" in line for line in lines)
    offending = ("flock(", "O_WRONLY", "O_CREAT", "F_WRLCK", "clone", "fork(", "unlink(", "rename(", "mkdir(")
    assert [line for line in lines if any(word in line for word in offending) and "-shm" not in line] == []
    assert len([line for line in lines if "execve(" in line]) == 1


def snapshot(node: Node) -> dict[str, object]:
    """Kernel and files; a reader of SQLite, as this test is one, makes an index and an empty log."""
    kernel = node.traces()
    files = {one.name: one.read_bytes() for one in node.state.iterdir() if not one.name.endswith("-shm")}
    return {"files": {name: content for name, content in files.items() if content}, "kernel": kernel}


@pytest.mark.parametrize("why", ["exhausted", "bridge", "speaker"])
def test_S5_status_changes_nothing_and_add_is_possible_all_the_same(node: Node, why: str) -> None:
    small = {"ranges": [[{"subnet": "10.244.1.0/29", "rangeEnd": "10.244.1.2"}]]}
    conf = conf_of(node) if why != "exhausted" else conf_of(node, ipam=small)
    pod = node.pod()
    node.add("c1", pod, conf)
    if why == "bridge":
        node.execute(node.name, "ip", "link", "del", "cni0")
    if why == "speaker":
        conf["requireSpeaker"] = True
    before = snapshot(node)
    assert ask(node, "STATUS", conf).status == 1
    assert snapshot(node) == before
    if why == "exhausted":
        conf["ipam"] = {"ranges": [[{"subnet": "10.244.1.0/29"}]]}
    node.add("c2", node.pod(), conf)


def test_S5_status_of_a_new_node_makes_nothing(node: Node) -> None:
    silent(ask(node, "STATUS", conf_of(node, ipMasq=True)))
    assert not node.state.exists()
    assert node.links() == {"lo"}
    assert node.execute(node.name, "nft", "list", "ruleset") == ""


def test_S5_add_is_attempted_although_a_delegated_plugin_says_it_is_not_ready(
    node: Node, tmp_path: Path
) -> None:
    ipam, conf = FakeIpam(tmp_path / "cni"), conf_of(node, ipam={"type": "fake-ipam"})
    ipam.fails("STATUS", code=50)
    refused(ask(node, "STATUS", conf, **ipam.variables), 50)
    assert add_with(node, node.pod(), conf, **ipam.variables).status == 0


def test_S5_status_that_is_killed_leaves_nothing_locked(node: Node) -> None:
    conf, pod = conf_of(node), node.pod()
    node.add("c1", pod, conf)
    for number in range(1, 40, 4):
        kill = injected(f"openat:signal=KILL:when={number}")
        process = node.start(node.environment("STATUS", "", ""), conf, kill)
        process.communicate(timeout=60)
    silent(node.call(node.environment("DEL", "c1", pod), encoded(conf)))
