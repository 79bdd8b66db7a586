"""A node with many pods, each a row of the state file and an address that answers, and gobgpd and speaker on it."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

from cni.allocation import Allocation, Vip
from cni.healthcheck import parse_check
from cni.network import PodAddress
from cni.nexthop import FIRST_ID
from cni.statefile import now
from cni.store import Store
from lab import netns
from lab.commands import run
from lab.processes import Program, end_all
from lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


PODS = IPv4Address("10.244.0.0")  # /16: the node is .0.1, its pods count from .1.1
VIPS = IPv4Address("198.18.0.0")  # /15
SECONDS = 60.0


@dataclass(frozen=True)
class Crowd:
    """One node in two namespaces: `node`, and `pods` where all of its pods' addresses answer."""

    name: str
    directory: Path
    anypod: tuple[str, ...]
    vips: int

    @property
    def node(self) -> str:
        """The node's namespace."""
        return f"anypod-{self.name}-node"

    @property
    def pods(self) -> str:
        """The namespace of the addresses of all pods."""
        return f"anypod-{self.name}-pods"

    @property
    def api(self) -> Path:
        """The socket of gobgpd."""
        return self.directory / "gobgpd.sock"

    @property
    def gobgpd(self) -> Program:
        """The node's gobgpd."""
        argv = ("gobgpd", "--api-hosts", f"unix://{self.api}", "--pprof-disable", "--log-plain")
        return Program("gobgpd", self.node, argv, self.directory, self.api)

    def speaker(self, *by: str) -> Program:
        """The node's speaker, by another command line where one is given."""
        config = str(self.directory / "speaker.toml")
        argv = (*(by or self.anypod), "speaker", "run", "--config", config)
        return Program("speaker", self.node, argv, self.directory)

    def configure(self, resync: int = 60, more: str = "") -> None:
        """Writes speaker.toml."""
        (self.directory / "speaker.toml").write_text(
            '[bgp]\nasn = 65001\nrouter-id = "10.0.0.1"\nlisten-port = 1790\n'
            f'[gobgpd]\napi = "unix://{self.api}"\n'
            '[[peer]]\naddress = "192.0.2.254"\nasn = 65000\n'
            '[announce]\nsubnets = ["10.244.0.0/16"]\n'
            f'[state]\ndir = "{self.directory}/state"\n[speaker]\nmetrics = ""\n'
            f"[timers]\nresync = {resync}\nstale-routes = 1\n"
            '[anycast]\nbuckets = 128\n[[anycast.pool]]\nname = "all"\nprefixes = ["198.18.0.0/15"]\n'
            f"{more}"
        )

    def fill(self, pods: int, checks: Sequence[str] = ()) -> None:
        """Writes the pods, as their plugin would have; the VIPs in equal parts."""
        (self.directory / "state").mkdir(exist_ok=True)
        compiled = [json.dumps(parse_check(text, allow_exec=True).compiled()) for text in checks]
        store = Store(str(self.directory / "state"))
        store.begin()
        for number in range(pods):
            address = PODS + 257 + number
            owner = (f"pod{number}", "eth0")
            store.attach(
                Allocation("pods", owner[0], owner[1], f"/run/netns/{owner[0]}", f"host{number}", ()), now()
            )
            store.hold("pods", PodAddress(address.packed, 16, b""), "pool", owner)
            check = compiled[number % len(compiled)] if compiled else ""
            for vip in range(number, self.vips, pods):
                store.serve(Vip(str(VIPS + vip), str(address), FIRST_ID + number, 1, check, "all"), owner)
        store.commit()
        store.close()

    def start(self) -> None:
        """gobgpd, then the speaker; returns when all VIPs are routed."""
        self.gobgpd.start()
        until(self.api.exists, bool, seconds=SECONDS, what="gobgpd listens", interval=0.02)
        self.speaker().start()
        self.await_routes()

    def cpu(self) -> float:
        """Seconds of processor time that the speaker has had, its threads together."""
        tasks = Path(f"/proc/{self.speaker().pid()}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9

    def memory(self) -> tuple[float, float]:
        """MiB that the speaker holds: resident, and its share of it."""
        rollup = Path(f"/proc/{self.speaker().pid()}/smaps_rollup").read_text().splitlines()
        sizes = {line.split()[0]: int(line.split()[1]) / 1024 for line in rollup[1:]}
        return sizes["Rss:"], sizes["Pss:"]

    def await_routes(self) -> None:
        """Until the kernel has a route for each VIP."""
        until(
            lambda: len(run(netns.inside(self.node, ["ip", "route", "show", "proto", "178"])).splitlines()),
            lambda found: found >= self.vips,
            seconds=SECONDS,
            what=f"{self.vips} VIPs are routed",
        )


@contextmanager
def crowd(name: str, anypod: tuple[str, ...], vips: int) -> Iterator[Crowd]:
    """A crowd that is wired; nothing of it stays."""
    with tempfile.TemporaryDirectory(prefix=f"anypod-{name}-") as directory:
        made = Crowd(name, Path(directory), anypod, vips)
        try:
            _wire(made)
            yield made
        finally:
            found = [one for one in (made.node, made.pods) if one in netns.names()]
            end_all(found)
            for one in found:
                netns.delete(one)


def _wire(made: Crowd) -> None:
    for one in (made.node, made.pods):
        netns.add(one)
        netns.configure(one)
    node, pods = ["ip", "-n", made.node], ["ip", "-n", made.pods]
    run([*node, "link", "add", "cni0", "type", "veth", "peer", "name", "eth0", "netns", made.pods])
    run([*node, "address", "add", f"{PODS + 1}/16", "dev", "cni0"])
    run([*node, "link", "set", "cni0", "up"])
    run([*pods, "link", "set", "eth0", "up"])
    run([*pods, "address", "add", f"{PODS + 2}/16", "dev", "eth0"])
    # Every address of the pods is this namespace's own, but for the node's.
    for prefix in ("10.244.1.0/24", "10.244.2.0/23", "10.244.4.0/22"):
        run([*pods, "route", "add", "local", prefix, "dev", "lo"])
    netns.set_forwarding(made.node, "1")
