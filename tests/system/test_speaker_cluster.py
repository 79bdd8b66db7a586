"""Three nodes with one cluster.toml: each finds itself in it, and they peer as the design says."""

from __future__ import annotations

import json
import sys
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from lab.monitor import RouteMonitor
from tests.system.gobgp_rig import ROOT, Member, run, wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.plugin_node import Node

HOSTS, ALL = (1, 2, 3), (1, 2, 3, 4)
ANYPOD = [sys.executable, "-m", "speaker.cli"]
# All nodes have the same path: each sees a directory of its own there, as on machines of their own.
RUN = 'mount --bind "$1" "$2"; shift 2; exec "$@"'


class Network:
    """Nodes 10.88.0.1 to .4 and fd88::1 to ::4 on one link, each with a gobgpd once it is started."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "cluster.toml"
        self.state = directory / "state"
        self.state.mkdir()
        self.members: list[Member] = []
        self.switch = self.member("switch", directory)
        self.switch.ip("link", "add", "br0", "type", "bridge")
        self.switch.ip("link", "set", "br0", "up")
        self.nodes = [self.member(f"node-{host}", directory) for host in ALL]
        for host, node in zip(ALL, self.nodes, strict=True):
            self.switch.ip(
                "link", "add", f"p{host}", "type", "veth", "peer", "name", "eth0", "netns", node.ns
            )
            self.switch.ip("link", "set", f"p{host}", "master", "br0", "up")
            node.ip("address", "add", f"10.88.0.{host}/24", "dev", "eth0")
            node.ip("address", "add", f"fd88::{host}/64", "dev", "eth0", "nodad")
            node.ip("link", "set", "eth0", "up")

    def member(self, name: str, directory: Path) -> Member:
        made = Member(name, directory)
        self.members.append(made)
        return made

    def write(
        self, design: str, hosts: tuple[int, ...] = HOSTS, reflectors: tuple[int, ...] = (), more: str = ""
    ) -> None:
        text = (
            f'[cluster]\ndesign = "{design}"\nasn = 64512\n{more}[gobgpd]\napi = "127.0.0.1:50051"\n'
            f'[state]\ndir = "{self.state}"\n'
        )
        for host in hosts:
            text += (
                f'[[node]]\nname = "zone-{host}"\naddresses = ["10.88.0.{host}", "fd88::{host}"]\n'
                f'subnets = ["10.244.{host}.0/24", "fd00:244:{host}::/64"]\n'
            )
            if host in reflectors:
                text += "reflector = true\n"
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.replace(self.file)

    def start(self, node: Member) -> None:
        state = node.directory / "state"
        state.mkdir(exist_ok=True)
        daemon = ["gobgpd", "--api-hosts", "127.0.0.1:50051", "--pprof-disable"]
        node.start("gobgpd", daemon, node.directory / "gobgpd.log")
        speaker = [*ANYPOD, "speaker", "run", "--cluster", str(self.file)]
        node.start("speaker", ["sh", "-ec", RUN, "-", state, self.state, *speaker], node.log)

    def reaches(self, host: int, others: set[int]) -> bool:
        """Whether the kernel of that node has the others' subnets, and no one else's."""
        node = self.nodes[host - 1]
        found = {
            other
            for other in ALL
            if other != host
            and node.gateways(f"10.244.{other}.0/24") == {f"10.88.0.{other}"}
            and node.gateways(f"fd00:244:{other}::/64") == {f"fd88::{other}"}
        }
        return found == others

    def close(self) -> None:
        for member in self.members:
            member.close()


def peers(node: Member) -> set[str]:
    """Addresses of the node's established peers."""
    lines = run("ip", "netns", "exec", node.ns, "gobgp", "neighbor", check=False).splitlines()[1:]
    return {line.split()[0] for line in lines if "Establ" in line}


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    made = Network(tmp_path)
    try:
        yield made
    finally:
        made.close()


def addresses(*hosts: int) -> set[str]:
    return {text for host in hosts for text in (f"10.88.0.{host}", f"fd88::{host}")}


