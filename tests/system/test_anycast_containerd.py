"""From a pod's annotation to a client: containerd's CRI, plugin, speaker, gobgpd, an FRR rack, and who is behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import Member, wait
from tests.system.peers_rig import join, join_router
from tests.system.peers_routers import Frr, frr_conf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.containerd_rig import Containerd

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/netconf/50-anycast.conflist"
VIPS = ("198.51.100.10", "2001:db8:a::10")
CLIENT = {"198.51.100.10": "10.97.0.2", "2001:db8:a::10": "fd97::2"}
PORT = 8080
ANNOTATIONS = {
    "anypod.dev/anycast": ", ".join(VIPS),
    "anypod.dev/anycast-check": f"tcp://:{PORT} interval=0.5 fast=0.1 rise=1 fall=2",
}
OF_DNS = {"name": "web", "uid": "web", "namespace": "dns"}


class OnNode(Member):
    """gobgpd and speaker in a namespace that is there already."""

    def __init__(self, namespace: str, directory: Path) -> None:
        self.ns, self.directory = namespace, directory
        self.socket, self.config = directory / "api.sock", directory / "speaker.toml"
        self.log, self.gobgpd = directory / "speaker.log", "gobgpd"
        self.processes = {}

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)


class Fabric:
    """The node's speaker, a rack, and a client behind it."""

    def __init__(self, containerd: Containerd, directory: Path) -> None:
        self.node = OnNode(containerd.host.node.name, directory)
        self.rack = Frr("rack", directory, 1)
        self.client = Member("client", directory)
        join_router(self.node, self.rack)
        self.rack.forward()
        join(self.rack, "client", self.client, "rack")
        for member, device, host in ((self.rack, "client", 1), (self.client, "rack", 2)):
            member.ip("address", "add", f"10.97.0.{host}/24", "dev", device)
            member.ip("address", "add", f"fd97::{host}/64", "dev", device, "nodad")
        for version, gateway in (("-4", "10.97.0.1"), ("-6", "fd97::1")):
            self.client.ip(version, "route", "add", "default", "via", gateway)
        peers = (self.rack.node_v4, self.rack.node_v6)
        lines = "".join(f"neighbor {one} remote-as 65001\nneighbor {one} timers connect 1\n" for one in peers)
        lines += f"no neighbor {self.rack.node_v6} activate\n"
        ipv6 = f"neighbor {self.rack.node_v6} activate\nnetwork fd97::/64\n"
        self.rack.start_frr(frr_conf(65401, 1, lines, "network 10.97.0.0/24\n", ipv6))
        self.node.config.write_text(
            f'[bgp]\nasn = 65001\nrouter-id = "10.98.1.1"\n[gobgpd]\napi = "unix://{self.node.socket}"\n'
            f'[[peer]]\naddress = "{self.rack.v4}"\nasn = 65401\n'
            f'[[peer]]\naddress = "{self.rack.v6}"\nasn = 65401\n'
            f'[state]\ndir = "{containerd.host.node.state}"\n[speaker]\nmetrics = ""\n'
        )
        self.node.start_gobgpd()
        self.node.start_speaker()
        for address in peers:
            wait("the rack's sessions", lambda address=address: self.rack.is_up(address))  # type: ignore[misc]

    def told(self) -> list[str]:
        """The VIPs that the rack has a path for."""
        return [vip for vip in VIPS if self.rack.has(f"{vip}/{128 if ':' in vip else 32}")]

    def close(self) -> None:
        for member in (self.node, self.client, self.rack):
            member.close()


@pytest.fixture
def fabric(containerd: Containerd, tmp_path: Path) -> Iterator[Fabric]:
    conflist = json.loads(EXAMPLE.read_text())
    containerd.configure(conflist)
    containerd.start()
    (tmp_path / "fabric").mkdir()
    made = Fabric(containerd, tmp_path / "fabric")
    try:
        yield made
    finally:
        made.close()


def test_a_client_reaches_a_sandbox_by_the_address_that_its_annotation_asks_for(
    containerd: Containerd, fabric: Fabric
) -> None:
    sandbox = containerd.run(annotations=ANNOTATIONS, metadata=OF_DNS)
    wait("its check fails", lambda: fabric.node.logged("endpoint down") == len(VIPS))
    assert fabric.told() == []  # nothing listens yet
    containerd.serve(sandbox, PORT)
    wait("the rack has it", lambda: fabric.told() == list(VIPS))
    for vip in VIPS:
        assert containerd.host.ask_from(fabric.client.ns, vip, PORT) == CLIENT[vip]
    containerd.remove(sandbox)
    wait("the rack has nothing any more", lambda: fabric.told() == [])
    assert containerd.host.left_over().keys() <= {"links"}  # the rack's
