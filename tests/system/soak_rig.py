"""Three nodes and two racks to whom things happen, and a model of what everybody should know in the end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from lab import netns, routing
from tests.system.gobgp_rig import Member, wait
from tests.system.peers_rig import configure, hold, join, peer, release
from tests.system.peers_routers import Bird, Frr, bird_conf, frr_conf

if TYPE_CHECKING:
    from speaker.bgp import Address, Prefix

RACKS = (1, 2)
NODES = (1, 2, 3)
VERSIONS = (4, 6)
PROTOCOL = "177"
SETTLED_SECONDS = 90
Table = dict["Prefix", frozenset["Address"]]


def address(version: int, rack: int, node: int, host: int) -> str:
    """On the link between a rack (host 1) and a node (host 2)."""
    return f"10.{90 + rack}.{node}.{host}" if version == 4 else f"fd{90 + rack}:{node}::{host}"


def prefix(text: str) -> Prefix:
    return ip_network(text)


@dataclass
class Node:
    """A node and what its configuration and its pods are now."""

    number: int
    member: Member
    racks: set[int] = field(default_factory=lambda: set(RACKS))
    extra: bool = False
    med: int = 0
    pods: dict[str, str] = field(default_factory=dict)

    @property
    def subnets(self) -> tuple[str, str]:
        return f"10.244.{self.number}.0/24", f"fd24:{self.number}::/64"

    @property
    def peers(self) -> set[str]:
        return {address(version, rack, self.number, 1) for rack in self.racks for version in VERSIONS}

    def announced(self, version: int) -> set[Prefix]:
        """All that it announces of one family."""
        texts = [*self.subnets, *self.pods.values(), *([f"10.96.{self.number}.0/24"] if self.extra else [])]
        return {found for found in map(prefix, texts) if found.version == version}

    def write(self) -> None:
        """Writes its speaker.toml."""
        peers = "".join(
            peer(address(version, rack, self.number, 1), 65500 + rack)
            for rack in sorted(self.racks)
            for version in VERSIONS
        )
        extra = f'prefixes = ["10.96.{self.number}.0/24"]\n' if self.extra else ""
        med = f"med = {self.med}\n" if self.med else ""
        announce = f"[announce]\nsubnets = {json.dumps(self.subnets)}\n{extra}{med}"
        # No regular comparison comes to the rescue of what an event should have caused.
        body = f"{peers}{announce}[timers]\nstale-routes = 20\nresync = 900\n"
        configure(self.member, 65000 + self.number, f"10.9.0.{self.number}", "", body)

    def hold(self, container: str, pod: str) -> None:
        hold(self.member, container, pod)
        self.pods[container] = pod

    def release(self, container: str) -> None:
        release(self.member, container)
        del self.pods[container]

    def kernel(self) -> Table:
        """Its kernel's learned routes; own subnets are unreachable and have no next hop."""
        return {
            route.prefix: route.gateways
            for version in VERSIONS
            for route in routing.routes(self.member.ns, version)
            if route.protocol == PROTOCOL
        }

    def usage(self, name: str) -> tuple[int, int]:
        """Open descriptors and resident KiB of one of its processes."""
        process = Path("/proc", str(self.member.processes[name].pid))
        resident = (process / "status").read_text().partition("VmRSS:")[2].split()[0]
        return len(list((process / "fd").iterdir())), int(resident)


class FrrRack(Frr):
    """Rack 1: FRR."""

    prefixes: set[str]

    def text(self) -> str:
        lines, activate = ["no bgp default ipv4-unicast"], dict.fromkeys(VERSIONS, "")
        for node in NODES:
            for version in VERSIONS:
                neighbour = f"neighbor {address(version, 1, node, 2)}"
                lines += [f"{neighbour} remote-as {65000 + node}", f"{neighbour} timers connect 1"]
                activate[version] += f"{neighbour} activate\n"
        own = "".join(f"network {one}\n" for one in sorted(self.prefixes))
        return frr_conf(65501, 1, "\n".join(lines), activate[4] + own, activate[6])

    def begin(self) -> None:
        self.start_frr(self.text())

    def toggle(self, one: str) -> None:
        self.prefixes ^= {one}
        self.settings("bgpd").write_text(self.text())
        no = "" if one in self.prefixes else "no "
        self.vtysh("configure", "router bgp 65501", "address-family ipv4 unicast", f"{no}network {one}")

    def end(self) -> None:
        self.kill("bgpd")

    def restart(self) -> None:
        self.start_daemon("bgpd")


