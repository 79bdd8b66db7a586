"""A node and its pods as bare namespaces, with the installed plugin run as a runtime would run it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - a dataclass reads its annotations
from typing import TYPE_CHECKING, Any

from cni.reader import StateReader, UnfinishedError

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMBERS = itertools.count(1)
SECONDS = 60
PODS: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "type": "anypod",
    "bridge": "cni0",
    "isDefaultGateway": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:1::/64"}]]},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call of the plugin gave back."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.stdout)
        return found


def run(*argv: str) -> str:
    """Runs a command that must succeed; its output."""
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=SECONDS).stdout


@dataclass
class Node:
    """One node namespace, the pod namespaces that were asked for, and a state directory."""

    plugin: Path
    state: Path
    name: str = field(default_factory=lambda: f"anypod-t{os.getpid()}p{next(NUMBERS)}")
    pods: list[str] = field(default_factory=list)

    def up(self) -> None:
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")

    def down(self) -> None:
        for namespace in [*self.pods, self.name]:
            subprocess.run(
                ["ip", "netns", "del", namespace], check=False, capture_output=True, timeout=SECONDS
            )

    def pod(self) -> str:
        """Makes a namespace for a pod; its name."""
        name = f"{self.name}-{len(self.pods)}"
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        self.pods.append(name)
        return name

    def conf(self, **keys: object) -> dict[str, Any]:
        """The usual netconf with other keys."""
        return PODS | {"stateDir": str(self.state)} | keys

    def environment(self, verb: str, container: str, pod: str, ifname: str = "eth0") -> dict[str, str]:
        env = {
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": container,
            "CNI_IFNAME": ifname,
        }
        return env | ({"CNI_NETNS": f"/run/netns/{pod}"} if pod else {})

    def argv(self, before: Sequence[str] = ()) -> list[str]:
        """The command line of a call, with another command in front that runs it."""
        return ["ip", "netns", "exec", self.name, *before, str(self.plugin)]

    def call(self, env: dict[str, str], stdin: bytes) -> Answer:
        done = subprocess.run(
            self.argv(), input=stdin, env=env, capture_output=True, timeout=SECONDS, check=False
        )
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(
        self, env: dict[str, str], conf: dict[str, Any], before: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """A call that goes on while the test does."""
        process = subprocess.Popen(
            self.argv(before), env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(conf).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def verb(
        self, verb: str, container: str, pod: str, conf: dict[str, Any] | None = None, ifname: str = "eth0"
    ) -> Answer:
        stdin = json.dumps(self.conf() if conf is None else conf).encode()
        return self.call(self.environment(verb, container, pod, ifname), stdin)

    def add(
        self, container: str, pod: str, conf: dict[str, Any] | None = None, ifname: str = "eth0"
    ) -> dict[str, Any]:
        """An ADD that must succeed; its result."""
        answer = self.verb("ADD", container, pod, conf, ifname)
        assert answer.status == 0, answer
        return answer.json

    def delete(
        self, container: str, pod: str, conf: dict[str, Any] | None = None, ifname: str = "eth0"
    ) -> None:
        """A DEL that must succeed."""
        answer = self.verb("DEL", container, pod, conf, ifname)
        assert (answer.status, answer.stdout) == (0, ""), answer

    def ip(self, *argv: str, namespace: str = "") -> Any:
        """The output of `ip -j` in a namespace, the node's by default."""
        return json.loads(run("ip", "-n", namespace or self.name, "-d", "-j", *argv) or "[]")

    def execute(self, namespace: str, *argv: str) -> str:
        return run("ip", "netns", "exec", namespace, *argv)

    def held(self) -> dict[str, tuple[str, ...]]:
        """The addresses of each container, from the state file; none while the first ADD is making it."""
        try:
            return {one.container: one.addresses for one in StateReader(str(self.state)).allocations()}
        except UnfinishedError:
            return {}

    def links(self, namespace: str = "") -> set[str]:
        return {one["ifname"] for one in self.ip("link", namespace=namespace)}

    def traces(self) -> dict[str, object]:
        """All that an attachment could leave behind."""
        pods = {pod: sorted(self.links(pod)) for pod in self.pods}
        nft = self.execute(self.name, "nft", "list", "ruleset")
        return {"links": sorted(self.links()), "pods": pods, "held": self.held(), "nft": nft}

    def pings(self, namespace: str, address: str) -> bool:
        argv = ["ip", "netns", "exec", namespace, "ping", "-c1", "-W2", address]
        return subprocess.run(argv, check=False, capture_output=True, timeout=SECONDS).returncode == 0


def refused(answer: Answer, code: int, says: str) -> None:
    """An error object on stdout, a non-zero exit, and no traceback anywhere."""
    assert answer.status != 0, answer
    shown = answer.json
    assert shown["code"] == code, shown
    assert says in f"{shown['msg']} {shown.get('details', '')}", shown
    assert shown["cniVersion"]
    assert "Traceback" not in answer.stderr + answer.stdout
