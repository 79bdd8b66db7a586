"""Pods of two nodes behind a service, and kube-proxy's rules on both: what a pod gets when it asks the service."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.system import kube_proxy
from tests.system.kube_proxy import Cluster, ServicePort
from tests.system.plugin_node import SECONDS
from tests.system.traffic import TCP, UDP, Server, ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.system.plugin_node import Node

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/kubernetes"
CONFLIST = EXAMPLES / "10-anypod.conflist"
# What kubeadm.yaml says of both families.
PODS = {4: "10.244.0.0/16", 6: "fd00:10:244::/48"}
SERVICES = {4: "10.96.0.0/16", 6: "fd00:10:96::/112"}
WEB = {4: "10.96.0.10", 6: "fd00:10:96::10"}
PLAIN = {4: "10.96.0.11", 6: "fd00:10:96::11"}
PAIR = {4: "10.96.0.12", 6: "fd00:10:96::12"}
UNUSED = {4: "10.96.0.99", 6: "fd00:10:96::99"}
GATEWAY = {4: "10.244.1.1", 6: "fd00:10:244:1::1"}
PORT, TARGET = 80, 8080
KINDS = {"tcp": TCP, "udp": UDP}
FAMILIES = (4, 6)
TRIES = 64


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that the plugin attached, with its address of each family."""

    namespace: str
    addresses: Mapping[int, str]


class Stand:
    """Pods that each have a server: `a`, `b` and, without hairpinMode, `plain` on the first node, `c` on the second.

    The service WEB has `a` behind it, PLAIN has `plain`, and PAIR has `a` and `c`.
    """

    def __init__(self, first: Node, second: Node) -> None:
        self.nodes = first, second
        self._servers = ExitStack()
        self.a, self.b = (self._attach(first, 1, name) for name in ("a", "b"))
        self.plain = self._attach(first, 1, "plain", hairpinMode=False)
        self.c = self._attach(second, 2, "c")

    def close(self) -> None:
        self._servers.close()

    def _attach(self, node: Node, number: int, name: str, **keys: object) -> Pod:
        pod = node.pod()
        result = node.add(name, pod, netconf(node, number) | keys)
        v4, v6 = (one["address"].partition("/")[0] for one in result["ips"])
        self._servers.enter_context(Server(pod, TARGET, name))
        return Pod(pod, {4: v4, 6: v6})

    def ports(self, family: int) -> list[ServicePort]:
        """The ports of all services in a family."""
        behind = (("web", WEB, (self.a,)), ("plain", PLAIN, (self.plain,)), ("pair", PAIR, (self.a, self.c)))
        return [
            ServicePort(
                *("shop", name, f"p-{protocol}", protocol, address[family], PORT),
                tuple((pod.addresses[family], TARGET) for pod in pods),
            )
            for name, address, pods in behind
            for protocol in KINDS
        ]

    def proxy(self, mode: str, masquerade_all: bool = False) -> None:
        """Puts kube-proxy's rules of a mode in place on both nodes, and takes away what was there of it."""
        for node in self.nodes:
            forget(node)
            for family in FAMILIES:
                cluster = Cluster(PODS[family], SERVICES[family], masquerade_all)
                if mode == "nftables":
                    feed(node, kube_proxy.nftables(self.ports(family), cluster), "nft", "-f", "-")
                else:
                    program = "iptables-nft-restore" if family == 4 else "ip6tables-nft-restore"
                    feed(node, kube_proxy.iptables(self.ports(family), cluster), program)

    def filter_bridges(self, on: bool) -> None:
        """Whether the rules see what the bridges carry: with the example's sysctls, or without."""
        for node in self.nodes:
            node.execute(node.name, "sysctl", "-qp", str(EXAMPLES / "sysctl.conf"))
            for key in ("iptables", "ip6tables"):
                if not on:
                    node.execute(node.name, "sysctl", "-qw", f"net.bridge.bridge-nf-call-{key}=0")

    def answers(self, client: str, service: Mapping[int, str]) -> dict[str, str]:
        """What the service answers over each family and protocol to who asks from a namespace."""
        return {
            f"{protocol} v{family}": ask(client, service[family], PORT, kind)
            for family in FAMILIES
            for protocol, kind in KINDS.items()
        }

    def silent(self, client: str, service: Mapping[int, str]) -> set[str]:
        """The families in which the service does not answer, asked over UDP."""

        def answer(family: int) -> str:
            return ask(client, service[family], PORT, UDP)

        with ThreadPoolExecutor() as threads:
            asked = dict(zip(FAMILIES, threads.map(answer, FAMILIES), strict=True))
        return {f"v{family}" for family, told in asked.items() if told == "silence"}

    def both_answer(self, client: str, family: int) -> bool:
        """Whether each of the two pods of PAIR comes to answer."""
        seen: set[str] = set()
        for _ in range(TRIES):
            seen.add(ask(client, PAIR[family], PORT).partition(" ")[0])
            if seen == {"a", "c"}:
                return True
        return False


def everywhere(server: str, source: Mapping[int, str]) -> dict[str, str]:
    """What all answers are when one pod serves and sees this source."""
    return {
        f"{protocol} v{family}": f"{server} {source[family]}" for family in FAMILIES for protocol in KINDS
    }


def netconf(node: Node, number: int) -> dict[str, Any]:
    """The example's netconf, for a node with this number."""
    text = CONFLIST.read_text().replace("10.244.1.", f"10.244.{number}.").replace("244:1:", f"244:{number}:")
    conflist: dict[str, Any] = json.loads(text)
    (conf,) = conflist["plugins"]
    own: dict[str, Any] = conf | {key: conflist[key] for key in ("cniVersion", "name")}
    return own | {"stateDir": str(node.state)}


def feed(node: Node, text: str, *argv: str) -> None:
    """Runs a command in the node that reads what it is to do."""
    done = subprocess.run(
        ["ip", "netns", "exec", node.name, *argv],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr


def forget(node: Node) -> None:
    """Removes every table that kube-proxy may have made; anypod's own stays."""
    tables = [f"{family} {name}" for family in ("ip", "ip6") for name in ("nat", "filter", "kube-proxy")]
    feed(node, "".join(f"add table {one}\ndelete table {one}\n" for one in tables), "nft", "-f", "-")
