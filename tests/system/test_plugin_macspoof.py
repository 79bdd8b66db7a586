"""`macspoofchk`: a pod sends from its own hardware address, or not at all."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.system.traffic import received, receiver, send_frame, udp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.plugin_node import Node

FOREIGN = "0a:58:0a:f4:01:63"


def own(node: Node, name: str, namespace: str = "") -> str:
    found: str = node.ip("link", "show", name, namespace=namespace)[0]["address"]
    return found


class Pair:
    """A pod that is held to its address, another beside it, and a service of the node and of that other pod."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.pod, self.other = node.pod(), node.pod()
        node.add("c1", self.pod, node.conf(macspoofchk=True))
        node.add("c2", self.other)
        self.services = {"10.244.1.1": receiver(node.name, 9), "10.244.1.3": receiver(self.other, 9)}
        self.macs = {"10.244.1.1": own(node, "cni0"), "10.244.1.3": own(node, "eth0", self.other)}

    def heard(self, sender: str, mac: str, ip: str, address: str) -> bool:
        """Whether a frame from this hardware address arrives; behind it goes one that does in any case."""
        service = self.services[address]
        for source, data in ((mac, b"first"), (own(self.node, "eth0", sender), b"last")):
            send_frame(sender, (source, self.macs[address]), (ip, address), 17, udp(999, 9, data))
        return b"first" in received(service, b"last")

    def close(self) -> None:
        for one in self.services.values():
            one.close()


@pytest.fixture
def pair(node: Node) -> Iterator[Pair]:
    with closing(Pair(node)) as made:
        yield made


@pytest.mark.parametrize("address", ["10.244.1.1", "10.244.1.3"])
def test_a_frame_with_another_address_goes_nowhere(pair: Pair, address: str) -> None:
    assert pair.heard(pair.pod, own(pair.node, "eth0", pair.pod), "10.244.1.2", address)
    assert not pair.heard(pair.pod, FOREIGN, "10.244.1.2", address)
    # Nor does the address of a pod that is not held to it.
    assert not pair.heard(pair.pod, own(pair.node, "eth0", pair.other), "10.244.1.2", address)


def test_a_pod_of_a_network_without_it_may_send_as_it_likes(pair: Pair) -> None:
    assert pair.heard(pair.other, FOREIGN, "10.244.1.3", "10.244.1.1")


def test_a_changed_address_is_held_against_the_pod(pair: Pair) -> None:
    pod = pair.pod
    assert pair.node.pings(pod, "10.244.1.1")
    pair.node.execute(pod, "ip", "link", "set", "eth0", "address", FOREIGN)
    assert not pair.node.pings(pod, "10.244.1.1")


def test_an_address_that_was_asked_for_is_the_pods_own(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod, node.conf(macspoofchk=True, runtimeConfig={"mac": FOREIGN}))
    assert own(node, "eth0", pod) == FOREIGN
    assert node.pings(pod, "10.244.1.1")


def test_del_leaves_no_element_and_adds_leave_no_rule(node: Node) -> None:
    conf = node.conf(macspoofchk=True)
    pods = [node.pod() for _ in range(3)]
    node.add("c0", pods[0], conf)
    before = node.execute(node.name, "nft", "-j", "list", "table", "bridge", "anypod")
    for number in (1, 2):
        node.add(f"c{number}", pods[number], conf)
    shown = json.loads(node.execute(node.name, "nft", "-j", "list", "table", "bridge", "anypod"))["nftables"]
    assert sum("rule" in one for one in shown) == 1
    assert [len(one["set"]["elem"]) for one in shown if "set" in one] == [3, 3]
    for number in (1, 2):
        node.delete(f"c{number}", pods[number], conf)
    assert node.execute(node.name, "nft", "-j", "list", "table", "bridge", "anypod") == before
    node.delete("c0", pods[0], conf)
    assert "elem" not in node.execute(node.name, "nft", "-j", "list", "table", "bridge", "anypod")
