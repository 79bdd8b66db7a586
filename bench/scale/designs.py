"""A cluster of one real node and simulated others, in each design: its cluster.toml, and what its peers tell. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from bench.scale.wire import Told

NODE, NODE_ADDRESS, NODE_SUBNET = "node-0000", "10.64.0.1", "10.128.0.0/24"
NETWORK = "10.64.0.0/16"
ROUTERS = ("10.64.255.1", "10.64.255.2")
ASN, RACK_ASN, FIRST_NODE_ASN = 64512, 65000, 4_200_000_000
CLUSTER_ID = "10.64.255.254"
HOLD, KEEPALIVE, RESYNC = 9, 3, 10
FULL_MESH, RACK, REFLECTORS, REFLECTING = "full-mesh", "rack", "reflectors", "reflecting"
DESIGNS = (FULL_MESH, RACK, REFLECTORS, REFLECTING)
# Prefixes that a node has beyond its subnet are single addresses: its share of the virtual IPs.
VIPS = IPv4Network("100.64.0.0/10")


@dataclass(frozen=True)
class Case:
    """A design, how many nodes the cluster has beside the real one, and how many virtual IPs each of them tells."""

    design: str
    nodes: int
    vips: int = 0

    @property
    def sessions(self) -> int:
        """Of the real node."""
        return self.nodes if self.design in {FULL_MESH, REFLECTING} else len(ROUTERS)

    @property
    def prefixes(self) -> int:
        """That the real node learns."""
        return self.nodes * (1 + self.vips)

    @property
    def paths(self) -> int:
        """For these prefixes, in its BGP table."""
        return self.prefixes * (1 if self.sessions == self.nodes else len(ROUTERS))

    @property
    def sent(self) -> int:
        """Prefixes that each of its peers hears."""
        return 1 + (self.prefixes - 1 - self.vips if self.design == REFLECTING else 0)

    @property
    def key(self) -> str:
        """In the results."""
        return f"{self.design}-{self.nodes}" + (f"-vips-{self.vips}" if self.vips else "")


def address(number: int) -> str:
    """Of node `number`, from 1 on; 0 is the real one's."""
    return str(IPv4Address(NODE_ADDRESS) + 255 + number) if number else NODE_ADDRESS


def told(number: int, vips: int) -> tuple[str, ...]:
    """The prefixes of a node: its pod subnet and its virtual IPs."""
    subnet = IPv4Address("10.128.0.0") + 256 * number
    own = (f"{VIPS[(number - 1) * vips + i]}/32" for i in range(vips))
    return (f"{subnet}/24", *own)


def cluster_toml(case: Case, api: str, state: str) -> str:
    """The file of the whole cluster. The real node comes first in the alphabet, so its peers dial it."""
    design = REFLECTORS if case.design == REFLECTING else case.design
    lines = [f'[cluster]\ndesign = "{design}"\n']
    if design != RACK:
        lines.append(f"asn = {ASN}\n")
    timers = f"timers = {{hold = {HOLD}, keepalive = {KEEPALIVE}}}\n"
    if design == RACK:
        lines += ['[[rack]]\nname = "r"\n']
        lines += [f'[[rack.router]]\naddress = "{r}"\nasn = {RACK_ASN}\n{timers}' for r in ROUTERS]
    else:
        lines.append(f'cluster-id = "{CLUSTER_ID}"\n' if design == REFLECTORS else "")
        lines.append(f"[cluster.session]\n{timers}")
    for number in range(case.nodes + 1):
        lines.append(
            f'[[node]]\nname = "node-{number:04}"\naddresses = ["{address(number)}"]\n'
            f'subnets = ["{told(number, 0)[0]}"]\n'
        )
        if design == RACK:
            lines.append(f'asn = {FIRST_NODE_ASN + number}\nrack = "r"\n')
        if case.design == REFLECTING and number == 0:
            lines.append("reflector = true\n")
    if case.design == REFLECTORS:
        lines += [
            f'[[node]]\nname = "reflector-{r}"\naddresses = ["{r}"]\nreflector = true\n' for r in ROUTERS
        ]
    lines.append(f'[gobgpd]\napi = "{api}"\n[state]\ndir = "{state}"\n[timers]\nresync = {RESYNC}\n')
    return "".join(lines)


def crowd(case: Case) -> dict[str, Any]:
    """What the simulation is given."""
    peers = [_router(router, case) for router in ROUTERS]
    if case.sessions == case.nodes:
        peers = [
            _peer(address(number), ASN, [(number, Told(told(number, case.vips), address(number)))])
            for number in range(1, case.nodes + 1)
        ]
    return {"node": NODE_ADDRESS, "hold": HOLD, "expected": case.sent, "peers": peers}


def _router(router: str, case: Case) -> dict[str, Any]:
    """A rack's router puts itself and the node's AS into the path; a reflector leaves the node's next hop."""
    numbers = range(1, case.nodes + 1)
    if case.design == RACK:
        paths = {n: (RACK_ASN, FIRST_NODE_ASN + n) for n in numbers}
        return _peer(router, RACK_ASN, [(n, Told(told(n, case.vips), router, paths[n])) for n in numbers])
    return _peer(
        router,
        ASN,
        [(n, Told(told(n, case.vips), address(n), (), address(n), CLUSTER_ID)) for n in numbers],
    )


def _peer(own: str, asn: int, tells: list[tuple[int, Told]]) -> dict[str, Any]:
    return {"address": own, "asn": asn, "internal": asn == ASN, "told": [[n, list(t)] for n, t in tells]}
