"""A node that routes virtual IPs to pods, with a client before it: namespaces, and TCP through them."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pyroute2 import netns

from cni import nexthop
from cni.netlink import NetlinkSocket
from speaker.bgp import BgpGlobal
from speaker.kernel.vipgroups import Member as GroupMember
from speaker.kernel.vipgroups import VipRoute
from speaker.kernel.vips import VipTable
from speaker.settings import Anycast, Api, Config
from tests.system.gobgp_rig import Member, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from ipaddress import IPv4Address, IPv6Address
    from pathlib import Path

    from speaker.bgp import Prefix

    Address = IPv4Address | IPv6Address

Result = TypeVar("Result")
VIPS = {4: ip_address("198.51.100.10"), 6: ip_address("2001:db8:a::10")}
PORT = 5300


def configured(**anycast: Any) -> Config:
    return Config(BgpGlobal(65001, "10.0.0.1"), Api(""), anycast=replace(Anycast(), **anycast))


class Inside:
    """A thread in a network namespace, for what looks at the namespace of the caller."""

    def __init__(self, namespace: str) -> None:
        self._thread = ThreadPoolExecutor(1, initializer=netns.setns, initargs=(namespace,))

    def __call__(self, work: Callable[[], Result]) -> Result:
        return self._thread.submit(work).result(60)

    def close(self) -> None:
        self._thread.shutdown()


class Answers:
    """One thread that answers on all connections of all pods with the number of the pod."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._ended = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def listen(self, listener: socket.socket, number: int) -> None:
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, number)

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(0.1):
                found = key.fileobj
                assert isinstance(found, socket.socket)
                if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    connection, _ = found.accept()
                    connection.setblocking(False)
                    self._selector.register(connection, selectors.EVENT_READ, key.data)
                else:
                    self._answer(found, key.data)

    def _answer(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError):
            if connection.recv(100):
                connection.send(bytes([number]))
                return
        self._selector.unregister(connection)
        connection.close()

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()


