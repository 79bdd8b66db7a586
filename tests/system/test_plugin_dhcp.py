"""Addresses from a DHCP server on the bridge, through the reference plugin `dhcp` and its daemon."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.conflist import REFERENCE, Attachment, Conflist

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.plugin_node import Node

SERVER = "10.66.0.1"


@dataclass
class Served:
    """A node whose bridge has a DHCP server; its file of leases."""

    node: Node
    leases: Path
    conflist: Conflist

    def leased(self) -> dict[str, str]:
        """Hardware address of each address that is let, as the server knows it."""
        lines = [line.split() for line in self.leases.read_text().splitlines()]
        return {line[2]: line[1] for line in lines}

    def await_leases(self, addresses: set[str]) -> None:
        deadline = time.monotonic() + 10
        while self.leased().keys() != addresses:
            assert time.monotonic() < deadline, self.leased()
            time.sleep(0.02)

    def attachment(self, container: str) -> Attachment:
        return Attachment(container, self.node.pod())


def await_file(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert process.poll() is None, process.args
        assert time.monotonic() < deadline, f"{path} was not made"
        time.sleep(0.01)


@pytest.fixture
def served(node: Node, tmp_path: Path) -> Iterator[Served]:
    """A bridge with a dnsmasq that lets ten addresses, and the plugin's daemon, both on the node."""
    for argv in ("link add cni0 type bridge", f"addr add {SERVER}/24 dev cni0", "link set cni0 up"):
        node.execute(node.name, "ip", *argv.split())
    leases, pid_file, socket = (tmp_path / name for name in ("leases", "pid", "dhcp.sock"))
    inside = ["ip", "netns", "exec", node.name]
    server = f"""dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --group=root --port=0 --no-ping
        --interface=cni0 --bind-interfaces --dhcp-authoritative --dhcp-range=10.66.0.10,10.66.0.19,1h
        --dhcp-option-force=121,10.67.0.0/16,10.66.0.2,10.68.0.0/16,0.0.0.0,0.0.0.0/0,{SERVER}"""
    server_files = [f"--dhcp-leasefile={leases}", f"--pid-file={pid_file}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    daemon = [str(REFERENCE / "dhcp"), "daemon", "-socketpath", str(socket)]
    conf: dict[str, Any] = {
        "type": "anypod",
        "bridge": "cni0",
        "stateDir": str(node.state),
        "ipam": {"type": "dhcp", "daemonSocketPath": str(socket)},
    }
    with (
        subprocess.Popen([*inside, *server.split(), *server_files], **quiet) as dnsmasq,  # type: ignore[call-overload]
        subprocess.Popen([*inside, *daemon], **quiet) as dhcp,  # type: ignore[call-overload]
    ):
        try:
            await_file(pid_file, dnsmasq)
            await_file(socket, dhcp)
            yield Served(node, leases, Conflist(node, [conf]))
        finally:
            dhcp.kill()
            dnsmasq.kill()


def test_add_gets_a_lease_for_the_hardware_address_that_the_pod_keeps(served: Served) -> None:
    node, one = served.node, served.attachment("c1")
    result = served.conflist.add(one)
    (address,) = result["ips"]
    assert address["address"].endswith("/24")
    ip = address["address"].partition("/")[0]
    (link,) = node.ip("link", "show", "eth0", namespace=one.pod)
    assert served.leased() == {ip: link["address"]}
    assert node.held() == {"c1": (address["address"],)}
    routes = {route["dst"]: route.get("gateway") for route in node.ip("route", namespace=one.pod)}
    assert routes == {
        "10.66.0.0/24": None,
        "10.67.0.0/16": "10.66.0.2",
        "10.68.0.0/16": None,  # on the link: the server names 0.0.0.0 as its router
        "default": SERVER,
    }
    assert node.pings(one.pod, SERVER)
    assert served.conflist.check(one) == {}


def test_del_sends_the_release_before_the_interface_is_gone(served: Served) -> None:
    one, other = served.attachment("c1"), served.attachment("c2")
    served.conflist.add(one)
    kept = served.conflist.add(other)["ips"][0]["address"].partition("/")[0]
    assert len(served.leased()) == 2
    assert served.conflist.delete(one) == {}
    served.await_leases({kept})
    assert served.node.held().keys() == {"c2"}


def test_del_without_a_namespace_is_fine(served: Served) -> None:
    one = served.attachment("c1")
    served.conflist.add(one)
    served.node.execute(served.node.name, "ip", "netns", "del", one.pod)
    one.pod = ""
    assert served.conflist.delete(one) == {}
    assert served.node.held() == {}


def test_an_add_that_fails_behind_the_lease_gives_it_back(served: Served) -> None:
    """Another attachment has all that the server lets, from a plugin that knows nothing of the server."""
    node, one, other = served.node, served.attachment("c1"), served.attachment("c2")
    taken = {"type": "static", "addresses": [{"address": f"10.66.0.{last}/24"} for last in range(10, 20)]}
    Conflist(node, [served.conflist.plugins[0] | {"ipam": taken}]).add(other)
    links = node.links()
    answer = served.conflist.try_add(one)
    assert answer.json["code"] == 102
    assert "is held by c2/eth0" in answer.json["msg"]
    served.await_leases(set())
    assert node.held().keys() == {"c2"}
    assert node.links() == links
