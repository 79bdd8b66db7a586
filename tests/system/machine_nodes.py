"""Booted machines: two nodes, and a rack router between them; anypod comes onto them as an operator puts it."""

from __future__ import annotations

import hashlib
import json
import select
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from tests.system.gobgp_rig import ROOT, Member, run, wait
from tests.system.machine_rack import BootedFrr
from tests.system.machine_rig import CONFIG, Machine
from tests.system.peers_rig import peer
from tests.system.peers_routers import frr_conf

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

# Nothing of this machine's settings for pip, for one.
CLEAN = ("env", "-i", "HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
INSTALL = (*CLEAN, "/root/anypod/install.sh")
CONFLIST = "/etc/cni/net.d/10-anypod.conflist"
DROP_IN = "/etc/systemd/system/anypod-speaker.service.d/own.conf"
SPEAKER, GOBGPD = "anypod-speaker.service", "anypod-gobgpd.service"
RACK = 65401
ARCHIVES = "/var/cache/apt/archives"
INSTALL_SECONDS = 240
GRACEFUL = "[peer.graceful-restart]\nrestart-time = 60\n"
KUBELET = "[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
# Folders whose files are a node's; the rest is the kernel's, or changes by itself.
FOLDERS = ("/etc", "/opt", "/usr", "/srv", "/run/anypod")
PORT = 7000
ECHO = f"""
import socket
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.bind(("", {PORT}))
while True:
    data, sender = made.recvfrom(99)
    made.sendto(data, sender)
"""
# A packet every 10 ms until stdin ends; says "answered" once, and at the end how many were sent and which got lost.
SEND = f"""
import json, select, socket, sys, time
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.connect((sys.argv[1], {PORT}))
number, answered, end = 0, set(), None
due = time.monotonic()
while end is None or time.monotonic() < end:
    wait = max(0, (due if end is None else end) - time.monotonic())
    ready = select.select([made] + [sys.stdin] * (end is None), [], [], wait)[0]
    if made in ready:
        try:
            answered.add(int(made.recv(99)))
            if len(answered) == 1:
                print("answered", flush=True)
        except ConnectionRefusedError:
            pass
    if sys.stdin in ready:
        end = time.monotonic() + 1
    if end is None and time.monotonic() >= due:
        due += 0.01
        try:
            made.send(str(number).encode())
        except OSError:
            pass
        number += 1
print(json.dumps([number, sorted(set(range(number)) - answered)]), flush=True)
"""


class Node(Machine):
    """Node `number`: its pods are in 10.244.<number>.0/24, and its link `up0` leads to the rack."""

    def __init__(self, directory: Path, root: Path, namespace: str, number: int, wheels: Path) -> None:
        super().__init__(directory / f"node{number}", root, namespace, wheels)
        self.number = number
        self.subnet = f"10.244.{number}.0/24"
        self.told = ""  # by install.sh
        self.before: dict[str, str] = {}
        self.processes: list[subprocess.Popen[str]] = []
        ignored = shutil.ignore_patterns(".*", "__pycache__", "bench", "tests", "docs")
        shutil.copytree(ROOT, self.directory / "root/anypod", ignore=ignored)
        # Packages of Python come from a folder, those of the distribution from those that made this system.
        self.write("/etc/pip.conf", f"[global]\nno-index = true\nfind-links = {wheels}\n", 0o644)
        self.write("/etc/apt/sources.list", f"deb [trusted=yes] file:{ARCHIVES} ./\n", 0o644)
        self.write(
            f"{ARCHIVES}/Packages", package(next((directory / f"node{number}{ARCHIVES}").glob("gobgpd_*")))
        )
        self.write("/etc/systemd/system/kubelet.service", KUBELET, 0o644)

    def prepare(self) -> None:
        """A system as it was before anybody heard of anypod."""
        self.boot()
        self.do("dpkg", "--purge", "gobgpd")
        self.do("systemctl", "enable", "--now", "kubelet.service")
        self.before = self.look()

    def install(self) -> str:
        self.told = self.do(*INSTALL, seconds=INSTALL_SECONDS)
        return self.told

    def configure(self) -> None:
        """What `install.sh` names as the next steps."""
        near, far = f"10.97.{self.number}.1", f"10.97.{self.number}.2"
        head = f'[bgp]\nasn = {65000 + self.number}\nrouter-id = "{near}"\n'
        told = head + peer(far, RACK, GRACEFUL) + f'[announce]\nsubnets = ["{self.subnet}"]\n'
        (self.directory / CONFIG.lstrip("/")).write_text(told)
        example = (self.directory / f"{CONFLIST}.example".lstrip("/")).read_text()
        self.write(CONFLIST, example.replace("10.244.1.0/24", self.subnet), 0o644)
        self.write(DROP_IN, "[Service]\nEnvironment=OWN=1\n", 0o644)
        self.do("systemctl", "enable", "--now", GOBGPD, SPEAKER)

    def netconf(self, **keys: object) -> str:
        """What a runtime makes of the conflist, with other keys."""
        conflist = json.loads((self.directory / CONFLIST.lstrip("/")).read_text())
        return json.dumps({"cniVersion": "1.0.0", "name": conflist["name"]} | conflist["plugins"][0] | keys)

    def call(self, verb: str, pod: str) -> list[str]:
        """The command line of a call of the plugin."""
        words = {"COMMAND": verb, "CONTAINERID": pod, "IFNAME": "eth0", "NETNS": f"/run/netns/{pod}"}
        settings = [f"CNI_{key}={value}" for key, value in words.items()]
        return [*CLEAN, *settings, "/opt/cni/bin/anypod"]

    def add(self, pod: str, **keys: object) -> str:
        """A pod, as a runtime makes it; its address."""
        self.do("ip", "netns", "add", pod)
        result = json.loads(self.do(*self.call("ADD", pod), stdin=self.netconf(**keys)))
        return str(result["ips"][0]["address"].partition("/")[0])

    def delete(self, pod: str) -> None:
        self.do(*self.call("DEL", pod), stdin=self.netconf())
        self.do("ip", "netns", "del", pod)

    def serve(self, pod: str) -> None:
        """Has the pod send back what it gets."""
        self.start_in(pod, ECHO)
        wait("the pod listens", lambda: f":{PORT} " in self.do("ip", "netns", "exec", pod, "ss", "-Hlun"), 10)

    def start_in(self, pod: str, program: str, *words: str) -> subprocess.Popen[str]:
        command = self.inside("ip", "netns", "exec", pod, "python3", "-c", program, *words)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def release(self) -> str:
        """The release that is in use."""
        return self.do("readlink", "/opt/anypod/current").strip()

    def links(self) -> set[str]:
        return {str(one["ifname"]) for one in json.loads(self.do("ip", "-j", "link"))}

    def look(self) -> dict[str, str]:
        """All files, with the content of those that list users; links, tables, and routes that are not the kernel's."""
        found = self.do(
            "find", *FOLDERS, "-not", "-name", "*.pyc", "-not", "-name", "__pycache__", check=False
        )
        seen = dict.fromkeys(found.splitlines(), "")
        for name in ("passwd", "group"):
            seen[f"/etc/{name}"] = (self.directory / "etc" / name).read_text()
        seen["links"] = " ".join(sorted(self.links()))
        seen["tables"] = self.do("nft", "list", "tables")
        seen["next hops"] = self.do("ip", "nexthop")
        for version in ("-4", "-6"):
            told = self.do("ip", version, "route", "show", "table", "all")
            lines = [
                line for line in told.splitlines() if "proto kernel" not in line and "multicast" not in line
            ]
            seen[f"routes {version}"] = "\n".join(lines)
        return seen

    def differences(self) -> set[str]:
        """What is another than before the installation, but for the packages of the distribution and backups."""
        now, packages = self.look(), self.do("dpkg", "-L", "gobgpd").split()
        changed = {key for key in now.keys() | self.before.keys() if now.get(key) != self.before.get(key)}
        changed -= {*packages, *(f"/usr{path}" for path in packages)}  # /lib is a link
        return {key for key in changed if not key.endswith("-")}

    def close(self) -> None:
        self.remove()
        for process in self.processes:
            with process:  # closes its pipes
                process.kill()


class Flow:
    """Packets from a pod to an address, 100 a second, while the body of a `with` runs; `sent` and `lost` behind it."""

    def __init__(self, node: Node, pod: str, address: str) -> None:
        self._process = node.start_in(pod, SEND, address)
        self.sent, self.lost = 0, list[int]()

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], 30)[0], "no packet came back"
        assert self._process.stdout.readline() == "answered\n"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        told, _ = self._process.communicate(timeout=20)
        if kind is None:
            self.sent, self.lost = json.loads(told)