def test_a_mesh_grows_and_becomes_one_of_reflectors_while_it_runs(network: Network) -> None:
    network.write("full-mesh", hosts=(1, 2))
    for node in network.nodes[:2]:
        network.start(node)
    wait("a mesh of two", lambda: network.reaches(1, {2}) and network.reaches(2, {1}))

    network.write("full-mesh")
    network.start(network.nodes[2])
    wait(
        "a mesh of three",
        lambda: all(network.reaches(host, {*HOSTS} - {host}) for host in HOSTS),
        seconds=60,
    )
    assert peers(network.nodes[0]) == addresses(2, 3)
    assert not network.nodes[0].logged('event="peer down"')

    network.write("reflectors", reflectors=(2,))
    wait(
        "one reflector",
        lambda: all(peers(network.nodes[host - 1]) == addresses(2) for host in (1, 3)),
        seconds=60,
    )
    wait("reflected routes", lambda: network.reaches(1, {2, 3}) and network.reaches(3, {1, 2}), seconds=60)
    assert peers(network.nodes[1]) == addresses(1, 3)


def test_with_two_reflectors_one_may_fail(network: Network) -> None:
    network.write("reflectors", ALL, reflectors=(2, 3), more='cluster-id = "10.88.9.9"\n')
    for node in network.nodes:
        network.start(node)
    wait("all reach all", lambda: all(network.reaches(host, {*ALL} - {host}) for host in ALL), seconds=60)
    clients, second = (network.nodes[0], network.nodes[3]), network.nodes[1]
    for client in clients:
        wait("both reflectors", lambda client=client: peers(client) == addresses(2, 3), seconds=60)  # type: ignore[misc]
        table = run("ip", "netns", "exec", client.ns, "gobgp", "-j", "global", "rib")
        assert '"10.88.9.9"' in table  # CLUSTER_LIST
    with RouteMonitor(clients[0].ns) as at_1, RouteMonitor(clients[1].ns) as at_4:
        for name in ("speaker", "gobgpd"):
            second.kill(name)
        wait("the failure", lambda: all(peers(client) == addresses(3) for client in clients))
        wait("no way to it", lambda: network.reaches(1, {3, 4}) and network.reaches(4, {1, 3}))
    for monitor, other in ((at_1, 4), (at_4, 1)):
        assert monitor.removed(ip_network(f"10.244.{other}.0/24")) == []
        assert monitor.removed(ip_network(f"fd00:244:{other}::/64")) == []


def test_a_broken_file_is_refused_and_the_old_one_stays_in_force(network: Network) -> None:
    network.write("full-mesh", hosts=(1, 2))
    for node in network.nodes[:2]:
        network.start(node)
    wait("a mesh of two", lambda: network.reaches(1, {2}) and network.reaches(2, {1}))
    network.file.write_text(network.file.read_text().replace("full-mesh", "mesh"))
    wait("the refusal", lambda: network.nodes[0].logged("is not allowed; write"))
    assert peers(network.nodes[0]) == addresses(2)


def test_a_node_finds_itself_by_its_address(network: Network) -> None:
    network.write("full-mesh")
    checked = run(
        "ip", "netns", "exec", network.nodes[1].ns, *ANYPOD, "speaker", "check", "--cluster", network.file
    )
    assert checked == f"{network.file}: ok: AS 64512, 4 peers\n"
    made = run(
        "ip", "netns", "exec", network.nodes[2].ns, *ANYPOD, "render", "--cluster", network.file, "conflist"
    )
    assert '"subnet": "10.244.3.0/24"' in made


@pytest.mark.parametrize("name", ["full-mesh", "rack"])
def test_a_rendered_conflist_connects_a_pod(node: Node, name: str) -> None:
    file = ROOT / f"examples/cluster/{name}.toml"
    text = run(*ANYPOD, "render", "--cluster", file, "--node", "node-1", "conflist")
    conflist = json.loads(text)
    (conf,) = conflist["plugins"]
    conf |= {"cniVersion": conflist["cniVersion"], "name": conflist["name"], "stateDir": str(node.state)}
    pod = node.pod()
    result = node.add("c1", pod, conf)
    assert len(result["ips"]) == len(conf["ipam"]["ranges"])
    assert all(node.pings(pod, one["gateway"]) for one in result["ips"])
    node.delete("c1", pod, conf)
