"""The steps of the demo: that pods reach each other by plain routing, each compared with what is observed."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from signal import SIGTERM
from typing import TYPE_CHECKING

from lab import measure, netns, observe, routing
from lab.errors import LabError
from lab.plan import SERVICE_RANGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.rig import Lab
    from lab.runtime import Attachment
    from lab.topology import Address, Prefix

VERSIONS = (4, 6)
PODS = {"pod-a": "node1", "pod-b": "node2"}
LONE_POD = "pod-c"
WAYPOINTS = ("node1", "rack", "node2", "pod-b")  # from pod-a to pod-b
SENT_TTL = 64

Step = tuple[str, "Callable[[], list[str]]"]


class Demo:
    """The steps of one demo, and what earlier steps hand to later ones."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.pods: dict[str, Attachment] = {}

    def steps(self) -> list[Step]:
        """All steps but the last in their order; each raises LabError when it does not hold."""
        return [
            (
                "Two nodes, a rack router and a client stand, each a network namespace with its own links",
                self.stand,
            ),
            ("The CNI plugin brings up a pod on each node, with an IPv4 and an IPv6 address", self.attach),
            ("The nodes' BGP speakers and the rack router talk to each other", self.sessions),
            ("Each node's pod subnets are in the kernel of the rack and of the other node", self.learned),
            (
                "A pod on node1 reaches a pod on node2 over IPv4, hop by hop by plain routing",
                lambda: self.reach(4),
            ),
            (
                "A pod on node1 reaches a pod on node2 over IPv6, hop by hop by plain routing",
                lambda: self.reach(6),
            ),
            ("There is no overlay and no NAT: no tunnel device, no address translation", self.plain),
            ("The client beyond the rack reaches a pod, and is seen by it with its own address", self.client),
            ("A range that both nodes announce has both as next hops in the rack (ECMP)", self.ecmp),
            (
                "A pod outside its node's subnets is announced by itself while it lives, and no longer",
                self.lone_pod,
            ),
            ("Deleting the pods takes their interfaces away", self.detach),
            (
                "Stopping a node withdraws its routes everywhere; what both announced stays with the other",
                self.stop_node,
            ),
        ]

    def stand(self) -> list[str]:
        """Brings the lab up and looks whether all of it is there."""
        lab, topology = self.lab, self.lab.topology
        lab.build()
        seen = []
        for member in topology.members:
            devices = netns.devices(lab.namespace(member))
            expected = {"lo", *(end.device for end in topology.ends(member))}
            if set(devices) != expected:
                raise LabError(
                    f"{member} should have the devices {sorted(expected)} up, it has {sorted(devices)}"
                )
            links = ", ".join(
                f"{end.device} {end.address(4)} {end.address(6)}" for end in topology.ends(member)
            )
            seen.append(f"{member:7} {links}")
        for router in topology.routers:
            for program in lab.programs(router.name):
                if program.pid() is None:
                    raise LabError("\n".join(observe.last_words(lab, [router.name])))
        return seen

    def attach(self) -> list[str]:
        """Attaches the pods; what the plugin said must be what the kernel has."""
        seen = []
        for pod, node in PODS.items():
            seen.append(self._attach(pod, node, "pods"))
            subnets = self.lab.topology.router(node).subnets
            for address in self.pods[pod].addresses:
                if not any(ip_address(address.partition("/")[0]) in subnet for subnet in subnets):
                    raise LabError(f"{pod} was given {address}, which is in no subnet of {node}")
        return seen

    def _attach(self, pod: str, node: str, network: str) -> str:
        attachment = self.lab.attach(pod, node, network)
        self.pods[pod] = attachment
        given = {ip_interface(address) for address in attachment.addresses}
        has = {ip_interface(address) for address in netns.addresses(attachment.namespace, "eth0")}
        if given != has or {interface.version for interface in given} != set(VERSIONS):
            raise LabError(
                f"{pod}: the plugin reported {sorted(map(str, given))}, eth0 has {sorted(map(str, has))}"
            )
        self.lab.check(attachment)
        self.lab.in_pod(attachment, "server", measure.server()).start()
        return f"{pod} on {node}: {', '.join(attachment.addresses)}"

    def sessions(self) -> list[str]:
        """Waits for the sessions, as the rack sees them."""
        seen = observe.sessions_up(self.lab, "rack")
        members = {str(p.remote): p.remote_member for p in self.lab.topology.peerings("rack")}
        return sorted(f"{members.get(s.remote, '?')}  AS {s.asn}  {s.remote}  established" for s in seen)

    def learned(self) -> list[str]:
        """Waits for the subnets in the three kernels."""
        for node in self.lab.topology.nodes:
            for subnet in node.subnets:
                observe.route_via(self.lab, "rack", subnet, [self._end(node.name, "rack", subnet)])
                for other in self.lab.topology.nodes:
                    if other is not node:
                        observe.route_via(
                            self.lab, other.name, subnet, [self._end("rack", other.name, subnet)]
                        )
        return [
            "the rack's routing table:",
            *(f"  {line}" for v in VERSIONS for line in self._table("rack", v)),
        ]

    def _end(self, member: str, towards: str, prefix: Prefix) -> Address:
        """The address by which `towards` reaches its neighbour `member`, in the prefix' family."""
        return self.lab.topology.end(member, towards).address(prefix.version)

    def _table(self, member: str, version: int) -> list[str]:
        return routing.route_table(self.lab.namespace(member), version)

    def reach(self, version: int) -> list[str]:
        """From pod-a to pod-b: each hop, the source address and the TTL that arrive."""
        source, target = self.pods["pod-a"], self.pods["pod-b"]
        own, far = source.address(version), target.address(version)
        saw = observe.reply(source.namespace, far)
        if saw.source != own:
            raise LabError(
                f"pod-b saw {saw.source} as the sender, pod-a has {own}: something rewrites addresses"
            )
        routers = len(WAYPOINTS) - 1
        if saw.ttl != SENT_TTL - routers:
            raise LabError(
                f"pod-b saw TTL {saw.ttl}; {routers} routers on the way leave {SENT_TTL - routers}"
            )
        hops = measure.trace(source.namespace, far)
        names = tuple(self._name(hop.address) for hop in hops)
        listing = [
            f"hop {n}  {name:6} {hop.address}"
            for n, (name, hop) in enumerate(zip(names, hops, strict=True), 1)
        ]
        if names != WAYPOINTS or not hops[-1].arrived:
            raise LabError("\n".join([f"the path should be {', '.join(WAYPOINTS)}, it is:", *listing]))
        ttl = "TTL" if version == 4 else "hop limit"
        return [
            *listing,
            f"pod-b saw the sender {saw.source} (pod-a's own), {ttl} {SENT_TTL} - {routers} = {saw.ttl}",
        ]

    def _name(self, address: str) -> str:
        for pod, attachment in self.pods.items():
            if any(given.partition("/")[0] == address for given in attachment.addresses):
                return pod
        try:
            return self.lab.topology.owner(ip_address(address)) or "?"
        except ValueError:
            return "?"

    def plain(self) -> list[str]:
        """Every router's devices and nftables."""
        seen = []
        for router in self.lab.topology.routers:
            namespace = self.lab.namespace(router.name)
            devices = observe.only_plain_devices(namespace)
            observe.no_address_translation(namespace)
            listing = ", ".join(f"{name} ({kind})" for name, kind in sorted(devices.items()))
            seen.append(f"{router.name}: {listing}; no nat chain")
        return seen

    def client(self) -> list[str]:
        """From the client to a pod on each node."""
        seen = []
        for pod in PODS:
            for version in VERSIONS:
                own = str(self.lab.topology.end("client", "rack").address(version))
                far = self.pods[pod].address(version)
                saw = observe.reply(self.lab.namespace("client"), far)
                if saw.source != own or saw.ttl != SENT_TTL - 2:
                    raise LabError(
                        f"{pod} saw {saw.source} with TTL {saw.ttl}, not {own} with {SENT_TTL - 2}"
                    )
                seen.append(f"client {own} → {pod} {far}: answered, and {pod} saw {saw.source}")
        return seen

    def ecmp(self) -> list[str]:
        """Both nodes are next hops of the shared ranges in the rack's kernel."""
        seen = []
        for shared in SERVICE_RANGES:
            nodes = [self._end(node.name, "rack", shared) for node in self.lab.topology.nodes]
            observe.route_via(self.lab, "rack", shared, nodes)
            seen.append(f"{shared} via {' and '.join(map(str, nodes))}")
        return seen

    def lone_pod(self) -> list[str]:
        """A pod of the second network: host routes come with it, work, and go with it."""
        seen = [self._attach(LONE_POD, "node2", "single")]
        attachment = self.pods[LONE_POD]
        hosts = [ip_network(attachment.address(version)) for version in VERSIONS]
        for host in hosts:
            observe.route_via(self.lab, "rack", host, [self._end("node2", "rack", host)])
            observe.route_via(self.lab, "node1", host, [self._end("rack", "node1", host)])
            saw = observe.reply(self.lab.namespace("client"), attachment.address(host.version))
            seen.append(
                f"{host} is at the rack and at node1; the client reaches it, TTL on arrival {saw.ttl}"
            )
        self._detach(LONE_POD)
        for host in hosts:
            observe.route_via(self.lab, "rack", host, [])
            observe.route_via(self.lab, "node1", host, [])
        return [*seen, f"{LONE_POD} deleted: both host routes are gone from the rack and from node1"]

    def _detach(self, pod: str) -> None:
        attachment = self.pods.pop(pod)
        self.lab.detach(attachment)

    def detach(self) -> list[str]:
        """Deletes the pods; no device of theirs may stay in a node, and the nodes stay announced."""
        seen = []
        for pod in PODS:
            self._detach(pod)
        for node in self.lab.topology.nodes:
            ports = netns.devices(self.lab.namespace(node.name))
            uplinks = {end.device for end in self.lab.topology.ends(node.name)}
            left = sorted(name for name, kind in ports.items() if kind == "veth" and name not in uplinks)
            if left:
                raise LabError(f"{node.name} still has interfaces of pods: {', '.join(left)}")
            for subnet in node.subnets:
                observe.route_via(self.lab, "rack", subnet, [self._end(node.name, "rack", subnet)], seconds=0)
            seen.append(f"{node.name} has {', '.join(sorted(ports))}; its pod subnets stay announced")
        return seen

    def stop_node(self) -> list[str]:
        """Ends node2's programs and takes its link down."""
        for name in ("speaker", "gobgpd"):
            self.lab.program("node2", name).signal(SIGTERM)
        netns.set_link(self.lab.namespace("node2"), "uplink", "down")
        for subnet in self.lab.topology.router("node2").subnets:
            observe.route_via(self.lab, "rack", subnet, [])
            observe.route_via(self.lab, "node1", subnet, [])
        for shared in SERVICE_RANGES:
            observe.route_via(self.lab, "rack", shared, [self._end("node1", "rack", shared)])
        for subnet in self.lab.topology.router("node1").subnets:
            observe.route_via(self.lab, "rack", subnet, [self._end("node1", "rack", subnet)], seconds=0)
        return [
            "the rack's routing table now:",
            *(f"  {line}" for v in VERSIONS for line in self._table("rack", v)),
        ]
