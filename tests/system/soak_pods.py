"""Pods of a node in the soak: real ones, by the installed plugin, and such that are only in the state file."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Any

from tests.system.gobgp_rig import run
from tests.system.peers_rig import hold, release
from tests.system.plugin_node import Node as PluginNode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.system.gobgp_rig import Member
    from tests.system.soak_model import Settings

# Networks of a node's pods: in its announced subnets, and outside of them.
INSIDE, OUTSIDE = "pods", "hosts"


class Pods:
    """Keeps the node's settings in step with the addresses that its pods hold."""

    def __init__(self, plugin: Path, member: Member, settings: Settings, changed: Callable[[], None]) -> None:
        self._member = member
        self._settings = settings
        self._changed = changed
        self._node = PluginNode(plugin, member.directory / "state", member.ns)
        self._networks: dict[str, str] = {}
        self._count = 0

    @property
    def names(self) -> list[str]:
        return list(self._networks)

    def add(self, network: str) -> str:
        """A namespace and an ADD."""
        self._count += 1
        container = f"{network}-{self._count}"
        pod = f"{self._member.ns}-{container}"
        run("ip", "netns", "add", pod)
        self._node.pods.append(pod)
        result = self._node.add(container, pod, self._conf(network))
        self._networks[container] = network
        self._note(container, [str(ip_interface(one["address"]).ip) for one in result["ips"]])
        return container

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
        self._changed()

    def left(self) -> dict[str, object]:
        """What is there of attachments."""
        links = {link for link in self._node.links() if link.startswith("veth")}
        return {"links": links, "held": self._node.held(), "namespaces": self._node.pods}

    def close(self) -> None:
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
        return self._node.conf(name=network, bridge=bridge, ipam={"type": "host-local", "ranges": ranges})
