"""A peer outside of a node that has no route to its pods: what it sees as the source of their packets."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.system.plugin_node import Node

RECEIVER = """import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(("::", 9)); s.settimeout(10); print("ready", flush=True)
print(s.recvfrom(99)[1][0].removeprefix("::ffff:"))"""
SENDER = """import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
socket.socket(family, socket.SOCK_DGRAM).sendto(b"x", (sys.argv[1], 9))"""
NODE = {"v4": "192.0.2.1", "v6": "2001:db8::1"}
PEER = {"v4": "192.0.2.2", "v6": "2001:db8::2"}


class Outside:
    """A namespace behind the node's `up0`."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.name = node.pod()
        node.execute(node.name, *f"ip link add up0 type veth peer name eth0 netns {self.name}".split())
        for namespace, device, addresses in ((node.name, "up0", NODE), (self.name, "eth0", PEER)):
            for address, length in zip(addresses.values(), (24, 64), strict=True):
                node.execute(namespace, *f"ip addr add {address}/{length} dev {device} nodad".split())
            node.execute(namespace, "ip", "link", "set", device, "up")

    def source_seen(self, pod: str, family: str) -> str:
        """Whose address a packet of `pod` carries here: the node's or the pod's own."""
        source = self.source_at(self.name, pod, PEER[family])
        return "the node" if source == NODE[family] else source

    def source_at(self, receiver: str, sender: str, address: str) -> str:
        """The source of a packet to `address` as `receiver` gets it."""
        argv = ["ip", "netns", "exec", receiver, "python3", "-c", RECEIVER]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            self.node.execute(sender, "python3", "-c", SENDER, address)
            return process.stdout.readline().strip()

    def answers(self, pod: str, family: str) -> bool:
        """Whether what this peer answers finds the pod."""
        return self.node.pings(pod, PEER[family])