class Stage:
    """The rack, which has a link to each node, and the nodes."""

    def __init__(self, directory: Path, root: Path) -> None:
        self.directory = directory
        self.members: list[Member] = []
        self.nodes: list[Node] = []
        self.rack = BootedFrr("rack", directory, 1, root)
        self.members.append(self.rack)
        try:
            self._build(root)
        except BaseException:
            self.close()
            raise

    def _build(self, root: Path) -> None:
        fetched = wheels(self.directory / "wheels")
        lines = "bgp graceful-restart\nbgp graceful-restart preserve-fw-state\n"
        for number in (1, 2):
            member = Member(f"node{number}", self.directory)
            self.members.append(member)
            self._plug(number)
            self.nodes.append(Node(self.directory / "machines", root, member.ns, number, fetched))
            lines += f"neighbor 10.97.{number}.1 remote-as {65000 + number}\n"
            lines += f"neighbor 10.97.{number}.1 timers connect 1\n"
        self.rack.forward()
        with ThreadPoolExecutor() as threads:
            rack = threads.submit(self.rack.start_frr, frr_conf(RACK, 1, lines))
            for step in (Node.prepare, Node.install, Node.configure):
                list(threads.map(step, self.nodes))
            rack.result()

    def _plug(self, number: int) -> None:
        """The link of a node to the rack."""
        member, far = self.members[number], f"node{number}"
        member.ip("link", "add", "up0", "type", "veth", "peer", "name", far, "netns", self.rack.ns)
        for one, name, host in ((member, "up0", 1), (self.rack, far, 2)):
            one.ip("address", "add", f"10.97.{number}.{host}/24", "dev", name)
            one.ip("link", "set", name, "up")

    def reboot(self, node: Node) -> None:
        """A boot begins with another namespace: nothing of the kernel's state outlives it."""
        node.leave()
        namespace = self.members[node.number].ns
        run("ip", "netns", "del", namespace)
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        wait(
            "the link is gone", lambda: f"node{node.number}" not in run("ip", "-n", self.rack.ns, "link"), 10
        )
        self._plug(node.number)
        node.boot()

    def is_up(self, node: Node) -> bool:
        return self.rack.is_up(f"10.97.{node.number}.1")

    def updates(self, node: Node) -> int:
        """How many UPDATEs the rack got from a node so far."""
        return int(self.rack.neighbour(f"10.97.{node.number}.1")["messageStats"]["updatesRecv"])

    def stand(self) -> None:
        """Waits until each node has what the other one announces."""
        for node, other in (self.nodes, reversed(self.nodes)):
            wait("the speaker is ready", lambda node=node: node.is_active(SPEAKER), 40)  # type: ignore[misc]
            wait("the session", lambda node=node: self.is_up(node), 40)  # type: ignore[misc]
            way = ("ip", "route", "show", other.subnet, "proto", "177")
            wait("the other's subnet", lambda node=node, way=way: node.do(*way), 40)  # type: ignore[misc]

    def close(self) -> None:
        with ThreadPoolExecutor() as threads:
            list(threads.map(Node.close, self.nodes))
        for member in self.members:
            member.close()


def wheels(directory: Path) -> Path:
    """What pip needs to install this tree, as an index within the firm would have it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "download", "--only-binary=:all:", "--dest", directory, *wanted, seconds=INSTALL_SECONDS)
    return directory


def package(archive: Path) -> str:
    """The entry of a package in a list for apt."""
    control = run("dpkg-deb", "--field", archive).strip()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return f"{control}\nFilename: ./{archive.name}\nSize: {archive.stat().st_size}\nSHA256: {digest}\n"
