"""CNI specification, output: rules O1 to O7 and VERSION, with the installed executable as a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.conformance_rig import VERSIONS, WITH_CHECK, ask, encoded, refused, silent
from tests.system.plugin_node import Answer

if TYPE_CHECKING:
    from tests.system.plugin_node import Node

KEYS = {"cniVersion", "code", "msg", "details"}


@pytest.mark.parametrize("version", VERSIONS)
def test_O1_an_error_is_one_object_on_stdout_with_the_configurations_version(
    node: Node, version: str
) -> None:
    answer = node.verb("ADD", "c1", "none", node.conf(cniVersion=version))
    assert answer.status == 1
    assert answer.stdout.count("\n") == 1
    shown = refused(answer, 3, "failed to open netns")
    assert set(shown) <= KEYS
    assert shown["cniVersion"] == version
    assert all(isinstance(shown[key], str) and shown[key] for key in set(shown) - {"code"})


@pytest.mark.parametrize(
    ("verb", "stdin"), [("ADD", b"{"), ("FROB", b"{}"), ("DEL", b'{"cniVersion": "9.9.9", "name": "a"}')]
)
def test_O1_an_error_has_the_newest_version_where_the_configurations_is_not_known(
    node: Node, verb: str, stdin: bytes
) -> None:
    answer = node.call(node.environment(verb, "c1", node.pod()), stdin)
    assert (answer.status, answer.json["cniVersion"]) == (1, VERSIONS[-1])


@pytest.mark.parametrize("version", VERSIONS)
def test_O2_stdout_has_the_json_and_nothing_else(node: Node, version: str) -> None:
    answer = node.verb("ADD", "c1", node.pod(), node.conf(cniVersion=version, ipMasq=True))
    assert answer.status == 0, answer
    result, end = json.JSONDecoder().raw_decode(answer.stdout)
    assert answer.stdout[end:].strip() == ""
    assert result["cniVersion"] == version
    assert answer.stderr == ""


@pytest.mark.parametrize("verb", ["ADD", "VERSION"])
def test_O2_a_stdout_that_nobody_reads_is_a_failure(node: Node, verb: str) -> None:
    pod = node.pod()
    env = node.environment(verb, "c1", pod)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        argv = node.argv()
        done = subprocess.run(
            argv, input=encoded(node.conf()), env=env, stdout=writer, timeout=60, check=False
        )
    finally:
        os.close(writer)
    assert done.returncode != 0
    node.delete("c1", pod)
    assert node.links() <= {"lo", "cni0"}


def test_O2_a_full_disk_under_stdout_is_a_failure(node: Node) -> None:
    pod = node.pod()
    with open("/dev/full", "wb") as full:
        env = node.environment("ADD", "c1", pod)
        done = subprocess.run(
            node.argv(), input=encoded(node.conf()), env=env, stdout=full, timeout=60, check=False
        )
    assert done.returncode != 0
    node.delete("c1", pod)


@pytest.fixture
def broken(node: Node, tmp_path: Path) -> Path:
    """The installed executable over a copy of its package, and no image, in which every verb has a defect."""
    launcher = node.plugin.read_text()
    site = Path(next(line for line in launcher.splitlines() if "sys.path.insert" in line).split("'")[1])
    shutil.copytree(site / "cni", tmp_path / "site" / "cni", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "site/cni/main.py").open("a") as file:
        file.write("\n\ndef _run(*_):\n    raise RuntimeError('a defect that is put in on purpose')\n")
    plugin = tmp_path / "anypod"
    plugin.write_text(launcher.replace(str(site), str(tmp_path / "site")).replace("/image/start", "/none"))
    plugin.chmod(0o755)
    return plugin


@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK", "STATUS", "GC"])
def test_O3_a_defect_is_code_999_and_no_traceback(node: Node, broken: Path, verb: str) -> None:
    argv = ["ip", "netns", "exec", node.name, str(broken)]
    env = node.environment(verb, "c1", node.pod())
    conf = encoded(node.conf(cniVersion="1.1.0"))
    done = subprocess.run(argv, input=conf, env=env, capture_output=True, timeout=60, check=False)
    refused(
        Answer(done.returncode, done.stdout.decode(), done.stderr.decode()),
        999,
        "a defect that is put in on purpose",
    )


@pytest.mark.parametrize("version", WITH_CHECK)
def test_O5_check_and_del_say_nothing_on_success(node: Node, version: str) -> None:
    pod = node.pod()
    conf = node.conf(cniVersion=version)
    conf["prevResult"] = node.add("c1", pod, conf)
    for verb in ("CHECK", "DEL", "DEL"):
        answer = node.verb(verb, "c1", pod, conf)
        assert answer == Answer(0, "", "")


def test_O5_status_and_gc_say_nothing_on_success(node: Node) -> None:
    conf = node.conf(cniVersion="1.1.0")
    node.add("c1", node.pod(), conf)
    valid = [{"containerID": "c1", "ifname": "eth0"}]
    assert ask(node, "STATUS", conf) == Answer(0, "", "")
    assert ask(node, "GC", conf | {"cni.dev/valid-attachments": valid}) == Answer(0, "", "")
    assert set(node.held()) == {"c1"}


@pytest.mark.parametrize("stdin", [b"", b'{"cniVersion": "0.4.0"}', b'{"cniVersion": "9.9.9"}', b"garbage"])
def test_O6_version_tells_all_that_is_supported_whatever_is_on_stdin(node: Node, stdin: bytes) -> None:
    answer = node.call({"CNI_COMMAND": "VERSION"} | {"PATH": os.environ["PATH"]}, stdin)
    assert answer.status == 0
    assert answer.json == {"cniVersion": "1.1.0", "supportedVersions": list(VERSIONS)}


def test_O6_version_answers_while_stdin_stays_open(node: Node) -> None:
    reader, writer = os.pipe()
    try:
        argv, env = [str(node.plugin)], {"CNI_COMMAND": "VERSION"}
        start = time.monotonic()
        done = subprocess.run(argv, stdin=reader, env=env, capture_output=True, timeout=20, check=True)
        # An interpreter that starts takes a tenth of that; whoever waits for stdin never ends.
        assert time.monotonic() - start < 5
    finally:
        os.close(reader)
        os.close(writer)
    assert json.loads(done.stdout)["supportedVersions"] == list(VERSIONS)


def test_O6_version_needs_no_other_variable_and_leaves_nothing(node: Node) -> None:
    before = node.traces()
    env = {"CNI_COMMAND": "VERSION", "CNI_CONTAINERID": "../..", "CNI_IFNAME": "a b", "CNI_ARGS": "nonsense"}
    assert node.call(env | {"PATH": os.environ["PATH"]}, b"").status == 0
    assert node.traces() == before
    assert not node.state.exists()


def _codes(node: Node) -> dict[str, tuple[int, Answer]]:
    """What happened, the code that tells it, and the answer."""
    pod, conf = node.pod(), node.conf(cniVersion="1.1.0")
    small = conf | {"name": "small", "bridge": "cni9", "ipam": {"subnet": "10.9.9.0/30"}}
    result = node.add("c1", pod, conf)
    node.add("only", node.pod(), small)
    made = {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/x"}]}
    return {
        "incompatible version": (1, node.verb("ADD", "c2", pod, conf | {"cniVersion": "2.0.0"})),
        "unsupported field": (2, node.verb("ADD", "c2", pod, conf | {"prevResult": made})),
        "unknown container": (3, node.verb("ADD", "c2", "none", conf)),
        "environment": (4, node.verb("ADD", "", pod, conf)),
        "input and output": (5, node.verb("ADD", "c2", pod, conf | {"stateDir": "/dev/null/x"})),
        "decoding": (6, node.call(node.environment("ADD", "c2", pod), b"{")),
        "configuration": (7, node.verb("ADD", "c2", pod, conf | {"mtu": -5})),
        "namespace": (8, node.verb("ADD", "c2", node.name, conf)),
        "exhausted, STATUS": (50, ask(node, "STATUS", small)),
        "exhausted": (100, node.verb("ADD", "c2", node.pod(), small)),
        "attached already": (101, node.verb("ADD", "c1", pod, conf)),
        "address of the bridge": (
            102,
            node.verb(
                "ADD", "c2", pod, conf | {"ipam": {"subnet": "10.244.0.0/16", "gateway": "10.244.0.9"}}
            ),
        ),
        "kernel": (103, node.verb("ADD", "c2", node.pod(), unreachable(conf))),
        "check": (104, node.verb("CHECK", "none", pod, conf | {"prevResult": result})),
        "host port": (105, port_taken(node, conf)),
        "bridge gone, STATUS": (51, bridge_gone(node, conf)),
    }


def unreachable(conf: dict[str, Any]) -> dict[str, Any]:
    ipam: dict[str, Any] = conf["ipam"]
    return conf | {"ipam": ipam | {"routes": [{"dst": "192.0.2.0/24", "gw": "203.0.113.1"}]}}


def port_taken(node: Node, conf: dict[str, Any]) -> Answer:
    mapped = conf | {
        "runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "tcp"}]}
    }
    node.add("p1", node.pod(), mapped)
    return node.verb("ADD", "p2", node.pod(), mapped)


def bridge_gone(node: Node, conf: dict[str, Any]) -> Answer:
    node.execute(node.name, "ip", "link", "del", "cni0")
    return ask(node, "STATUS", conf)


def test_O7_each_kind_of_failure_has_its_code(node: Node) -> None:
    found = {
        what: (code, answer.status and answer.json["code"]) for what, (code, answer) in _codes(node).items()
    }
    assert found == {what: (code, code) for what, (code, _) in found.items()}


def test_O7_a_success_is_never_an_error_object(node: Node) -> None:
    """Exit code and what is on stdout tell the same."""
    pod = node.pod()
    for verb in ("ADD", "ADD", "DEL", "DEL"):
        answer = node.verb(verb, "c1", pod)
        assert (answer.status != 0) == ('"code"' in answer.stdout), answer
    silent(node.verb("DEL", "c1", pod))
