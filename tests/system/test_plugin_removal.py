"""DEL's links: gone at its return, though a process of its own waits for the kernel behind it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.system.leak_rig import LIMITED, port

if TYPE_CHECKING:
    from tests.system.plugin_node import Node

SECONDS = 60
# A process 1 that starts a plugin, waits for that one only, and says which children it was left with.
FIRST = """
import subprocess, sys
done = subprocess.run(sys.argv[1:], stdin=0)
print(done.returncode, open("/proc/1/task/1/children").read().split())
"""


def test_at_its_return_both_ends_are_gone_and_their_names_are_free(node: Node) -> None:
    pod = node.pod()
    for keys in ({}, {"runtimeConfig": LIMITED}):
        for _ in range(5):
            node.add("c", pod, node.conf(**keys))
            index = next(one["ifindex"] for one in node.ip("link") if one["ifname"] == port("c"))
            node.delete("c", pod, node.conf(**keys))
            assert node.links() == {"lo", "cni0"}
            assert node.links(pod) == {"lo"}
            assert f"dev {port('c')}" not in node.execute(node.name, "bridge", "fdb")
            assert index not in {one["ifindex"] for one in node.ip("link")}


def test_what_waits_behind_it_has_nothing_of_the_runtime(node: Node) -> None:
    """A lock or a pipe that a runtime hands down is free at the return of DEL."""
    pod = node.pod()
    node.add("c", pod)
    reading, writing = os.pipe()
    stdin = json.dumps(node.conf()).encode()
    env = node.environment("DEL", "c", pod)
    try:
        subprocess.run(
            node.argv(),
            input=stdin,
            env=env,
            pass_fds=(writing,),
            check=True,
            timeout=SECONDS,
            stdout=writing,
        )
    finally:
        os.close(writing)
    ready, _, _ = select.select([reading], [], [], 0)
    assert ready, "a process that is left holds the runtime's pipe open"
    assert os.read(reading, 100) == b""
    os.close(reading)


def test_a_process_1_is_left_with_no_child_that_it_did_not_start(node: Node) -> None:
    pod = node.pod()
    node.add("c", pod)
    argv = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", FIRST]
    done = subprocess.run(
        node.argv(argv),
        input=json.dumps(node.conf()),
        env=node.environment("DEL", "c", pod),
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    assert done.stdout == "0 []\n"
    assert node.links() == {"lo", "cni0"}
