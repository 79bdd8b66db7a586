"""A lab with a service that comes and goes as a measurement wants it."""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from ipaddress import ip_network
from typing import TYPE_CHECKING

from lab import netns, observe, rig, routing
from lab.commands import attempt, run
from lab.configs import IDLE
from lab.errors import LabError
from lab.load import drive
from lab.plan import plan
from lab.rig import Lab
from lab.service import VERSIONS, Service
from lab.topology import Layout, RackKind
from lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab.installed import Installation
    from lab.runtime import Attachment
    from lab.topology import Address

SECONDS = 60.0  # for sessions, and for what follows a change


class Stage:
    """The lab, its pods, and waiting until all of it has heard of a change."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.pods: dict[str, Attachment] = {}
        self._numbers = itertools.count(1)

    @property
    def client(self) -> str:
        """The client's namespace."""
        return self.lab.namespace("client")

    def sources(self, version: int) -> str:
        """The client's 64 addresses, as load is told them."""
        return ",".join(str(prefix) for prefix in self.lab.topology.sources if prefix.version == version)

    def service(self, pool: str) -> Service:
        """A service with VIPs of that pool."""
        return Service(self.lab, pool)

    def add(self, service: Service, node: str, **asked: object) -> str:
        """Adds a pod and returns its name, which no other pod had."""
        name = f"{node}-{next(self._numbers)}"
        self.pods[name] = service.add(name, node, **asked)  # type: ignore[arg-type]
        return name

    def remove(self, pod: str) -> None:
        """Has the plugin detach a pod."""
        self.lab.detach(self.pods.pop(pod))

    def clear(self) -> None:
        """Removes all pods."""
        for pod in list(self.pods):
            self.remove(pod)

    def rack_of(self, node: str) -> str:
        """The rack that a node is under."""
        return self.lab.topology.uphill(node).member

    def node_address(self, node: str, version: int) -> Address:
        """Where its rack sends what is for a node."""
        return self.lab.topology.end(node, self.rack_of(node)).address(version)

    def shares(self, member: str, service: Service, version: int) -> dict[str, int]:
        """Weight of each next hop of a VIP at a member; nodes by their names, others by their addresses."""
        names = {self.node_address(node.name, version): node.name for node in self.lab.topology.nodes}
        found = routing.weights(self.lab.namespace(member), ip_network(service.prefix(version)))
        return {names.get(address, str(address)): weight for address, weight in found.items()}

    def await_nodes(self, rack: str, service: Service, shares: Mapping[str, int]) -> None:
        """Waits until a rack sends a service to these nodes in this proportion, over IPv4 and IPv6."""
        total = sum(shares.values())
        for version in VERSIONS:
            until(
                lambda version=version: self.shares(rack, service, version),  # type: ignore[misc]
                lambda seen: (
                    seen.keys() == shares.keys()
                    and all(abs(seen[n] / sum(seen.values()) - s / total) < 0.02 for n, s in shares.items())
                ),
                seconds=SECONDS,
                what=f"{rack} sends {service.vip(version)} to {dict(shares)}",
            )

    def await_spine(self, service: Service, racks: int) -> None:
        """Waits until the spine has so many next hops for a service."""
        for version in VERSIONS:
            until(
                lambda version=version: self.shares("spine", service, version),  # type: ignore[misc]
                lambda seen: len(seen) == racks,
                seconds=SECONDS,
                what=f"spine: {racks} next hops for {service.vip(version)}",
            )

    def await_client(self, service: Service) -> None:
        """Waits until the client's connections are answered."""
        self.await_spine(service, len(self.lab.topology.racks))
        for version in VERSIONS:
            until(
                lambda version=version: drive.spread(self.client, service.vip(version), 20).failed,  # type: ignore[misc]
                lambda failed: not failed,
                seconds=SECONDS,
                what=f"{service.vip(version)} answers the client",
            )

    def await_members(self, node: str, service: Service, pods: set[str]) -> None:
        """Waits until each of these pods answers new connections of their node, and no other does.

        And until the buckets that this kept busy are idle, and so could be given to whom they belong.
        """
        namespace = self.lab.namespace(node)
        for version in VERSIONS:
            until(
                lambda version=version: set(drive.spread(namespace, service.vip(version), 200).pods),  # type: ignore[misc]
                lambda seen: seen == pods,
                seconds=SECONDS,
                what=f"{service.vip(version)} is answered by {sorted(pods)}",
            )
        time.sleep(1.5 * IDLE)

    def anypod(self, node: str, *words: str) -> str:
        """Runs `anypod` on a node as its operator."""
        state = str(self.lab.place(node).state)
        argv = [*self.lab.installation.anypod, *words, "--state-dir", state]
        done = attempt(netns.inside(self.lab.namespace(node), argv), seconds=SECONDS)
        if done.status != 0:
            raise LabError(f"{node}: anypod {' '.join(words)}: {done.reason}")
        return done.stdout


def silence(namespace: str, device: str) -> None:
    """A member that nothing leaves and nothing reaches any more, while its link stays up."""
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} device {device} priority -500; drop; }};"
        for hook in ("ingress", "egress")
    )
    run(netns.inside(namespace, ["nft", "-f", "-"]), stdin=f"table netdev silence {{ {chains} }};")


def unsilence(namespace: str) -> None:
    """Takes that back."""
    run(netns.inside(namespace, ["nft", "delete", "table", "netdev", "silence"]))


@contextmanager
def standing(installation: Installation, layout: Layout, name: str) -> Iterator[Stage]:
    """A lab whose sessions are up; nothing of it stays."""
    lab = Lab(plan(name, RackKind.FRR, layout), installation)
    lab.up()
    try:
        for node in lab.topology.nodes:
            observe.sessions_up(lab, node.name)
        yield Stage(lab)
    finally:
        rig.down(name)
