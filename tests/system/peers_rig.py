"""A node with gobgpd and speaker amid routers of other makes, each on a link of its own."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cni.allocation import Allocation
from cni.network import PodAddress
from cni.statefile import now
from cni.store import Store
from tests.system.gobgp_rig import Member
from tests.system.peers_routers import Bird, ExaBgp, Frr, Router

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ASN = 65001


def toml(**keys: object) -> str:
    """Lines of a table; dashes for underscores."""
    return "".join(f"{key.replace('_', '-')} = {json.dumps(value)}\n" for key, value in keys.items())


def peer(neighbour: str, asn: int, more: str = "", **keys: object) -> str:
    """A [[peer]] that is quick, at an address or an interface; `more` are tables below it."""
    where = "address" if "." in neighbour or ":" in neighbour else "interface"
    timers = "" if "[peer.timers]" in more else "[peer.timers]\nconnect-retry = 1\nhold = 9\nkeepalive = 3\n"
    return f"[[peer]]\n{toml(**{where: neighbour}, asn=asn, **keys)}{timers}{more}"


class Stage:
    """The node and its neighbours."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.members: list[Member] = []
        self.node = Member("node", directory)
        self.members.append(self.node)
        try:
            self.build()
        except BaseException:
            self.close()
            raise

    def build(self) -> None:
        """Makes the neighbours, where a stage has always the same."""

    def frr(self, name: str) -> Frr:
        router = Frr(name, self.directory, len(self.members))
        self._join(router)
        return router

    def bird(self, name: str) -> Bird:
        router = Bird(name, self.directory, len(self.members))
        self._join(router)
        return router

    def exabgp(self, name: str) -> ExaBgp:
        router = ExaBgp(name, self.directory, len(self.members))
        self._join(router)
        return router

    def _join(self, router: Router) -> None:
        self.members.append(router)
        join_router(self.node, router)

    def unnumber(self, router: Router) -> None:
        """Leaves nothing but link-local addresses on its link."""
        unnumber(self.node, router)

    def configure(self, peers: Sequence[str], more: str = "", bgp: str = "", metrics: str = "") -> None:
        """Writes the node's speaker.toml."""
        configure(self.node, ASN, "10.98.0.1", f"{bgp}\n", "".join(peers) + more, metrics)

    def start_node(self) -> None:
        self.node.start_gobgpd()
        self.node.start_speaker()

    def close(self) -> None:
        for member in self.members:
            member.close()


def configure(member: Member, asn: int, router_id: str, bgp: str, body: str, metrics: str = "") -> None:
    """Writes a speaker.toml whole, as an editor that renames does; `bgp` are more lines of [bgp]."""
    new = member.config.with_suffix(".new")
    new.write_text(
        f'[bgp]\nasn = {asn}\nrouter-id = "{router_id}"\n{bgp}'
        f'[gobgpd]\napi = "unix://{member.socket}"\n[speaker]\nmetrics = "{metrics}"\n'
        f'[state]\ndir = "{member.directory / "state"}"\n{body}'
    )
    new.rename(member.config)


def hold(member: Member, container: str, address: str) -> None:
    """A pod of this node gets an address, as the plugin would write it down."""
    store = Store(str(member.directory / "state"))
    store.begin()
    store.attach(Allocation("pods", container, "eth0", "/run/netns/x", f"host-{container}", ()), now())
    ip = ip_address(address)
    store.hold("pods", PodAddress(ip.packed, ip.max_prefixlen, b""), "", (container, "eth0"))
    store.commit()
    store.close()


def release(member: Member, container: str) -> None:
    """And loses it."""
    store = Store(str(member.directory / "state"))
    store.release(container, "eth0", list)
    store.close()


def join(left: Member, left_device: str, right: Member, right_device: str) -> None:
    """A veth pair between two members, up."""
    left.ip("link", "add", left_device, "type", "veth", "peer", "name", right_device, "netns", right.ns)
    left.ip("link", "set", left_device, "up")
    right.ip("link", "set", right_device, "up")


def join_router(node: Member, router: Router) -> None:
    """The router's link to the node, with an address of each family at both ends."""
    join(node, router.link, router, "node")
    addresses = {node: (router.node_v4, router.node_v6), router: (router.v4, router.v6)}
    for member, device in ((node, router.link), (router, "node")):
        v4, v6 = addresses[member]
        member.ip("address", "add", f"{v4}/24", "dev", device)
        member.ip("address", "add", f"{v6}/64", "dev", device, "nodad")


def unnumber(node: Member, router: Router) -> None:
    """Leaves nothing but link-local addresses on its link."""
    for member, device in ((node, router.link), (router, "node")):
        for version in ("-4", "-6"):
            member.ip(version, "address", "flush", "dev", device, "scope", "global")
