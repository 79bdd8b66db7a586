"""CNI specification, calls at the same time and in odd places: rules A9, A11 and D6."""

from __future__ import annotations

import fcntl
import functools
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.conformance_rig import (
    SLOW,
    encoded,
    finish,
    has_open,
    injected,
    opens,
    refused,
    silent,
    wait_until,
)
from tests.system.plugin_node import run

if TYPE_CHECKING:
    from tests.system.plugin_node import Node

PODS = 24


@pytest.mark.parametrize("keys", [{}, {"ipMasq": True, "macspoofchk": True}], ids=["plain", "with nftables"])
def test_A9_parallel_adds_share_one_bridge_and_no_address(node: Node, keys: dict[str, Any]) -> None:
    """The first ones of a node: bridge, gateway and tables are made meanwhile."""
    pods = [node.pod() for _ in range(PODS)]
    conf = node.conf(**keys)

    def add(number: int) -> dict[str, Any]:
        return node.add(f"c{number}", pods[number], conf)

    with ThreadPoolExecutor(8) as workers:
        results = list(workers.map(add, range(PODS)))
    given = [one["address"] for result in results for one in result["ips"]]
    assert len(set(given)) == len(given) == 2 * PODS
    assert sorted(given) == sorted(one for held in node.held().values() for one in held)
    assert len({result["interfaces"][0]["mac"] for result in results}) == 1
    assert {one["ifname"] for one in node.ip("link", "show", "type", "bridge")} == {"cni0"}
    assert len([one for one in node.ip("link") if one.get("master") == "cni0"]) == PODS
    assert all(node.pings(pod, "10.244.1.1") for pod in pods[:4])

    def delete(number: int) -> None:
        node.delete(f"c{number}", pods[number], conf)

    with ThreadPoolExecutor(8) as workers:
        list(workers.map(delete, range(PODS)))
    assert node.held() == {}
    assert node.links() == {"lo", "cni0"}


def test_A9_adds_and_dels_at_the_same_time_leave_what_was_not_deleted(node: Node) -> None:
    pods = [node.pod() for _ in range(16)]
    for number in range(0, 16, 2):
        node.add(f"c{number}", pods[number])

    def change(number: int) -> None:
        if number % 2:
            node.add(f"c{number}", pods[number])
        else:
            node.delete(f"c{number}", pods[number])

    with ThreadPoolExecutor(8) as workers:
        list(workers.map(change, range(16)))
    assert set(node.held()) == {f"c{number}" for number in range(1, 16, 2)}
    assert all(node.links(pod) == {"lo", "eth0"} for pod in pods[1::2])
    assert all(node.links(pod) == {"lo"} for pod in pods[::2])


def test_A11_a_node_may_be_any_namespace_whatever_process_1_is_in(node: Node) -> None:
    """Below a process 1 of its own, with a /proc of its own, as a runtime in a container starts it."""
    pod = node.pod()
    inside = ("unshare", "--pid", "--fork", "--mount-proc")
    bridge = f"cnf{os.getpid()}"
    for verb in ("ADD", "DEL"):
        done = subprocess.run(
            node.argv(inside),
            input=encoded(node.conf(bridge=bridge)),
            env=node.environment(verb, "c1", pod),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done
        assert ("eth0" in node.links(pod)) == (verb == "ADD")
    assert bridge in node.links()
    # Nor is it made where the test itself runs.
    assert bridge not in run("ip", "-o", "link")


def test_A11_the_pods_namespace_may_be_given_by_a_process(node: Node) -> None:
    """Podman and cnitool give /proc/<pid>/ns/net."""
    pod = node.pod()
    with subprocess.Popen(["ip", "netns", "exec", pod, "sleep", "60"]) as process:
        path = f"/proc/{process.pid}/ns/net"
        wait_until(lambda: os.path.samefile(path, f"/run/netns/{pod}"), "the process is not in the namespace")
        env = node.environment("ADD", "c1", pod) | {"CNI_NETNS": path}
        answer = node.call(env, encoded(node.conf()))
        process.terminate()
    assert answer.json["interfaces"][2]["sandbox"] == path
    assert node.links(pod) == {"lo", "eth0"}


def test_D6_a_del_that_overtakes_its_add_is_seen_by_it(node: Node) -> None:
    pod = node.pod()
    node.add("warm", node.pod())
    before = node.traces()
    process = node.start(node.environment("ADD", "c1", pod), node.conf(), SLOW)
    wait_until(lambda: "c1" in node.held(), "no address was given")
    node.delete("c1", pod)
    refused(finish(process), 3, "was deleted")
    assert node.traces() == before


def stands_still(process: subprocess.Popen[bytes], state: Path) -> bool:
    """Whether the call is over, or has begun and stands in the system call for which its tracer lets it wait."""
    for _ in range(4):
        time.sleep(0.01)
        if process.poll() is not None:
            return True
        stat = Path(f"/proc/{process.pid}/stat").read_text()
        if stat.rpartition(")")[2].split()[0] != "t" or not opens(process.pid, state):
            return False
    return True


def test_D6_a_del_at_each_step_of_an_add_leaves_nothing(node: Node) -> None:
    """The ADD stands still before its first, second, … message to the kernel, and DEL comes and goes meanwhile."""
    pod = node.pod()
    node.add("warm", node.pod())
    before = node.traces()
    codes = []
    for number in range(1, 40):
        delay = injected(f"sendto,sendmsg:delay_enter=500000:when={number}")
        process = node.start(node.environment("ADD", "c1", pod), node.conf(), delay)
        wait_until(
            functools.partial(stands_still, process, node.state / "state.db"), "it does not stand still"
        )
        over = process.poll() is not None
        node.delete("c1", pod)
        answer = finish(process)
        codes.append(answer.json.get("code", 0))
        assert node.traces() == before, f"DEL at message {number}: {answer}"
        if over:
            break
    # Each that was overtaken says so, or what it stumbled over; one that got through was deleted as ever.
    assert codes[-1] == 0
    assert codes.count(3) > 3
    assert 999 not in codes


def test_D6_a_del_that_comes_before_the_record_is_seen_by_its_add(node: Node) -> None:
    pod = node.pod()
    node.add("warm", node.pod())
    before = node.traces()
    lock = node.state / "node.lock"
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        # Another netconf of the same network: set-up waits for the lock, and nothing is recorded yet.
        process = node.start(node.environment("ADD", "c1", pod), node.conf(mtu=1400))
        wait_until(lambda: has_open(process, lock), "the call does not wait for the lock")
        node.delete("c1", pod)
    refused(finish(process), 3, "was deleted")
    assert node.traces() == before


def test_D6_another_add_behind_that_del_is_left_whole(node: Node) -> None:
    pod = node.pod()
    node.add("warm", node.pod())
    process = node.start(node.environment("ADD", "c1", pod), node.conf(), SLOW)
    wait_until(lambda: "c1" in node.held(), "no address was given")
    node.delete("c1", pod)
    node.add("c1", pod)
    before = node.traces()
    refused(finish(process), 3, "was deleted")
    assert node.traces() == before
    assert node.pings(pod, "10.244.1.1")
    silent(node.verb("DEL", "c1", pod))
