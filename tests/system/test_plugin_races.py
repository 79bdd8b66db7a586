"""Calls that meet, and sudden deaths: nothing is left half made."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tests.system.plugin_node import Answer, Node, refused

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def wait_until_open(process: subprocess.Popen[bytes], path: Path) -> None:
    """Until the call holds this file open."""
    deadline = time.monotonic() + 20
    while identity(path.stat()) not in open_files(process.pid):
        assert process.poll() is None
        assert time.monotonic() < deadline, f"{path} was not opened"
        time.sleep(0.005)


def open_files(pid: int) -> set[tuple[int, int]]:
    found = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found.add(identity(entry.stat()))
    return found


def identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def test_forty_adds_at_a_time_share_one_bridge_and_no_address(node: Node) -> None:
    pods = [node.pod() for _ in range(40)]

    def add(number: int) -> dict[str, Any]:
        return node.add(f"c{number}", pods[number], node.conf(ipMasq=True))

    with ThreadPoolExecutor(8) as workers:
        results = list(workers.map(add, range(40)))
    given = [one["address"] for result in results for one in result["ips"]]
    assert len(set(given)) == len(given) == 80
    assert {result["interfaces"][0]["mac"] for result in results} == {results[0]["interfaces"][0]["mac"]}
    ports = [one for one in node.ip("link") if one.get("master") == "cni0"]
    assert len(ports) == 40
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(lambda number: node.delete(f"c{number}", pods[number]), range(40)))
    assert node.held() == {}
    assert node.links() == {"lo", "cni0"}


def test_an_add_killed_at_any_moment_is_cleaned_up_by_del(node: Node) -> None:
    """Every millisecond of an ADD's life, from the fork to after its end."""
    pod = node.pod()
    node.add("warm", node.pod())
    before = node.traces()
    killed = 0
    for milliseconds in range(45):
        process = node.start(node.environment("ADD", f"k{milliseconds}", pod), node.conf())
        time.sleep(milliseconds / 1000)
        process.kill()
        process.communicate(timeout=10)
        killed += process.returncode == -signal.SIGKILL
        node.delete(f"k{milliseconds}", pod)
        assert node.traces() == before, f"killed after {milliseconds} ms"
    assert killed > 5


def test_sigterm_while_an_add_waits_undoes_it_and_says_try_again(node: Node) -> None:
    pod = node.pod()
    node.add("warm", node.pod())
    before = node.traces()
    holder = sqlite3.connect(node.state / "state.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        process = node.start(node.environment("ADD", "c1", pod), node.conf())
        wait_until_open(process, node.state / "state.db")
        process.terminate()
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    stdout, stderr = process.communicate(timeout=30)
    refused(Answer(process.returncode, stdout.decode(), stderr.decode()), 11, "SIGTERM")
    assert node.traces() == before


def test_a_del_that_overtakes_its_add_leaves_nothing(node: Node) -> None:
    """ADD is held between its start and its record; DEL comes and goes; ADD then finds what happened."""
    pod = node.pod()
    node.add("warm", node.pod())
    before = node.traces()
    (node.state / "node.lock").touch()
    with (node.state / "node.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Another netconf of the same network: set-up waits for the lock, before anything is recorded.
        process = node.start(node.environment("ADD", "c1", pod), node.conf(mtu=1400))
        wait_until_open(process, node.state / "node.lock")
        node.delete("c1", pod)
    stdout, stderr = process.communicate(timeout=60)
    refused(Answer(process.returncode, stdout.decode(), stderr.decode()), 3, "was deleted")
    assert node.traces() == before


def paused(node: Node, container: str, pod: str) -> subprocess.Popen[bytes]:
    """An ADD that stands still for two seconds where its links are made and the pod is not entered yet."""
    return node.start(
        node.environment("ADD", container, pod),
        node.conf(),
        ["strace", "-D", "-qq", "-o", "/dev/null", "-e", "inject=setns:delay_enter=2000000"],
    )


def wait_for_port(node: Node) -> None:
    deadline = time.monotonic() + 10
    while not any(name.startswith("anyp") for name in node.links() - warm_links(node)):
        assert time.monotonic() < deadline, "no veth was made"
        time.sleep(0.05)


def warm_links(node: Node) -> set[str]:
    return {one["ifname"] for one in node.ip("link") if one.get("ifalias", "").endswith("warm/eth0")}


def test_a_del_while_the_links_stand_makes_the_add_undo_itself(node: Node) -> None:
    pod = node.pod()
    node.add("warm", node.pod())
    before = node.traces()
    process = paused(node, "c1", pod)
    wait_for_port(node)
    node.delete("c1", pod)
    stdout, stderr = process.communicate(timeout=60)
    refused(Answer(process.returncode, stdout.decode(), stderr.decode()), 3, "was deleted")
    assert node.traces() == before


def test_an_add_that_a_del_and_another_add_overtook_leaves_the_other_one_whole(node: Node) -> None:
    pod = node.pod()
    node.add("warm", node.pod())
    process = paused(node, "c1", pod)
    wait_for_port(node)
    node.delete("c1", pod)
    result = node.add("c1", pod)
    before = node.traces()
    stdout, stderr = process.communicate(timeout=60)
    refused(Answer(process.returncode, stdout.decode(), stderr.decode()), 3, "was deleted")
    assert node.traces() == before
    assert node.held()["c1"] == tuple(one["address"] for one in result["ips"])
    link = next(one for one in node.ip("addr", namespace=pod) if one["ifname"] == "eth0")
    present = {f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["scope"] == "global"}
    assert present == set(node.held()["c1"])


def test_sigterm_while_the_links_stand_undoes_the_add(node: Node) -> None:
    pod = node.pod()
    node.add("warm", node.pod())
    before = node.traces()
    process = paused(node, "c1", pod)
    wait_for_port(node)
    process.terminate()
    stdout, stderr = process.communicate(timeout=60)
    refused(Answer(process.returncode, stdout.decode(), stderr.decode()), 11, "SIGTERM")
    assert node.traces() == before


def test_first_pods_that_come_together_set_the_node_up_once(node: Node, tmp_path: Path) -> None:
    """nft is slowed down, so that all of them wait for the one that runs it."""
    log = tmp_path / "nft.log"
    slow = tmp_path / "bin" / "nft"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\necho run >>{log}\nsleep 1\nPATH="${{PATH#*:}}" exec nft "$@"\n')
    slow.chmod(0o755)
    pods = [node.pod() for _ in range(8)]
    stdin = json.dumps(node.conf(ipMasq=True)).encode()

    def add(number: int) -> Answer:
        env = node.environment("ADD", f"c{number}", pods[number])
        return node.call(env | {"PATH": f"{slow.parent}:{env['PATH']}"}, stdin)

    with ThreadPoolExecutor(8) as workers:
        answers = list(workers.map(add, range(8)))
    assert [answer.status for answer in answers] == [0] * 8, answers
    assert log.read_text() == "run\n"
