"""The same service without the speaker: a plain next-hop group, made by hand, to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import netns
from lab.commands import run
from lab.load import drive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.anycast.stage import Stage
    from lab.runtime import Attachment
    from lab.topology import Address

VIP = "203.0.113.240"
GROUP = 100


class PlainGroup:
    """A VIP on a node, in a group that is not resilient; its pods are attached without it."""

    def __init__(self, stage: Stage, node: str) -> None:
        self._stage = stage
        self._node = node
        self._pods: dict[str, Attachment] = {}
        self._numbers: dict[str, int] = {}
        netns.hash_ports(stage.lab.namespace(node))
        rack = stage.rack_of(node)
        self._routed = ((rack, stage.node_address(node, 4)), ("spine", _address(stage, rack, "spine")))

    def add(self) -> str:
        """Adds a pod that serves the VIP and is in no group yet; returns its name."""
        lab = self._stage.lab
        number = len(self._numbers) + 1
        name = f"byhand-{number}"
        pod = self._pods[name] = lab.attach(name, self._node)
        self._numbers[name] = number
        run(["ip", "-n", pod.namespace, "address", "add", f"{VIP}/32", "dev", "lo"])
        argv = drive.server(name, lab.place(self._node).directory / f"{name}.health")
        lab.in_pod(pod, "server", argv).start()
        hop = ["id", str(number), "via", pod.address(4), "dev", "cni0"]
        run(["ip", "-n", lab.namespace(self._node), "nexthop", "add", *hop])
        return name

    def send_to(self, pods: Sequence[str]) -> None:
        """Makes these pods the members."""
        members = "/".join(str(self._numbers[pod]) for pod in pods)
        self._in_node("nexthop", "replace", "id", str(GROUP), "group", members)
        self._in_node("route", "replace", VIP, "nhid", str(GROUP))
        for router, gateway in self._routed:
            argv = [
                "ip",
                "-n",
                self._stage.lab.namespace(router),
                "route",
                "replace",
                VIP,
                "via",
                str(gateway),
            ]
            run(argv)

    def remove(self, pod: str) -> None:
        """Takes a pod away, out of the group first."""
        self._in_node("nexthop", "delete", "id", str(self._numbers[pod]))
        self._stage.lab.detach(self._pods.pop(pod))

    def close(self) -> None:
        """Removes all of it."""
        for pod in list(self._pods):
            self.remove(pod)
        for router, _ in self._routed:
            run(["ip", "-n", self._stage.lab.namespace(router), "route", "delete", VIP])

    def _in_node(self, *words: str) -> None:
        run(["ip", "-n", self._stage.lab.namespace(self._node), *words])


def _address(stage: Stage, member: str, other: str) -> Address:
    return stage.lab.topology.end(member, other).address(4)