class VipNode:
    """Pod i is 10.244.1.(10+i) and fd44::(10+i) on the node's bridge; its next hops are 600000i4 and 600000i6."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.members: list[Member] = []
        self.node, self.client = self._member("node"), self._member("client")
        self.inside = Inside(self.node.ns)
        self._client = Inside(self.client.ns)
        self._answers = Answers()
        self.pods: dict[int, Member] = {}
        self.hops: dict[int, Address] = {}
        self.tables: list[VipTable] = []
        self._wire()

    def _member(self, name: str) -> Member:
        made = Member(name, self._directory)
        self.members.append(made)
        return made

    def _wire(self) -> None:
        node, client = self.node, self.client
        node.ip("link", "add", "pods0", "type", "bridge")
        node.ip("link", "add", "out", "type", "veth", "peer", "name", "in", "netns", client.ns)
        for member, link, host in ((node, "out", 1), (client, "in", 2)):
            member.ip("address", "add", f"192.0.2.{host}/24", "dev", link)
            member.ip("address", "add", f"fd02::{host}/64", "dev", link, "nodad")
            member.ip("link", "set", link, "up")
        self.address_bridge()
        node.ip("link", "set", "pods0", "up")
        client.ip("route", "add", "default", "via", "192.0.2.1")
        client.ip("-6", "route", "add", "default", "via", "fd02::1")
        # Otherwise neighbours wait a second or two before they are asked for.
        self.sysctl("net.ipv6.conf.all.accept_dad=0")
        self.sysctl("net.ipv4.ip_forward=1")
        self.sysctl("net.ipv6.conf.all.forwarding=1")

    def address_bridge(self) -> None:
        """What the plugin does when it makes the bridge."""
        self.node.ip("address", "add", "10.244.1.1/24", "dev", "pods0")
        self.node.ip("address", "add", "fd44::1/64", "dev", "pods0", "nodad")

    def sysctl(self, setting: str) -> str:
        return run("ip", "netns", "exec", self.node.ns, "sysctl", setting).split("=")[-1].strip()

    def table(self, config: Config) -> VipTable:
        made = self.inside(lambda: VipTable(config))
        self.tables.append(made)
        return made

    def pod(self, number: int, port: int = PORT) -> None:
        """One more pod that has the VIPs and answers on them."""
        pod = self.pods[number] = self._member(f"pod{number}")
        host = 10 + number
        self.node.ip("link", "add", f"p{number}", "type", "veth", "peer", "name", "eth0", "netns", pod.ns)
        self.node.ip("link", "set", f"p{number}", "master", "pods0", "up")
        pod.ip("address", "add", f"10.244.1.{host}/24", "dev", "eth0")
        pod.ip("address", "add", f"fd44::{host}/64", "dev", "eth0", "nodad")
        pod.ip("link", "set", "eth0", "up")
        pod.ip("route", "add", "default", "via", "10.244.1.1")
        pod.ip("-6", "route", "add", "default", "via", "fd44::1")
        for vip in VIPS.values():
            pod.ip("address", "add", str(vip), "dev", "lo")
        self.hops[hop(number, 4)] = ip_address(f"10.244.1.{host}")
        self.hops[hop(number, 6)] = ip_address(f"fd44::{host}")
        inside = Inside(pod.ns)
        self._answers.listen(
            inside(lambda: socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)),
            number,
        )
        inside.close()

    def connect(self, version: int) -> socket.socket:
        """A connection from the client to the VIP."""
        made = self._client(lambda: socket.create_connection((str(VIPS[version]), PORT), timeout=5))
        # Ends with one packet; what is sent later would keep buckets in use that the next test finds.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return made

    @contextmanager
    def losing_packets(self) -> Iterator[None]:
        """The node forwards nothing meanwhile."""
        nft = ("ip", "netns", "exec", self.node.ns, "nft")
        run(
            *nft,
            "add table inet lossy",
            "; add chain inet lossy everything { type filter hook forward priority 0; policy drop; }",
        )
        try:
            yield
        finally:
            run(*nft, "delete table inet lossy")

    def buckets(self, version: int) -> dict[int, int]:
        """How many buckets each pod has in the VIP's group."""
        group = int(self.node.routes(str(VIPS[version]), 178)[0]["nhid"])
        found: dict[int, int] = {}
        for one in self.bucket_list(group):
            number = one.nexthop - 0x60000000 >> 4
            found[number] = found.get(number, 0) + 1
        return found

    def bucket_list(self, group: int) -> list[nexthop.Bucket]:
        def dump() -> list[nexthop.Bucket]:
            asking = NetlinkSocket()
            try:
                return [nexthop.Bucket(payload) for _, payload in asking.dump(nexthop.bucket_dump(group))]
            finally:
                asking.close()

        return self.inside(dump)

    def close(self) -> None:
        self._answers.close()
        for table in self.tables:
            table.close()
        self.inside.close()
        self._client.close()
        for member in self.members:
            member.close()


def hop(number: int, version: int) -> int:
    """The number of a pod's next-hop object."""
    return 0x60000000 + (number << 4) + version


def routed(weights: Mapping[int, int], version: int, unreachable: bool = False) -> dict[Prefix, VipRoute]:
    """The VIP of that family with these pods and their weights."""
    prefix = ip_network(VIPS[version])
    members = tuple(GroupMember(hop(number, version), weight) for number, weight in weights.items())
    return {prefix: VipRoute(prefix, members, unreachable)}


class Flows:
    """Connections from the client, and which pod each has."""

    def __init__(self, node: VipNode, version: int, count: int) -> None:
        self._connections = [node.connect(version) for _ in range(count)]
        self.send()
        self.pods = self.received()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self) -> None:
        """Asks on all connections."""
        for connection in self._connections:
            with suppress(OSError):
                connection.send(b"?")

    def received(self) -> list[int]:
        """The pod that has answered on each; 0 for none."""
        return [_received(connection) for connection in self._connections]

    def broken(self) -> dict[int, int]:
        """How many of each pod's connections are not answered by it any more."""
        self.send()
        return dict(Counter(pod for pod, now in zip(self.pods, self.received(), strict=True) if pod != now))

    def close(self, pod: int = 0) -> None:
        """Ends those of one pod, or all."""
        kept = []
        for connection, number in zip(self._connections, self.pods, strict=True):
            if pod in {0, number}:
                connection.close()
            else:
                kept.append((connection, number))
        self._connections = [connection for connection, _ in kept]
        self.pods = [number for _, number in kept]


def _received(connection: socket.socket) -> int:
    try:
        return (connection.recv(1) or b"\0")[0]
    except OSError:
        return 0
