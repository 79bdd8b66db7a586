"""Pods of a node in the soak: real ones, by the installed plugin, and such that are only in the state file."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Any

from tests.system.gobgp_rig import run
from tests.system.peers_rig import hold, release
from tests.system.plugin_node import Node as PluginNode
from tests.system.scrape import inside
from tests.system.soak_model import POOL, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.system.gobgp_rig import Member
    from tests.system.soak_model import Settings

# Networks of a node's pods: in its announced subnets, and outside of them.
INSIDE, OUTSIDE = "pods", "hosts"
PORT = 7000
CHECK = f"tcp://:{PORT} interval=1 fast=500ms timeout=1 rise=1 fall=2"
BACKLOG = 4096


class Pods:
    """Keeps the node's settings in step with the addresses that its pods hold."""

    def __init__(self, plugin: Path, member: Member, settings: Settings, changed: Callable[[], None]) -> None:
        self._member = member
        self._settings = settings
        self._changed = changed
        self._node = PluginNode(plugin, member.directory / "state", member.ns)
        self._networks: dict[str, str] = {}
        self._servers: dict[str, socket.socket] = {}
        self._count = 0

    @property
    def names(self) -> list[str]:
        return list(self._networks)

    def add(self, network: str, *vips: str) -> str:
        """A namespace and an ADD; who asks for VIPs listens, too."""
        self._count += 1
        container = f"{network}-{self._count}"
        pod = f"{self._member.ns}-{container}"
        run("ip", "netns", "add", pod)
        self._node.pods.append(pod)
        conf = self._conf(network)
        if vips:
            self._listen(container)
            conf["runtimeConfig"] = {"anycast": {"vips": list(vips), "check": CHECK}}
        result = self._node.add(container, pod, conf)
        self._networks[container] = network
        addresses = [ip_interface(one["address"]).ip for one in result["ips"]]
        if vips:
            via: dict[int, str] = {one.version: str(one) for one in addresses}
            self._settings.endpoints[container] = Endpoint(vips, via)
        self._note(container, list(map(str, addresses)))
        return container

    def turn(self, container: str) -> bool:
        """The server of an endpoint ends, or begins again; whether it listens."""
        endpoint = self._settings.endpoints[container]
        endpoint.listens = not endpoint.listens
        if endpoint.listens:
            self._listen(container)
        else:
            self._servers.pop(container).close()
        self._changed()
        return endpoint.listens

    def _listen(self, container: str) -> None:
        """The kernel takes the connections; nobody has to accept them."""
        with inside(f"{self._member.ns}-{container}"):
            self._servers[container] = socket.create_server(
                ("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
            )

    def invent(self, address: str) -> str:
        """One in the state file alone."""
        self._count += 1
        container = f"invented-{self._count}"
        hold(self._member, container, address)
        self._networks[container] = ""
        self._note(container, [address])
        return container

    def remove(self, container: str, *, namespace_first: bool = False) -> None:
        """A DEL, before or after the pod's namespace has gone."""
        network = self._networks.pop(container)
        if container in self._servers:
            self._servers.pop(container).close()  # it would keep the namespace alive
        if not network:
            release(self._member, container)
        else:
            pod = f"{self._member.ns}-{container}"
            if namespace_first:
                run("ip", "netns", "del", pod)
            self._node.delete(container, pod, self._conf(network))
            if not namespace_first:
                run("ip", "netns", "del", pod)
            self._node.pods.remove(pod)
        self._settings.addresses.pop(container)
        self._settings.endpoints.pop(container, None)
        self._changed()

    def left(self) -> dict[str, object]:
        """What is there of attachments."""
        links = {link for link in self._node.links() if link.startswith("veth")}
        return {"links": links, "held": self._node.held(), "namespaces": self._node.pods}

    def close(self) -> None:
        for server in self._servers.values():
            server.close()
        for pod in self._node.pods:
            run("ip", "netns", "del", pod, check=False)

    def _note(self, container: str, addresses: list[str]) -> None:
        subnets = [ip_network(subnet) for subnet in self._settings.subnets]
        self._settings.addresses[container] = tuple(
            text for text in addresses if not any(ip_address(text) in subnet for subnet in subnets)
        )
        self._changed()

    def _conf(self, network: str) -> dict[str, Any]:
        number = self._settings.number
        if network == INSIDE:
            subnets, bridge = self._settings.subnets, "cni0"
        else:
            subnets, bridge = (f"203.0.{112 + number}.0/24", f"2001:db8:{number}ff::/64"), "cni1"
        ranges = [[{"subnet": subnet}] for subnet in subnets]
        anycast = {"pools": [{"name": "edge", "addresses": POOL}]}
        ipam = {"type": "host-local", "ranges": ranges}
        return self._node.conf(name=network, bridge=bridge, ipam=ipam, anycast=anycast)
