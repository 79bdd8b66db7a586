"""Packets to a virtual IP on one node, with next-hop groups as the speaker makes them."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.system.anycast_rig import V4, V6, asking, make_group, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.plugin_node import Node

# Says its name, and whom it was asked by.
SERVER = """import socket, sys
s = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    c, a = s.accept(); c.sendall(f"{sys.argv[1]} {a[0].removeprefix('::ffff:')}".encode()); c.close()"""
CLIENT = """import socket, sys
for _ in range(int(sys.argv[2])):
    print(socket.create_connection((sys.argv[1], 80), 5).recv(99).decode())"""


@contextlib.contextmanager
def serving(**pods: str) -> Iterator[None]:
    """A server in each of the namespaces, with the name that it is given here."""
    with contextlib.ExitStack() as stack:
        for name, pod in pods.items():
            argv = ["ip", "netns", "exec", pod, "python3", "-c", SERVER, name]
            server = stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
            stack.callback(server.kill)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        yield


def ask(node: Node, namespace: str, address: str, times: int = 40) -> list[tuple[str, ...]]:
    """Who answered, and what address they saw."""
    said = node.execute(namespace, "python3", "-c", CLIENT, address, str(times))
    return [tuple(line.split()) for line in said.splitlines()]


@pytest.mark.parametrize("vip", [V4, V6])
def test_a_pod_on_the_same_node_reaches_all_endpoints_and_is_seen_as_itself(node: Node, vip: str) -> None:
    """Out of the bridge that the packet came from: a redirect would keep the client at one of them."""
    first, second, client = node.pod(), node.pod(), node.pod()
    node.add("c1", first, asking(node, vip))
    node.add("c2", second, asking(node, vip))
    node.add("c3", client, asking(node))
    address = next(one.partition("/")[0] for one in node.held()["c3"] if (":" in one) == (":" in vip))
    # Otherwise ports of one client may all fall to one of two endpoints.
    for family in ("ipv4", "ipv6"):
        node.execute(node.name, "sysctl", "-qw", f"net.{family}.fib_multipath_hash_policy=1")
    make_group(node, vip)
    # A redirect counts for a client that knows the other's hardware address.
    for container in ("c1", "c2"):
        assert all(node.pings(client, one.partition("/")[0]) for one in node.held()[container])
    # And not for a TCP connection that is being made: on one machine it comes before connect() has ended.
    node.execute(client, "ping", "-c8", "-i0.1", "-W2", vip)
    with serving(one=first, two=second):
        answers = ask(node, client, vip)
        assert {name for name, _ in answers} == {"one", "two"}
        assert {source for _, source in answers} == {address}
        # What the kernel learned by redirects stands among its exceptions.
        family = "-6" if ":" in vip else "-4"
        assert not node.ip(family, "route", "show", "cache", namespace=client)
        # An endpoint that asks for its own VIP is answered by itself.
        assert {name for name, _ in ask(node, first, vip, 5)} == {"one"}
        node.delete("c1", first, asking(node, vip))
        assert {name for name, _ in ask(node, client, vip, 10)} == {"two"}
    assert served(node).keys() == {"c2"}


def test_a_neighbour_is_told_nothing_of_a_vip(node: Node) -> None:
    """It is routed to, never looked for on the bridge: two endpoints there would both answer."""
    pod, neighbour = node.pod(), node.pod()
    node.add("c1", pod, asking(node, V4, V6))
    node.add("c2", neighbour, asking(node))
    for vip in (V4, V6):
        node.execute(neighbour, "ip", "route", "add", vip, "dev", "eth0")
        assert not node.pings(neighbour, vip)
        (entry,) = node.ip("neigh", "show", vip, "dev", "eth0", namespace=neighbour)
        assert "lladdr" not in entry


def test_an_endpoint_that_calls_others_is_seen_with_its_own_address(node: Node) -> None:
    pod, other = node.pod(), node.pod()
    node.add("c1", pod, asking(node, V4, V6))
    node.add("c2", other, asking(node))
    with serving(two=other):
        for held in node.held()["c2"]:
            version = ":" in held
            own = next(one.partition("/")[0] for one in node.held()["c1"] if (":" in one) == version)
            assert ask(node, pod, held.partition("/")[0], 1) == [("two", own)]
