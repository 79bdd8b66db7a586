"""What the tests of the specification's rules share: refusals, verbs without a container, and a fake IPAM plugin."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.system.plugin_node import Answer, Node

if TYPE_CHECKING:
    from collections.abc import Callable

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
WITH_CHECK = VERSIONS[4:]
V4: dict[str, Any] = {"type": "host-local", "ranges": [[{"subnet": "10.244.1.0/24"}]]}


def injected(rule: str) -> list[str]:
    """A command in front of the plugin that lets its system calls fail, wait or kill; strace(1), --inject."""
    return ["strace", "-D", "-qq", "-o", "/dev/null", "-e", f"inject={rule}"]


# An ADD that stands still for two seconds where the pod's namespace is entered.
SLOW = injected("setns:delay_enter=2000000:when=1")


def refused(answer: Answer, code: int, says: str = "") -> dict[str, Any]:
    """An error object on stdout, a non-zero exit, and no traceback anywhere; the object."""
    assert answer.status != 0, answer
    shown = answer.json
    assert shown["code"] == code, shown
    assert says in f"{shown['msg']} {shown.get('details', '')}", shown
    assert "Traceback" not in answer.stderr + answer.stdout
    return shown


def silent(answer: Answer) -> None:
    """Success of a verb that has nothing to tell."""
    assert (answer.status, answer.stdout) == (0, ""), answer


def encoded(conf: dict[str, Any]) -> bytes:
    return json.dumps(conf).encode()


def ask(node: Node, verb: str, conf: dict[str, Any], **variables: str) -> Answer:
    """A verb that is of no container: STATUS or GC."""
    env = {
        key: value for key, value in node.environment(verb, "", "").items() if value and key != "CNI_IFNAME"
    }
    return node.call(env | variables, encoded(conf))


def add_with(node: Node, pod: str, conf: dict[str, Any], **variables: str) -> Answer:
    """ADD of c1/eth0 with further variables."""
    return node.call(node.environment("ADD", "c1", pod) | variables, encoded(conf))


def untouched(node: Node, pod: str) -> None:
    """Nothing of an attachment is there: no port, no interface in the pod, no address held."""
    assert node.links(pod) == {"lo"}
    assert not [name for name in node.links() if name.startswith("anyp")]
    assert node.held() == {}


def wait_until(true: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def opens(pid: int, path: Path) -> bool:
    """Whether a process holds this file open; a file is known by its inode, as namespaces differ in paths."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add((entry.stat().st_dev, entry.stat().st_ino))
    return (path.stat().st_dev, path.stat().st_ino) in found


def has_open(process: subprocess.Popen[bytes], path: Path) -> bool:
    """Whether a call that goes on holds this file open."""
    assert process.poll() is None, process.communicate()
    return opens(process.pid, path)


def waiting(node: Node, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """A call that has begun and waits for its configuration."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(node.argv(), env=env, stdin=pipe, stdout=pipe, stderr=pipe)
    wchan = Path(f"/proc/{process.pid}/wchan")
    wait_until(lambda: "pipe" in wchan.read_text(), "it does not read its stdin")
    return process


def finish(process: subprocess.Popen[bytes], stdin: bytes | None = None) -> Answer:
    """The answer of a call that went on by itself."""
    stdout, stderr = process.communicate(stdin, timeout=60)
    return Answer(process.returncode, stdout.decode(), stderr.decode())


class FakeIpam:
    """A fake IPAM plugin: it writes down how it is called, and answers what the test says."""

    SCRIPT = """#!/bin/sh
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME" >>{folder}/log
cat >{folder}/stdin.$CNI_COMMAND
cat {folder}/answer.$CNI_COMMAND 2>/dev/null
[ ! -e {folder}/fails.$CNI_COMMAND ]
"""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        plugin = folder / "fake-ipam"
        plugin.write_text(self.SCRIPT.format(folder=folder))
        plugin.chmod(0o755)
        gives = {
            "ips": [{"address": "192.0.2.7/24", "gateway": "192.0.2.1"}],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        self.answers("ADD", {"cniVersion": "1.1.0"} | gives)

    @property
    def variables(self) -> dict[str, str]:
        return {"CNI_PATH": str(self.folder)}

    def answers(self, verb: str, answer: dict[str, Any]) -> None:
        (self.folder / f"answer.{verb}").write_text(json.dumps(answer))

    def fails(self, verb: str, code: int = 111, msg: str = "the fake refuses") -> None:
        self.answers(verb, {"cniVersion": "1.1.0", "code": code, "msg": msg})
        (self.folder / f"fails.{verb}").touch()

    def works(self, verb: str) -> None:
        for name in (f"answer.{verb}", f"fails.{verb}"):
            (self.folder / name).unlink(missing_ok=True)

    def calls(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def stdin(self, verb: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / f"stdin.{verb}").read_text())
        return found
