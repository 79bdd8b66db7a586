"""A node on which a random sequence of verbs, deaths and reboots is played against the allocator's model."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import time
import uuid
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from cni.link import Address, address_dump
from cni.netlink import NetlinkSocket
from cni.network import ip_text
from tests.system import injector
from tests.system.crash_rig import Scene, make_bare
from tests.system.injector import Launch
from tests.system.plugin_node import Node, run
from tests.system.view import View, enter_namespace, held
from tests.system.zygote import Zygote, encoded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.allocator_model import Attachment, Ips
    from tests.system.injector import Ended, Step

BOOT_ID = "/proc/sys/kernel/random/boot_id"
CLONE_NEWNS, MS_BIND, MS_REC, MS_SLAVE = 0x20000, 0x1000, 0x4000, 0x80000
SECONDS = 10
NETWORKS: dict[str, dict[str, Any]] = {
    # 13 and 14 addresses for 12 attachments, and 5 for them.
    "wide": {
        "bridge": "br0",
        "ipam": {"ranges": [[{"subnet": "10.1.0.0/28"}], [{"subnet": "fd00:1::/124"}]]},
    },
    "tight": {"bridge": "br1", "ipam": {"ranges": [[{"subnet": "10.2.0.0/29"}]]}},
}
SUBNETS = {"wide": ("10.1.0.0/28", "fd00:1::/124"), "tight": ("10.2.0.0/29",)}


@dataclass
class Rig:
    """The node in whose namespace this process is. A file stands in for the kernel's boot id."""

    node: Node
    home: Path
    zygote: Zygote = field(init=False)

    def up(self) -> None:
        """Called in a process of its own: it leaves the machine's namespaces of network and mounts."""
        enter_namespace(self.node.name)
        boot = self.home / "boot_id"
        boot.write_text(f"{uuid.uuid4()}\n")
        self.zygote = Zygote(self.node.plugin, self.home, boot)
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.unshare(CLONE_NEWNS) == 0
        assert libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None) == 0
        assert libc.mount(str(boot).encode(), BOOT_ID.encode(), None, MS_BIND, None) == 0

    def reset(self) -> None:
        """As before any pod, and after another boot."""
        self.reboot()
        shutil.rmtree(self.node.state, ignore_errors=True)

    def reboot(self) -> None:
        """Ends all links and rules, and the boot; what is on disk stays."""
        kept = self.home / "kept"
        if self.node.state.exists():
            shutil.copytree(self.node.state, kept)
        make_bare(Scene(Node(self.node.plugin, self.node.state, self.node.name), {}))
        if kept.exists():
            kept.rename(self.node.state)
        (self.home / "boot_id").write_text(f"{uuid.uuid4()}\n")

    def pod(self, one: Attachment) -> str:
        """The namespace of a container."""
        return self.node.pods[int(one[0][1:])]

    def vanish(self, pod: str) -> None:
        """Ends a pod's namespace without a DEL, and makes another one of that name."""
        links = len(self.links())
        inside = sum(pod == self.pod(one) for one in self.links())
        # The machine's mounts of namespaces reach ours, and not the other way round.
        outside = ("nsenter", f"--mount=/proc/{os.getppid()}/ns/mnt", "ip", "netns")
        run(*outside, "del", pod)
        deadline = time.monotonic() + SECONDS
        while len(self.links()) > links - inside:
            assert time.monotonic() < deadline, f"the links of {pod} stay"
            time.sleep(0.01)
        run(*outside, "add", pod)

    def links(self) -> set[Attachment]:
        """The attachments whose link stands, by its alias."""
        view = View(Node(self.node.plugin, self.node.state, self.node.name))
        try:
            aliases = [link.alias for link in view.links(self.node.name) if link.kind == "veth"]
        finally:
            view.close()
        pairs = [alias.split()[2].split("/") for alias in aliases if alias]
        return {(container, ifname) for container, ifname in pairs}

    def state(self) -> dict[Attachment, tuple[str, Ips]]:
        """What the state file has: the network of each attachment, and its addresses, IPv4 first."""
        found: dict[Attachment, tuple[str, Ips]] = {}
        rows = [line.split() for line in held(self.node.state)]
        for kind, network, container, ifname, *_ in rows:
            if kind == "attachment":
                found[container, ifname] = (network, ())
        for kind, network, packed, container, ifname in (row for row in rows if row[0] == "address"):
            assert (container, ifname) in found, f"an address of nobody: {kind} {network} {packed}"
            ips = [*found[container, ifname][1], str(ip_address(bytes.fromhex(packed)))]
            found[container, ifname] = (network, tuple(sorted(ips, key=len)))
        return found

    def inside(self, one: Attachment) -> set[str]:
        """The addresses in the pod."""
        enter_namespace(self.pod(one))
        socket = NetlinkSocket(timeout=30)
        try:
            found = [Address(payload) for _, payload in socket.dump(address_dump())]
        finally:
            socket.close()
            enter_namespace(self.node.name)
        return {ip_text(address.ip) for address in found}

    def _call(
        self, verb: str, one: Attachment, network: str, keys: dict[str, Any]
    ) -> tuple[dict[str, str], bytes]:
        conf = self.node.conf(cniVersion="1.1.0", name=network, **NETWORKS[network]) | keys
        return self.node.environment(verb, one[0], self.pod(one), one[1]), json.dumps(conf).encode()

    def call(self, verb: str, one: Attachment, network: str, **keys: object) -> Ended:
        env, stdin = self._call(verb, one, network, keys)
        return self.zygote.call(encoded(env), stdin)

    def killed(self, step: Step, verb: str, one: Attachment, network: str, **keys: object) -> Ended:
        """The executable itself, killed where it is about to make that system call."""
        env, stdin = self._call(verb, one, network, keys)
        return injector.strike(Launch((str(self.node.plugin),), env, stdin), step, injector.kill)


def addresses(ended: Ended) -> Ips:
    """The addresses of an ADD's result."""
    return tuple(one["address"].partition("/")[0] for one in json.loads(ended.stdout)["ips"])


def code(ended: Ended) -> int:
    """The code of an error object, 0 for a success."""
    return int(json.loads(ended.stdout)["code"]) if ended.status else 0


def valid(ones: set[Attachment]) -> dict[str, object]:
    """GC's list."""
    return {"cni.dev/valid-attachments": [{"containerID": one[0], "ifname": one[1]} for one in sorted(ones)]}
