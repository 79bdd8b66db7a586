"""A lab that stands or is to stand: brings a topology up, attaches pods, takes everything down."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab import daemons, installed, netns
from lab.errors import LabError
from lab.plan import plan
from lab.processes import Program, end_all
from lab.runtime import Attachment, Runtime
from lab.topology import NAME, POD_NAME, Layout, RackKind, Topology, namespace_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.installed import Installation

HOME = Path("/run/anypod-lab")
# One of the settings that a lab makes in its namespaces.
SETTINGS = "/proc/sys/net/ipv4/conf/default/rp_filter"
NETNS_WAS_ABSENT = "netns-directory-was-absent"  # a note in HOME: the last lab takes /run/netns away again


@dataclass(frozen=True, slots=True)
class Lab:
    """Topology and installation of one lab; what runs and exists is asked from the machine each time."""

    topology: Topology
    installation: Installation

    @property
    def directory(self) -> Path:
        """Everything that the lab writes is below it."""
        return HOME / self.topology.name

    def place(self, router: str) -> daemons.Place:
        """The files of a router."""
        return daemons.Place(self.directory / self.topology.router(router).name)

    def programs(self, router: str) -> tuple[Program, ...]:
        """The programs of a router, in the order in which they are started."""
        found = self.topology.router(router)
        return daemons.programs(found, self.topology, self.place(router), self.installation)

    def program(self, router: str, name: str) -> Program:
        """One program of a router: "gobgpd", "speaker", "zebra", "bgpd" or "bird"."""
        for program in self.programs(router):
            if program.name == name:
                return program
        raise LabError(f"{router} of lab {self.topology.name} runs no {name}")

    def namespace(self, member: str) -> str:
        """The namespace of a member or a pod that exists."""
        name = self.topology.namespace(member)
        pod = self.topology.pod_namespace(member)
        existing = netns.names()
        if member in self.topology.members and name in existing:
            return name
        if pod in existing:
            return pod
        known = ", ".join([*self.topology.members, *self.pods()])
        raise LabError(f"lab {self.topology.name} has no member or pod {member!r}; it has {known}")

    def pods(self) -> tuple[str, ...]:
        """Names of the pods that exist."""
        start = self.topology.pod_namespace("")
        return tuple(name.removeprefix(start) for name in netns.names() if name.startswith(start))

    def up(self) -> None:
        """Claims the name, builds the lab and starts its programs; after a failure nothing of it is left."""
        self.claim()
        try:
            self.build()
        except BaseException:
            down(self.topology.name)
            raise

    def claim(self) -> None:
        """Takes the lab's name; from here on `down` is due. The directory is made first and removed last."""
        require(self.topology.rack)
        netns_was_absent = not netns.DIRECTORY.exists()
        HOME.mkdir(mode=0o700, exist_ok=True)
        try:
            self.directory.mkdir(mode=0o700)
        except FileExistsError:
            name = self.topology.name
            raise LabError(
                f"lab {name} is up already; take it down with: anypod lab down --name {name}"
            ) from None
        if netns_was_absent:
            (HOME / NETNS_WAS_ABSENT).touch(0o600)
        manifest = self.directory / "lab.json"
        manifest.touch(0o600)
        kinds = {"rack": self.topology.rack.value, "topology": self.topology.layout.value}
        manifest.write_text(json.dumps(kinds) + "\n")

    def build(self) -> None:
        """Makes namespaces, links and files and starts the programs."""
        topology = self.topology
        routers = {router.name for router in topology.routers}
        for member in topology.members:
            netns.add(topology.namespace(member))
            netns.configure(topology.namespace(member))
            if member in routers:
                netns.set_forwarding(topology.namespace(member), "1")
        for router in (*topology.racks, *((topology.spine,) if topology.spine else ())):
            netns.hash_ports(topology.namespace(router.name))
        for link in topology.links:
            netns.add_link(link, topology.namespace(link.left.member), topology.namespace(link.right.member))
        if topology.client:
            self._connect(topology.client)
        for router in topology.routers:
            daemons.write_files(router, topology, self.place(router.name))
        for router in topology.routers:
            for program in self.programs(router.name):
                program.start()

    def _connect(self, client: str) -> None:
        """Gives the client its way out, and its further addresses a way in."""
        topology = self.topology
        gateway = topology.uphill(client)
        own, router = topology.namespace(client), topology.namespace(gateway.member)
        netns.add_default_routes(own, [address.ip for address in gateway.addresses])
        for prefix in topology.sources:
            here = topology.end(client, gateway.member).address(prefix.version)
            netns.own_prefix(own, prefix)
            netns.add_route(router, prefix, here)

    def attach(
        self,
        pod: str,
        node: str,
        network: str = "pods",
        runtime_config: Mapping[str, object] | None = None,
    ) -> Attachment:
        """Makes a pod's namespace and has the plugin attach it, as a container runtime does."""
        if not POD_NAME.fullmatch(pod):
            raise LabError(f"pod name {pod!r} is not usable; use 1 to 20 of a-z, 0-9 and dashes")
        namespace = self.topology.pod_namespace(pod)
        netns.add(namespace)
        runtime = self._runtime(node)
        result = runtime.attach(self._container(pod), namespace, network, runtime_config or {})
        addresses = tuple(str(ip["address"]) for ip in result.get("ips", []))
        return Attachment(pod, node, network, namespace, addresses)

    def check(self, attachment: Attachment) -> None:
        """Has the plugin check an attachment."""
        runtime = self._runtime(attachment.node)
        runtime.check(self._container(attachment.pod), attachment.namespace, attachment.network)

    def detach(self, attachment: Attachment) -> None:
        """Has the plugin detach a pod, then removes its namespace and what ran in it."""
        end_all([attachment.namespace])
        runtime = self._runtime(attachment.node)
        runtime.detach(self._container(attachment.pod), attachment.namespace, attachment.network)
        netns.delete(attachment.namespace)

    def in_pod(self, attachment: Attachment, name: str, argv: tuple[str, ...]) -> Program:
        """A program to be started in a pod, with its files among its node's."""
        directory = self.place(attachment.node).directory
        return Program(f"{attachment.pod}-{name}", attachment.namespace, argv, directory)

    def _container(self, pod: str) -> str:
        return f"{self.topology.name}-{pod}"

    def _runtime(self, node: str) -> Runtime:
        place = self.place(node)
        return Runtime(
            self.installation.plugin, self.topology.namespace(node), place.conflists, place.results
        )


