"""STATUS: could an ADD succeed now? CNI specification 1.1.0, rules S1 to S5."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.conformance_rig import FakeIpam, ask, encoded, finish, refused, silent
from tests.system.leak_rig import NEWEST, conf, names, remove_pod, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.plugin_node import Answer, Node

SMALL: dict[str, Any] = {
    "type": "host-local",
    "ranges": [[{"subnet": "10.244.1.0/24", "rangeStart": "10.244.1.10", "rangeEnd": "10.244.1.11"}]],
}
TOO_SLOW = {
    "json", "os", "socket", "re", "typing", "ipaddress", "subprocess", "collections", "functools",
    "dataclasses", "jsonschema", "pyroute2", "shutil", "cni.netconf", "cni.node", "cni.add", "cni.reclaim",
    "cni.elements", "cni.delegate", "cni.speakerfile",
}  # fmt: skip


def status(node: Node, **keys: object) -> Answer:
    return ask(node, "STATUS", conf(node, **keys))


def within(node: Node, mount: str, **keys: object) -> Answer:
    """STATUS with something else mounted in place of the state directory, which the script calls $0."""
    env = {key: value for key, value in node.environment("STATUS", "", "").items() if value}
    before = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', str(node.state)]
    return finish(node.start(env, conf(node, **keys), before))


# ---- ready


def test_s1_a_node_that_is_ready_gets_no_output_and_no_change(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod, conf(node, ipMasq=True))
    before = node.traces()

    def files() -> list[tuple[str, int]]:
        return [(path.name, path.stat().st_mtime_ns) for path in sorted(node.state.iterdir())]

    written = files()
    silent(status(node, ipMasq=True))
    assert files() == written
    assert node.traces() == before


def test_s5_before_the_first_pod_nothing_is_made(node: Node) -> None:
    silent(status(node))
    assert not node.state.exists()
    assert node.links() == {"lo"}


def test_s4_it_waits_for_no_lock(node: Node) -> None:
    """Not for a writer of the state file, nor for a call that makes the bridge or the file."""
    node.add("c1", node.pod(), conf(node))
    (node.state / "node.lock").touch()
    with state(node), (node.state / "lock").open() as one, (node.state / "node.lock").open() as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        fcntl.flock(other, fcntl.LOCK_EX)
        silent(status(node))


@pytest.mark.parametrize("index", [True, False], ids=["with-index", "without"])
def test_s4_it_reads_what_a_log_holds_and_makes_nothing(node: Node, index: bool) -> None:
    """A call was killed: its log is there, and nobody has read it in since."""
    node.add("c1", node.pod(), conf(node))
    db = sqlite3.connect(node.state / "state.db", isolation_level=None)
    db.execute("DELETE FROM tombstone")
    beside = [node.state / "state.db-wal"] + [node.state / "state.db-shm"] * index
    kept = {path: path.read_bytes() for path in beside}
    db.close()
    for path, content in kept.items():
        path.write_bytes(content)
    silent(status(node))
    assert {path: path.read_bytes() for path in beside} == kept
    assert ("state.db-shm" in names(node.state)) is index


def test_s4_a_known_network_loads_no_slow_module(node: Node) -> None:
    node.add("c1", node.pod(), conf(node))
    interpreter = (node.plugin.read_text().splitlines()[0].removeprefix("#!")).split()[0]
    argv = ["ip", "netns", "exec", node.name, interpreter, "-IS", "-X", "importtime", str(node.plugin)]
    env = {"CNI_COMMAND": "STATUS", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        argv, env=env, input=encoded(conf(node)), capture_output=True, timeout=60, check=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines() if "|" in line}
    assert "_sqlite3" in loaded
    assert loaded & TOO_SLOW == set()
    assert not [name for name in loaded if name.startswith("cni.")], "not in the file of the image for STATUS"


# ---- what an ADD would fail for


def test_s2_a_netconf_that_is_wrong_is_code_50(node: Node) -> None:
    refused(status(node, mtu="many"), 50, "mtu")
    refused(status(node, ipam={"type": "host-local", "subnet": "10.0.0.1/24"}), 50, "host bits")
    assert not node.state.exists()


def test_ranges_that_only_a_call_brings_are_not_missed(node: Node) -> None:
    silent(status(node, ipam={"type": "host-local"}, capabilities={"ipRanges": True}))


def test_s2_a_state_directory_that_takes_nothing_is_code_50(node: Node, tmp_path: Path) -> None:
    node.add("c1", node.pod(), conf(node))
    read_only = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"'
    refused(within(node, read_only), 50, "is read-only")
    full = 'mount -t tmpfs -o size=64k none "$0" && head -c 65536 /dev/zero >"$0/full"'
    refused(within(node, full), 50, "no space is left")
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        refused(status(node, stateDir=str(tmp_path / place)), 50, "file")
    silent(status(node, stateDir=str(tmp_path / "not" / "there" / "yet")))
    assert not (tmp_path / "not").exists()


def test_s2_an_exhausted_range_is_code_50_while_its_pods_live(node: Node) -> None:
    pods = [node.pod(), node.pod()]
    for number, pod in enumerate(pods):
        silent(status(node, ipam=SMALL))
        node.add(f"c{number}", pod, conf(node, ipam=SMALL))
    before = node.traces()
    refused(status(node, ipam=SMALL), 50, "10.244.1.10-10.244.1.11")
    remove_pod(node, pods[0], "c0")
    silent(status(node, ipam=SMALL))
    assert node.held() == before["held"]
    node.delete("c1", pods[1], conf(node, ipam=SMALL))
    silent(status(node, ipam=SMALL))


def test_a_range_that_only_other_ranges_of_its_list_relieve_is_not_exhausted(node: Node) -> None:
    ranges = [[SMALL["ranges"][0][0], {"subnet": "10.245.0.0/24"}]]
    for number in range(3):
        node.add(f"c{number}", node.pod(), conf(node, ipam={"ranges": ranges}))
    silent(status(node, ipam={"ranges": ranges}))


def test_s2_a_missing_nft_is_code_50_where_it_is_needed(node: Node, tmp_path: Path) -> None:
    def without_nft(**keys: object) -> Answer:
        env = {key: value for key, value in node.environment("STATUS", "", "").items() if value}
        return finish(node.start(env, conf(node, **keys), ["env", f"PATH={tmp_path}"]))

    refused(without_nft(ipMasq=True), 50, "ipMasq: true needs the command nft")
    refused(without_nft(macspoofchk=True), 50, "macspoofchk: true needs the command nft")
    silent(without_nft())
    node.add("c1", node.pod(), conf(node, ipMasq=True))
    # All that it makes is there.
    silent(without_nft(ipMasq=True))


def test_s2_what_is_no_bridge_is_code_50(node: Node) -> None:
    node.execute(node.name, *"ip link add cni0 type veth peer name other".split())
    refused(status(node), 50, "is no bridge")


def test_what_an_earlier_boot_left_is_nothing(node: Node) -> None:
    for number in range(2):
        node.add(f"c{number}", node.pod(), conf(node, ipam=SMALL))
    with state(node) as db:
        db.execute("UPDATE meta SET value = 'an-earlier-boot' WHERE key = 'boot'")
    silent(status(node, ipam=SMALL))


# ---- what pods suffer from


@pytest.mark.parametrize(
    ("change", "says"), [("del cni0", "is missing"), ("set cni0 down", "is down")], ids=["gone", "down"]
)
def test_s2_a_bridge_that_pods_have_lost_is_code_51(node: Node, change: str, says: str) -> None:
    pod = node.pod()
    node.add("c1", pod, conf(node))
    node.execute(node.name, "ip", "link", *change.split())
    refused(status(node), 51, f"bridge cni0, which pods of network pods have, {says}")
    silent(status(node, name="other"))
    node.delete("c1", pod, conf(node))
    silent(status(node))


# ---- another plugin for addresses


def test_s3_another_plugin_for_addresses_is_asked_too(node: Node, tmp_path: Path) -> None:
    fake = FakeIpam(tmp_path / "plugins")
    document = conf(node, ipam={"type": "fake-ipam"})
    silent(ask(node, "STATUS", document, **fake.variables))
    assert fake.calls() == ["STATUS  "]
    fake.fails("STATUS", 51, "its daemon is dead")
    refused(ask(node, "STATUS", document, **fake.variables), 51, "its daemon is dead")
    refused(ask(node, "STATUS", document, CNI_PATH=str(tmp_path)), 50, "fake-ipam")
    assert NEWEST.items() <= fake.stdin("STATUS").items()


# ---- requireSpeaker


def test_without_a_speaker_a_network_that_requires_one_is_not_ready(node: Node) -> None:
    node.add("c1", node.pod(), conf(node, requireSpeaker=True))
    refused(status(node, requireSpeaker=True), 50, "no speaker reports")
    silent(status(node))
    report = node.state / "speaker" / "speaker.json"
    report.parent.mkdir()
    report.write_text('{"peers": 1, "established": 1, "routes": true}')
    # Nobody holds its lock: whoever wrote it has ended.
    refused(status(node, requireSpeaker=True), 50, "has ended")
    report.unlink()
    os.mkfifo(report)
    refused(status(node, requireSpeaker=True), 50, "has ended")
    # An ADD is served all the same.
    node.add("c2", node.pod(), conf(node, requireSpeaker=True))
