"""Bad input, races and sudden deaths: a CNI error object, a code that fits, and nothing left half made."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.plugin_node import PODS, Answer, Node

if TYPE_CHECKING:
    from pathlib import Path


def refused(answer: Answer, code: int, says: str) -> None:
    """An error object on stdout, a non-zero exit, and no traceback anywhere."""
    assert answer.status != 0, answer
    shown = answer.json
    assert shown["code"] == code, shown
    assert says in f"{shown['msg']} {shown.get('details', '')}", shown
    assert shown["cniVersion"]
    assert "Traceback" not in answer.stderr + answer.stdout


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


@pytest.mark.parametrize(
    ("stdin", "code", "says"),
    [
        (b"", 6, "empty or cut off"),
        (b"{", 6, "stdin is no JSON"),
        (b'{"name": "pods"', 6, "stdin is no JSON"),
        (b"[]", 6, "no JSON object"),
        (b'"pods"', 6, "no JSON object"),
        (b"\xff\xfe{}", 6, "no UTF-8"),
        (b"{} {}", 6, "goes on behind"),
        (b'{"mtu": NaN}', 6, "NaN"),
        (b'{"name": "a", "name": "b"}', 6, "'name' stands twice"),
        (b"[" * 200_000, 6, "nested too deeply"),
        (b" " * (5 << 20), 5, "larger than 4 MiB"),
        (b'{"cniVersion": "1.0.0"}', 7, "missing network name"),
        (b'{"cniVersion": "1.0.0", "name": "../x"}', 7, "network name"),
        (b'{"cniVersion": "1.1.0", "name": "pods"}', 1, "incompatible CNI versions"),
        (b'{"cniVersion": "1.0.0", "name": "pods", "stateDir": "x"}', 7, "stateDir"),
    ],
)
def test_an_unreadable_netconf_is_refused(node: Node, stdin: bytes, code: int, says: str) -> None:
    pod = node.pod()
    before = node.traces()
    refused(node.call(node.environment("ADD", "c1", pod), stdin), code, says)
    assert node.traces() == before


@pytest.mark.parametrize(
    ("keys", "code", "says"),
    [
        ({"ipam": {"subnet": "10.244.1.0/24", "rangeStart": "10.244.2.5"}}, 7, "ipam.rangeStart"),
        (
            {"ipam": {"ranges": [[{"subnet": "10.244.1.0/24", "rangeEnd": "10.9.9.9"}]]}},
            7,
            "ipam.ranges[0][0].rangeEnd",
        ),
        ({"ipam": {"subnet": "10.244.1.7/24"}}, 7, "has host bits set"),
        ({"ipam": {}}, 7, "ipam.ranges"),
        ({"ipam": {"type": "dhcp"}}, 2, "ipam.type"),
        ({"bridge": "lo"}, 7, "'lo' exists and is no bridge"),
        ({"mtu": "big"}, 7, "mtu"),
        ({"vlan": 5}, 2, "vlan"),
        ({"prevResult": {"cniVersion": "1.0.0"}}, 2, "prevResult"),
    ],
)
def test_a_wrong_netconf_is_refused_and_nothing_is_made(
    node: Node, keys: dict[str, object], code: int, says: str
) -> None:
    pod = node.pod()
    before = node.traces()
    refused(node.verb("ADD", "c1", pod, node.conf(**keys)), code, says)
    assert node.traces() == before


@pytest.mark.parametrize("missing", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])
def test_a_missing_variable_is_code_4(node: Node, missing: str) -> None:
    env = node.environment("ADD", "c1", node.pod())
    del env[missing]
    refused(node.call(env, json.dumps(node.conf()).encode()), 4, f"[{missing}] missing")


def test_an_unknown_verb_is_code_4(node: Node) -> None:
    refused(node.verb("FROB", "c1", node.pod()), 4, "unknown CNI_COMMAND: FROB")


def test_namespaces_that_are_none_are_refused(node: Node, tmp_path: Path) -> None:
    file, fifo = tmp_path / "file", tmp_path / "fifo"
    file.write_text("")
    os.mkfifo(fifo)
    own = f"/run/netns/{node.name}"
    cases = (
        ("/run/netns/none", 3, "failed to open netns"),
        (str(file), 8, "no network"),
        (str(fifo), 8, "no network"),
    )
    for path, code, says in (*cases, (own, 8, "plugin's own")):
        env = node.environment("ADD", "c1", "x") | {"CNI_NETNS": path}
        refused(node.call(env, json.dumps(node.conf()).encode()), code, says)
    assert node.held() == {}
    assert node.links() == {"lo"}


def test_an_exhausted_range_is_told_and_serves_again_after_a_del(node: Node) -> None:
    conf = node.conf(ipam={"subnet": "10.244.1.0/30"})
    first, second = node.pod(), node.pod()
    node.add("c1", first, conf)
    before = node.traces()
    refused(
        node.verb("ADD", "c2", second, conf),
        100,
        "no IP addresses available in range set: 10.244.1.1-10.244.1.2; 1 held",
    )
    assert node.traces() == before
    node.delete("c1", first, conf)
    assert node.add("c2", second, conf)["ips"][0]["address"] == "10.244.1.2/30"


def test_a_taken_interface_name_is_refused_and_stays_as_it_was(node: Node) -> None:
    pod = node.pod()
    node.execute(pod, "ip", "link", "add", "eth0", "type", "bridge")
    refused(node.verb("ADD", "c1", pod), 101, "CNI_IFNAME='eth0' exists already")
    assert node.links(pod) == {"lo", "eth0"}
    assert node.links() == {"lo", "cni0"}
    assert node.held() == {}


def test_the_same_attachment_twice_is_refused_and_the_first_goes_on(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod)
    before = node.traces()
    refused(node.verb("ADD", "c1", pod), 101, "run DEL first")
    assert node.traces() == before
    assert node.pings(pod, "10.244.1.1")


def test_a_leftover_of_a_lost_state_file_is_named_and_not_torn_down(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod)
    for file in node.state.iterdir():
        file.unlink()
    refused(node.verb("ADD", "c1", pod), 101, "run DEL, then ADD")
    assert node.pings(pod, "10.244.1.1")


def test_a_bridge_with_another_address_in_the_subnet_is_refused_by_name(node: Node) -> None:
    node.execute(node.name, "ip", "link", "add", "cni0", "type", "bridge")
    node.execute(node.name, "ip", "addr", "add", "10.244.1.77/24", "dev", "cni0")
    refused(node.verb("ADD", "c1", node.pod()), 102, "already has an IP address different from 10.244.1.1/24")
    assert node.held() == {}


def test_a_route_that_the_kernel_refuses_undoes_the_attachment(node: Node) -> None:
    pod = node.pod()
    node.add("warm", node.pod())
    before = node.traces()
    ipam = PODS["ipam"] | {"routes": [{"dst": "192.0.2.0/24", "gw": "203.0.113.1"}]}
    refused(node.verb("ADD", "c1", pod, node.conf(ipam=ipam)), 103, "eth0")
    assert node.traces() == before


def test_a_state_directory_that_cannot_be_used_is_code_5(node: Node, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(node.verb("ADD", "c1", node.pod(), node.conf(stateDir=str(tmp_path / "file"))), 5, "stateDir")


def test_a_damaged_state_file_is_code_5_and_named(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod)
    node.delete("c1", pod)
    for suffix in ("-wal", "-shm"):
        (node.state / f"state.db{suffix}").unlink(missing_ok=True)
    (node.state / "state.db").write_bytes(b"garbage" * 5000)
    refused(node.verb("ADD", "c2", pod), 5, "state.db")
    assert node.links(pod) == {"lo"}


def test_a_closed_stdout_is_a_failure(node: Node) -> None:
    with subprocess.Popen(node.argv(), env={"CNI_COMMAND": "VERSION"}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(10) != 0


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


def test_del_removes_the_link_although_the_state_file_is_damaged(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod)
    for suffix in ("-wal", "-shm"):
        (node.state / f"state.db{suffix}").unlink(missing_ok=True)
    (node.state / "state.db").write_bytes(b"garbage" * 5000)
    refused(node.verb("DEL", "c1", pod), 5, "state.db")
    assert node.links() == {"lo", "cni0"}


def test_del_after_the_network_was_renamed_releases_all_the_same(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod)
    node.delete("c1", pod, node.conf(name="renamed"))
    assert node.held() == {}
    assert node.links() == {"lo", "cni0"}


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