def new(name: str, rack: RackKind, layout: Layout = Layout.RACK) -> Lab:
    """A lab that is not up yet."""
    return Lab(plan(name, rack, layout), installed.find())


def require(rack: RackKind) -> None:
    """Refuses to go on where no lab with such a rack can be made."""
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces and needs root; run it with sudo")
    if not os.access(SETTINGS, os.W_OK):
        raise LabError(
            f"{SETTINGS} can't be written, as in most containers; run the lab on a machine or in a privileged container"
        )
    daemons.require(rack)


def standing(name: str) -> Lab:
    """The lab of that name, which must be up."""
    try:
        manifest = json.loads((HOME / name / "lab.json").read_text())
        kinds = RackKind(manifest["rack"]), Layout(manifest["topology"])
    except FileNotFoundError:
        raise LabError(f"lab {name} is not up; bring it up with: anypod lab up --name {name}") from None
    except PermissionError:
        raise LabError("the lab belongs to root; run it with sudo") from None
    except (ValueError, KeyError, TypeError):
        raise LabError(f"{HOME / name}/lab.json is damaged; run: anypod lab down --name {name}") from None
    return new(name, *kinds)


def down(name: str) -> bool:
    """Ends and removes everything of a lab, half made ones too; False when there was nothing."""
    if not NAME.fullmatch(name):
        raise LabError(f"lab name {name!r} is not usable; use 1 to 16 of a-z and 0-9, like --name lab")
    if os.geteuid() != 0:
        raise LabError("the lab belongs to root; run it with sudo")
    namespaces = [found for found in netns.names() if found.startswith(namespace_prefix(name))]
    existed = bool(namespaces) or (HOME / name).exists()
    end_all(namespaces)
    for namespace in namespaces:
        netns.delete(namespace)
    daemons.remove_elsewhere(namespace_prefix(name))
    shutil.rmtree(HOME / name, ignore_errors=True)
    _leave()
    return existed


def _leave() -> None:
    """The last lab removes the directories that the first one made."""
    try:
        others = [entry.name for entry in HOME.iterdir() if entry.name != NETNS_WAS_ABSENT]
    except FileNotFoundError:
        return
    if others:
        return
    if (HOME / NETNS_WAS_ABSENT).exists():
        netns.remove_directory()
        (HOME / NETNS_WAS_ABSENT).unlink(missing_ok=True)
    HOME.rmdir()