class BirdRack(Bird):
    """Rack 2: BIRD."""

    prefixes: set[str]

    def text(self) -> str:
        own = " ".join(f"route {one} blackhole;" for one in sorted(self.prefixes))
        sessions = [
            f"protocol bgp node{node}_{version} {{ local {address(version, 2, node, 1)} as 65502;"
            f" neighbor {address(version, 2, node, 2)} as {65000 + node};"
            " connect delay time 1; connect retry time 1; error wait time 1, 2; hold time 9;"
            f" ipv{version} {{ import all; export where source = RTS_BGP || source = RTS_STATIC; }}; }}"
            for node in NODES
            for version in VERSIONS
        ]
        return bird_conf(2, f"protocol static {{ ipv4; {own} }}", *sessions)

    def begin(self) -> None:
        self.start_bird(self.text())

    def toggle(self, one: str) -> None:
        self.prefixes ^= {one}
        self.write(self.text())
        self.birdc("configure")

    def end(self) -> None:
        self.kill("bird")

    def restart(self) -> None:
        self.start_bird(self.text())


class Soak:
    """All of them, and what is to be expected."""

    def __init__(self, directory: Path) -> None:
        self.members: list[Member] = []
        self.racks: dict[int, FrrRack | BirdRack] = {}
        try:
            self.build(directory)
        except BaseException:
            self.close()
            raise

    def build(self, directory: Path) -> None:
        for number, kind in ((1, FrrRack), (2, BirdRack)):
            rack = kind(f"rack{number}", directory, number)
            rack.prefixes = {f"10.20{number}.0.0/16", "10.200.0.0/16"}
            self.racks[number] = rack
            self._add(rack)
        self.nodes = {n: Node(n, self._add(Member(f"node{n}", directory))) for n in NODES}
        for n, node in self.nodes.items():
            for r, rack in self.racks.items():
                join(node.member, f"rack{r}", rack, f"node{n}")
                for member, device, host in ((rack, f"node{n}", 1), (node.member, f"rack{r}", 2)):
                    member.ip("address", "add", f"{address(4, r, n, host)}/24", "dev", device)
                    member.ip("address", "add", f"{address(6, r, n, host)}/64", "dev", device)

    def _add(self, member: Member) -> Member:
        self.members.append(member)
        netns.configure(member.ns)  # no duplicate detection, and addresses stay when a link goes down
        return member

    def up(self) -> None:
        for rack in self.racks.values():
            rack.begin()
        for node in self.nodes.values():
            node.write()
            node.member.start_gobgpd()
            node.member.start_speaker()

    def expected(self, here: Node) -> Table:
        """The kernel routes that this node should have: only what a rack knows that it has a session with."""
        table: Table = {prefix(subnet): frozenset() for subnet in here.subnets}
        known: dict[Prefix, set[Address]] = {}
        for rack in here.racks:
            others = [node for node in self.nodes.values() if node is not here and rack in node.racks]
            for version in VERSIONS:
                told = set().union(*(node.announced(version) for node in others))
                told |= {
                    found for found in map(prefix, self.racks[rack].prefixes) if found.version == version
                }
                hop = ip_address(address(version, rack, here.number, 1))
                for one in told:
                    known.setdefault(one, set()).add(hop)
        return table | {one: frozenset(hops) for one, hops in known.items()}

    def differences(self) -> list[str]:
        """What is not as it should be, in kernels and in gobgpds; empty when all is."""
        return [
            f"node{n}: {difference}"
            for n, node in self.nodes.items()
            for difference in (*self._in_kernel(node), *self._in_daemon(node))
        ]

    def _in_kernel(self, node: Node) -> list[str]:
        wanted, kernel = self.expected(node), node.kernel()
        return [
            f"{one}: the kernel has {kernel.get(one)}, expected {wanted.get(one)}"
            for one in sorted(wanted.keys() | kernel.keys(), key=str)
            if wanted.get(one) != kernel.get(one)
        ]

    def _in_daemon(self, node: Node) -> list[str]:
        wanted, found = self.expected(node), []
        for version in VERSIONS:
            table = {prefix(text) for text in node.member.table(f"ipv{version}")}
            due = {one for one in wanted if one.version == version} | node.announced(version)
            if table != due:
                found.append(f"gobgpd has {sorted(map(str, table ^ due))} too much or too little")
        sessions = {entry["conf"]["neighbor_address"] for entry in node.member.neighbours()}
        if sessions != node.peers or node.member.established() != len(sessions):
            found.append(f"peers {sorted(sessions)}, {node.member.established()} of them established")
        return found

    def settle(self) -> None:
        """Waits until nothing differs any more."""
        seen: list[str] = []

        def look() -> bool:
            seen[:] = self.differences()
            return not seen

        try:
            wait("all as expected", look, SETTLED_SECONDS)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *seen])) from None

    def close(self) -> None:
        for member in self.members:
            member.close()
