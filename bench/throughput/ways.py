"""Four ways from a pod on node1 to one on node2, side by side over the same link."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from lab import netns, observe, rig
from lab.commands import run
from lab.plan import plan
from lab.rig import Lab
from lab.topology import RackKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.installed import Installation

ANYPOD, PLAIN, BRIDGE, OVERLAY = "anypod", "plain routed veth", "bridge by hand", "VXLAN"
BRIDGE_NETFILTER = Path("/proc/sys/net/bridge")
VXLAN_BYTES = 50  # IPv4, UDP, VXLAN and Ethernet headers
NODES = ("node1", "node2")


@dataclass(frozen=True)
class Way:
    """From the pod in one namespace to the address of a pod in another."""

    name: str
    sender: str
    receiver: str
    address: str

    def single_packets(self, single: bool) -> None:
        """Has the pods' interfaces cut what is larger than a packet; otherwise they pass it on as it is."""
        for namespace in (self.sender, self.receiver):
            segments = "1" if single else "65535"
            run(["ip", "-n", namespace, "link", "set", "eth0", "gso_max_segs", segments])


@dataclass(frozen=True)
class Ways:
    """All ways, and the nodes' namespaces."""

    ways: list[Way]
    nodes: list[str]

    def bridge_netfilter(self, value: str) -> None:
        """Whether bridges show each packet to netfilter once more; only where the kernel has that at all."""
        for node in self.nodes:
            if BRIDGE_NETFILTER.exists():
                netns.write_settings(
                    node, value, [f"net/bridge/bridge-nf-call-{t}tables" for t in ("ip", "ip6", "arp")]
                )

    def undisturbed(self) -> None:
        """Refuses to go on where a way does not carry a packet."""
        for way in self.ways:
            run(netns.inside(way.sender, ["ping", "-c", "1", "-W", "2", way.address]))


@contextmanager
def standing(installation: Installation, name: str, mtu: int) -> Iterator[Ways]:
    """A lab of two linked nodes with speakers and gobgpd, and the ways; nothing of it stays."""
    lab = Lab(plan(name, RackKind.NONE), installation)
    lab.up()
    try:
        for node in NODES:
            uplink = lab.topology.ends(node)[0].device
            run(["ip", "-n", lab.namespace(node), "link", "set", uplink, "mtu", str(mtu)])
            observe.sessions_up(lab, node)
        yield Ways(
            [_anypod(lab, mtu), *_plain(lab, mtu), _overlay(lab, mtu)], [lab.namespace(n) for n in NODES]
        )
    finally:
        rig.down(name)


def _anypod(lab: Lab, mtu: int) -> Way:
    """Pods of the plugin, and routes that the speakers learned from each other."""
    for node in NODES:
        _conflist(lab, node, "pods", {"mtu": mtu})
    pods = [lab.attach(f"{node}-a", node) for node in NODES]
    for node, other in (NODES, NODES[::-1]):
        subnet = next(s for s in lab.topology.router(other).subnets if s.version == 4)
        observe.route_via(lab, node, subnet, [lab.topology.end(other, node).address(4)])
    return Way(ANYPOD, pods[0].namespace, pods[1].namespace, pods[1].address(4))


def _overlay(lab: Lab, mtu: int) -> Way:
    """Pods of the same plugin, and routes over a VXLAN device, as overlays make them (flannel's does)."""
    pods = []
    for number, (node, other) in enumerate((NODES, NODES[::-1]), start=1):
        namespace, ours = lab.namespace(node), lab.topology.end(node, other).address(4)
        remote = lab.topology.end(other, node).address(4)
        inner = mtu - VXLAN_BYTES
        subnet = [[{"subnet": f"10.246.{number}.0/24"}]]
        # A state directory of its own: the speaker is to announce nothing of this.
        apart = {"mtu": inner, "bridge": "cni-vx", "stateDir": f"{lab.place(node).directory}/overlay"}
        _conflist(lab, node, "overlay", apart, {"ranges": subnet, "routes": [{"dst": "0.0.0.0/0"}]})
        kind = ["type", "vxlan", "id", "7", "dstport", "4789", "local", str(ours), "remote", str(remote)]
        run(["ip", "-n", namespace, "link", "add", "vx0", "mtu", str(inner), *kind])
        run(["ip", "-n", namespace, "address", "add", f"10.246.0.{number}/24", "dev", "vx0"])
        run(["ip", "-n", namespace, "link", "set", "vx0", "up"])
        gateway = ip_address(f"10.246.0.{3 - number}")
        netns.add_route(namespace, ip_network(f"10.246.{3 - number}.0/24"), gateway)
        pods.append(lab.attach(f"{node}-o", node, "overlay"))
    return Way(OVERLAY, pods[0].namespace, pods[1].namespace, pods[1].address(4))


def _plain(lab: Lab, mtu: int) -> list[Way]:
    """Pods made by `ip`: one whose veth pair ends at the node and is routed there, one on a bridge."""
    made: list[Way] = []
    for name, subnets, host_end in ((PLAIN, 245, "plain0"), (BRIDGE, 247, "hand0")):
        pods = []
        for number, (node, other) in enumerate((NODES, NODES[::-1]), start=1):
            namespace, pod = lab.namespace(node), lab.topology.pod_namespace(f"{node}-{host_end}")
            netns.add(pod)
            pair = ["type", "veth", "peer", "name", "eth0", "mtu", str(mtu), "netns", pod]
            _on_node(namespace, ["add", "veth0" if name == BRIDGE else host_end, "mtu", str(mtu), *pair])
            if name == BRIDGE:
                _on_node(namespace, ["add", host_end, "type", "bridge"])
                _on_node(namespace, ["set", "veth0", "up", "master", host_end])
            for where, device, host in ((namespace, host_end, 1), (pod, "eth0", 2)):
                run(["ip", "-n", where, "address", "add", f"10.{subnets}.{number}.{host}/24", "dev", device])
                run(["ip", "-n", where, "link", "set", device, "up"])
            netns.add_default_routes(pod, [ip_address(f"10.{subnets}.{number}.1")])
            far = ip_network(f"10.{subnets}.{3 - number}.0/24")
            netns.add_route(namespace, far, lab.topology.end(other, node).address(4))
            pods.append(pod)
        made.append(Way(name, pods[0], pods[1], f"10.{subnets}.2.2"))
    return made


def _on_node(namespace: str, words: list[str]) -> None:
    run(["ip", "-n", namespace, "link", *words])


def _conflist(
    lab: Lab, node: str, name: str, keys: dict[str, object], ipam: dict[str, object] | None = None
) -> None:
    """A conflist like the lab's own but for some keys."""
    directory = lab.place(node).conflists
    document = json.loads((directory / "10-pods.conflist").read_text())
    plugin = document["plugins"][0]
    plugin.update(keys)
    plugin["ipam"].update(ipam or {})
    document["name"] = name
    path = directory / f"10-{name}.conflist"
    path.touch(0o600)
    path.write_text(json.dumps(document))
