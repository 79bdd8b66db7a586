"""A node on which a container runtime can run: besides the node's network, mounts and processes of its own.

`/run`, `/var/lib` and `/dev/shm` are empty file systems that only this node sees: a runtime finds
its usual places there, and what it leaves behind is gone with the node. So are its processes: they
are in a PID namespace whose first process ends when this one does, whatever ended it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.plugin_node import Node

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 60
# The node's own loopback, and its uplink where a test gave it one.
KEPT = {"lo", "up0"}
# Sets whose elements are of networks and not of pods.
NETWORKS = {"masquerade4", "masquerade6", "bridges", "hairpins"}
CGROUPS = Path("/sys/fs/cgroup")
# The shell is the first process of the PID namespace: it reaps, and it ends when its stdin does.
FIRST_PROCESS = """
set -e
read -r pid _ </proc/self/stat
mount -t proc proc /proc
umount --recursive --lazy /run/netns # or this node would hold the namespaces of others
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /dev/shm
mkdir /run/netns /run/tmp /run/anypod /var/lib/cni
mount --bind "$1" /run/anypod
echo "$pid"
while read -r _; do :; done
"""
# kill spares the first process of its PID namespace, and itself. Were it not this node's, nothing would be killed.
END_ALL = '[[ $(readlink /proc/1/ns/net) == "$1" ]] && kill -9 -1'


def wait(what: str, probe: Callable[[], object], seconds: float = SECONDS) -> None:
    """Asks until the answer is true."""
    end = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


class RuntimeHost:
    """One node, up until `down`."""

    def __init__(self, plugin: Path, state: Path, program: Path) -> None:
        """`state` is the plugin's default state directory on this node, `program` what its containers run."""
        self.node = Node(plugin, state)
        self.program = program
        self.cgroup = f"/{self.node.name}"
        self.first: subprocess.Popen[str] | None = None
        self.pid = 0
        self.daemons: list[Daemon] = []

    def up(self) -> None:
        self.node.state.mkdir()
        self.node.up()
        network = ["nsenter", f"--net=/run/netns/{self.node.name}"]
        private = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
        self.first = subprocess.Popen(
            [*network, *private, "bash", "-c", FIRST_PROCESS, "first", str(self.node.state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.first.stdout is not None
        line = self.first.stdout.readline()
        assert line, "the first process of the node has ended; its complaint is on stderr"
        self.pid = int(line)

    def down(self) -> None:
        """Ends every process of the node; its mounts and its network go with them."""
        try:
            self._end_first()
            for daemon in self.daemons:
                daemon.started.wait(SECONDS)
            self._remove_cgroups()
        finally:
            self.node.down()

    def _end_first(self) -> None:
        if self.first:
            assert self.first.stdin is not None
            assert self.first.stdout is not None
            self.first.stdin.close()
            self.first.wait(SECONDS)
            self.first.stdout.close()

    def _remove_cgroups(self) -> None:
        # Of version 2, and of each hierarchy of version 1.
        for root in [Path(f"{CGROUPS}{self.cgroup}"), *CGROUPS.glob(f"*{self.cgroup}")]:
            for path, _, _ in os.walk(root, topdown=False):
                wait(f"{path} is removed", partial(removed, Path(path)), 10)

    def path(self, inside: str) -> Path:
        """A path of this node as the test sees it."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def argv(self, *command: str | Path) -> list[str]:
        namespaces = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net"]
        return [*namespaces, "--", *(str(word) for word in command)]

    def run(self, *command: str | Path, env: dict[str, str] | None = None) -> str:
        """Runs a command on the node; its output. Its complaints are the error's message."""
        done = subprocess.run(
            self.argv(*command),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env=os.environ | (env or {}),
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(map(str, command))}: {done.stderr or done.stdout}")
        return done.stdout

    def ask(self, address: str, port: int, protocol: str = "tcp") -> str:
        """What a server answers to this node: the address it was asked from."""
        return self.run(self.program, "ask", address, str(port), protocol).strip()

    def ask_from(self, namespace: str, address: str, port: int, protocol: str = "tcp") -> str:
        """What it answers to another namespace."""
        return self.node.execute(namespace, str(self.program), "ask", address, str(port), protocol).strip()

    def answers(self, address: str, port: int, protocol: str = "tcp") -> bool:
        """Whether anything answers this node there, right now."""
        argv = self.argv(self.program, "ask", address, str(port), protocol, "once")
        return subprocess.run(argv, capture_output=True, timeout=SECONDS, check=False).returncode == 0

    def start(self, log: Path, *command: str | Path) -> Daemon:
        """Starts a command that goes on."""
        with log.open("ab") as stream:
            started = subprocess.Popen(self.argv(*command), stdout=stream, stderr=stream)
        self.daemons.append(Daemon(started))
        return self.daemons[-1]

    def left_over(self) -> dict[str, object]:
        """What a runtime's pods left on this node, by what it is; empty where there is nothing.

        Bridges are of networks and not of pods.
        """
        ruleset = json.loads(self.run("nft", "-j", "list", "ruleset"))["nftables"]
        sets = [one for entry in ruleset for kind, one in entry.items() if kind in {"set", "map"}]
        found: dict[str, object] = {
            "links": [
                one["ifname"]
                for one in self.node.ip("link")
                if one["ifname"] not in KEPT and one.get("linkinfo", {}).get("info_kind") != "bridge"
            ],
            "held": self.node.held(),
            "namespaces": self.namespaces(),
            "results": sorted(one.name for one in self.path("/var/lib/cni").glob("*/*")),
            "elements": {
                one["name"]: one["elem"] for one in sets if one.get("elem") and one["name"] not in NETWORKS
            },
        }
        return {what: left for what, left in found.items() if left}

    def lose_pods(self) -> None:
        """Ends every process on this node but the first, and every pod's namespace with them; files stay."""
        self.run("bash", "-c", END_ALL, "end-all", self._network())
        wait("every process is gone", lambda: self._processes() == {"1"})
        for path in self.namespaces():
            self.run("umount", path)
            self.run("rm", path)
        # The kernel ends namespaces one after the other, with those of everybody else.
        wait("the links into them are gone", lambda: "links" not in self.left_over())

    def _network(self) -> str:
        """The network namespace as the kernel names it in /proc."""
        return f"net:[{Path('/run/netns', self.node.name).stat().st_ino}]"

    def _processes(self) -> set[str]:
        """Those of this node, those of its containers among them, by their numbers there."""
        return {one.name for one in self.path("/proc").iterdir() if one.name.isdigit()}

    def namespaces(self) -> list[str]:
        """The network namespaces that runtimes have named, by their paths on the node."""
        return sorted(f"/run/netns/{one.name}" for one in self.path("/run/netns").iterdir())


class Daemon:
    """A process on a node. What was started is `nsenter`, which is not in the node's PID namespace itself."""

    def __init__(self, started: subprocess.Popen[bytes]) -> None:
        self.started = started
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
        wait("nsenter has started its command", lambda: children.read_text().split(), 10)
        self.pid = int(children.read_text().split()[0])

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        os.kill(self.pid, number)
        self.started.wait(SECONDS)


def removed(cgroup: Path) -> bool:
    """Whether the group could be removed: its last process may still be on its way out."""
    try:
        cgroup.rmdir()
    except OSError:
        return not cgroup.exists()
    return True
