"""CNI specification, D8: every wait is bounded, and past it the answer is code 11.

The bounds are 10 to 60 seconds; the process's own clock is made to run faster, and nothing else is changed.
"""

from __future__ import annotations

import fcntl
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.conformance_rig import FakeIpam, encoded, finish, refused, silent, wait_until, waiting

if TYPE_CHECKING:
    from tests.system.plugin_node import Node

TIMES = 30
# kubelet gives a runtime two minutes, and a hung plugin holds go-cni's lock meanwhile (containerd#4666).
SHORTEST, LONGEST = 10.0, 60.0


@pytest.fixture(scope="module")
def fast_clock(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    library = tmp_path_factory.mktemp("clock") / "fast_clock.so"
    source = Path(__file__).with_name("fast_clock.c")
    argv = ["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(argv, check=True, timeout=60)
    return {"LD_PRELOAD": str(library)}


def bounded(began: float) -> None:
    """It waited, and not longer than the longest bound; the rest is what a busy machine needs to start things."""
    waited = time.monotonic() - began
    assert SHORTEST / TIMES < waited < LONGEST / TIMES + 10, waited


@pytest.mark.parametrize("verb", ["ADD", "DEL", "GC"])
def test_D8_a_state_file_that_somebody_holds_is_code_11(
    node: Node, fast_clock: dict[str, str], verb: str
) -> None:
    pod = node.pod()
    conf = node.conf(cniVersion="1.1.0") | {"cni.dev/valid-attachments": []}
    node.add("warm", node.pod(), conf)
    holder = sqlite3.connect(node.state / "state.db", isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        answer = node.call(node.environment(verb, "c1", pod) | fast_clock, encoded(conf))
        refused(answer, 11, "state.db")
        bounded(began)
    finally:
        holder.close()
    assert set(node.held()) == {"warm"}
    silent(node.verb("DEL", "c1", pod, conf))


@pytest.mark.parametrize("lock", ["node.lock", "lock"])
def test_D8_a_lock_that_somebody_holds_is_code_11(node: Node, fast_clock: dict[str, str], lock: str) -> None:
    """The first is that of the node's set-up, the second that of a new state file."""
    node.state.mkdir(mode=0o700)
    pod = node.pod()
    with (node.state / lock).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        began = time.monotonic()
        answer = node.call(node.environment("ADD", "c1", pod) | fast_clock, encoded(node.conf()))
    refused(answer, 11, lock)
    bounded(began)
    assert node.links(pod) == {"lo"}
    assert node.add("c1", pod)["ips"]


@pytest.mark.parametrize("verb", ["ADD", "DEL"])
def test_D8_a_delegated_plugin_that_hangs_is_killed_and_is_code_11(
    node: Node, fast_clock: dict[str, str], tmp_path: Path, verb: str
) -> None:
    ipam, pod = FakeIpam(tmp_path / "cni"), node.pod()
    conf, env = (
        encoded(node.conf(ipam={"type": "fake-ipam"})),
        node.environment(verb, "c1", pod) | ipam.variables,
    )
    if verb == "DEL":
        assert node.call(env | {"CNI_COMMAND": "ADD"}, conf).status == 0
    pids = tmp_path / "pids"
    script = (tmp_path / "cni" / "fake-ipam").read_text()
    hang = f"if [ $CNI_COMMAND = {verb} ]; then sleep 1000 & echo $! $$ >>{pids}; wait; fi\n"
    (tmp_path / "cni" / "fake-ipam").write_text(script.replace("echo", f"{hang}echo", 1))
    began = time.monotonic()
    refused(node.call(env | fast_clock, conf), 11, "fake-ipam")
    bounded(began)
    wait_until(lambda: not any(map(_runs, pids.read_text().split())), "the delegate's processes go on")
    assert node.links(pod) == {"lo"}


def _runs(pid: str) -> bool:
    """Whether a process is there and not just one that nobody waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_D8_an_nft_that_hangs_is_code_11(node: Node, fast_clock: dict[str, str], tmp_path: Path) -> None:
    slow = tmp_path / "bin" / "nft"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 1001\n")
    slow.chmod(0o755)
    pod = node.pod()
    env = node.environment("ADD", "c1", pod)
    path = {"PATH": f"{slow.parent}:{env['PATH']}"}
    began = time.monotonic()
    refused(node.call(env | fast_clock | path, encoded(node.conf(ipMasq=True))), 11, "nft")
    bounded(began)
    assert node.held() == {}
    assert node.links(pod) == {"lo"}


def test_D8_a_runtime_that_does_not_close_stdin_is_ended_by_sigterm(node: Node) -> None:
    """What a plugin waits for there is the runtime itself."""
    pod = node.pod()
    env = node.environment("ADD", "c1", pod)
    process = waiting(node, env)
    process.terminate()
    refused(finish(process), 11, "SIGTERM")
