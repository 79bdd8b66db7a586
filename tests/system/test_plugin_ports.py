"""Port mappings, through the installed plugin: who reaches a pod by a port of its node, and as whom."""

from __future__ import annotations

import json
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.outside import NODE, PEER, Outside
from tests.system.traffic import (
    TCP,
    UDP,
    Server,
    ask,
    client,
    exchange,
    received,
    receiver,
    sctp_init,
    send_frame,
    udp,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.plugin_node import Node

GATEWAY = {"v4": "10.244.1.1", "v6": "fd00:1::1"}
KINDS = {"tcp": TCP, "udp": UDP}
BOTH = pytest.mark.parametrize("protocol", ["tcp", "udp"])
FAMILIES = pytest.mark.parametrize("family", ["v4", "v6"])


def mapped(*ports: tuple[int, int], **more: object) -> dict[str, Any]:
    """A runtimeConfig that maps ports, (host, container), of TCP and UDP."""
    found = [
        {"hostPort": host, "containerPort": port, "protocol": protocol, **more}
        for host, port in ports
        for protocol in KINDS
    ]
    return {"portMappings": found}


def add(node: Node, container: str, *ports: tuple[int, int], **more: object) -> str:
    """A pod with mapped ports."""
    pod = node.pod()
    node.add(container, pod, node.conf(runtimeConfig=mapped(*ports, **more)))
    return pod


def listed(node: Node, kind: str) -> list[dict[str, Any]]:
    """The objects of one kind in the node's whole ruleset."""
    found = json.loads(node.execute(node.name, "nft", "-j", "list", "ruleset"))["nftables"]
    return [one[kind] for one in found if kind in one]


def elements(node: Node) -> dict[str, int]:
    """How many elements of pods the sets and maps have."""
    found = [*listed(node, "map"), *listed(node, "set")]
    return {
        one["name"]: len(one["elem"])
        for one in found
        if one["name"] not in ("bridges", "hairpins") and one.get("elem")
    }


@pytest.fixture
def outside(node: Node) -> Outside:
    return Outside(node)


class Stage:
    """A node with a peer outside, one pod with a server behind host port 8080, and another pod beside it."""

    def __init__(self, node: Node, filtered: bool) -> None:
        self.node = node
        self.outside = Outside(node)
        for key in ("iptables", "ip6tables"):
            node.execute(node.name, "sysctl", "-qw", f"net.bridge.bridge-nf-call-{key}={int(filtered)}")
        # A frame that br_netfilter sends back to where it came from needs a port that does so.
        conf = node.conf(runtimeConfig=mapped((8080, 80)), hairpinMode=filtered)
        self.pod, self.address = self._attach("c1", conf)
        self.other, self.beside = self._attach("c2", node.conf())

    def _attach(self, container: str, conf: dict[str, Any]) -> tuple[str, dict[str, str]]:
        pod = self.node.pod()
        v4, v6 = (one["address"].partition("/")[0] for one in self.node.add(container, pod, conf)["ips"])
        return pod, {"v4": v4, "v6": v6}


@pytest.fixture(params=["frames past netfilter", "frames through netfilter"])
def stage(request: pytest.FixtureRequest, node: Node) -> Iterator[Stage]:
    """Both settings of br_netfilter: with it, what stays on a bridge passes the node's rules too."""
    made = Stage(node, request.param == "frames through netfilter")
    with Server(made.pod, 80, "c1"):
        yield made


@BOTH
@FAMILIES
def test_a_client_outside_reaches_the_pod_and_keeps_its_address(
    stage: Stage, protocol: str, family: str
) -> None:
    answer = ask(stage.outside.name, NODE[family], 8080, KINDS[protocol])
    assert answer == f"c1 {PEER[family]}"


@BOTH
@FAMILIES
def test_the_node_reaches_the_pod_by_its_own_address(stage: Stage, protocol: str, family: str) -> None:
    for address in (NODE[family], GATEWAY[family]):
        assert ask(stage.node.name, address, 8080, KINDS[protocol]) == f"c1 {address}"


@BOTH
def test_the_node_reaches_the_pod_by_its_loopback_address(stage: Stage, protocol: str) -> None:
    for address in ("127.0.0.1", "127.8.8.8"):
        assert ask(stage.node.name, address, 8080, KINDS[protocol]) == f"c1 {GATEWAY['v4']}"


def test_the_loopback_address_of_ipv6_stays_the_nodes_own(stage: Stage) -> None:
    assert ask(stage.node.name, "::1", 8080) == "refused"
    with Server(stage.node.name, 8080, "node"):
        assert ask(stage.node.name, "::1", 8080) == "node ::1"


@BOTH
@FAMILIES
def test_a_pod_on_the_same_bridge_reaches_it(stage: Stage, protocol: str, family: str) -> None:
    for address in (NODE[family], GATEWAY[family]):
        assert ask(stage.other, address, 8080, KINDS[protocol]) == f"c1 {GATEWAY[family]}"


@BOTH
@FAMILIES
def test_the_pod_reaches_itself(stage: Stage, protocol: str, family: str) -> None:
    for address in (NODE[family], GATEWAY[family]):
        assert ask(stage.pod, address, 8080, KINDS[protocol]) == f"c1 {GATEWAY[family]}"


def test_a_pod_gets_at_nothing_that_listens_on_the_nodes_loopback(stage: Stage) -> None:
    node, pod = stage.node, stage.other
    own = node.ip("link", "show", "eth0", namespace=pod)[0]["address"]
    macs = own, node.ip("link", "show", "cni0")[0]["address"]
    with receiver(node.name, 9090) as service:

        def heard(source: str, destination: str) -> set[bytes]:
            send_frame(pod, macs, (source, destination), 17, udp(999, 9090, b"to loopback"))
            send_frame(pod, macs, (stage.beside["v4"], GATEWAY["v4"]), 17, udp(999, 9090, b"to the gateway"))
            return received(service, b"to the gateway")

        assert heard(stage.beside["v4"], "127.0.0.1") == {b"to the gateway"}
        assert heard("127.0.0.1", "127.0.0.1") == {b"to the gateway"}
        # Without the rule it would arrive, since the node lets 127.0.0.1 out to its pods.
        node.execute(node.name, *"nft flush chain inet anypod loopback".split())
        assert heard(stage.beside["v4"], "127.0.0.1") == {b"to loopback", b"to the gateway"}


@pytest.mark.parametrize(
    ("host_ip", "reached"),
    [
        ("192.0.2.1", {"192.0.2.1"}),
        ("2001:db8::1", {"2001:db8::1"}),
        ("127.0.0.1", {"127.0.0.1"}),
        ("0.0.0.0", {"192.0.2.1", "10.244.1.1", "127.0.0.1"}),
        ("::", {"2001:db8::1", "fd00:1::1"}),
        ("", {"192.0.2.1", "10.244.1.1", "127.0.0.1", "2001:db8::1", "fd00:1::1"}),
    ],
)
def test_an_address_of_the_node_maps_that_address_alone(
    node: Node, outside: Outside, host_ip: str, reached: set[str]
) -> None:
    pod = add(node, "c1", (8080, 80), hostIP=host_ip)
    addresses = {*NODE.values(), *GATEWAY.values(), "127.0.0.1"}
    with Server(pod, 80, "c1"):
        answers = {one: ask(node.name, one, 8080).partition(" ")[0] for one in addresses}
        from_outside = {one: ask(outside.name, one, 8080).partition(" ")[0] for one in NODE.values()}
    assert {one for one, answer in answers.items() if answer == "c1"} == reached
    assert {answers[one] for one in addresses - reached} <= {"refused"}
    assert {one for one, answer in from_outside.items() if answer == "c1"} == reached & set(NODE.values())


def test_a_mapping_of_one_address_goes_before_that_of_all(node: Node, outside: Outside) -> None:
    every = add(node, "c1", (8080, 80))
    one = add(node, "c2", (8080, 80), hostIP=NODE["v4"])
    with Server(every, 80, "c1"), Server(one, 80, "c2"):
        assert ask(outside.name, NODE["v4"], 8080) == f"c2 {PEER['v4']}"
        assert ask(outside.name, NODE["v6"], 8080) == f"c1 {PEER['v6']}"
        assert ask(node.name, GATEWAY["v4"], 8080) == f"c1 {GATEWAY['v4']}"


def test_a_pod_of_another_network_keeps_its_address(node: Node) -> None:
    conf = node.conf(name="others", bridge="cni1", ipam={"subnet": "10.244.2.0/24"})
    pod, other = add(node, "c1", (8080, 80)), node.pod()
    node.add("c2", other, conf | {"runtimeConfig": mapped((9090, 90))})
    with Server(pod, 80, "c1"), Server(other, 90, "c2"):
        assert ask(other, "10.244.2.1", 8080) == "c1 10.244.2.2"
        assert ask(pod, "10.244.1.1", 9090) == "c2 10.244.1.2"
        assert ask(node.name, "127.0.0.1", 9090) == "c2 10.244.2.1"


def test_a_host_port_that_is_taken_is_refused_and_named(node: Node) -> None:
    first = add(node, "c1", (8080, 80))
    before = node.traces()
    conf = node.conf(runtimeConfig=mapped((9090, 90), (8080, 80)))
    second = node.pod()
    answer = node.verb("ADD", "c2", second, conf)
    assert (answer.status, answer.json["code"]) == (1, 105)
    assert "tcp host port 8080" in answer.json["msg"]
    assert "c1/eth0" in answer.json["msg"]
    assert node.traces()["nft"] == before["nft"]
    assert node.traces()["links"] == before["links"]
    with Server(first, 80, "c1"):
        assert ask(node.name, "127.0.0.1", 8080) == f"c1 {GATEWAY['v4']}"
    node.delete("c1", first)
    node.add("c2", second, conf)
    with Server(second, 80, "c2"):
        assert ask(node.name, "127.0.0.1", 8080) == f"c2 {GATEWAY['v4']}"


def test_del_takes_the_mapping_away_and_nothing_else(node: Node) -> None:
    kept, gone = add(node, "c1", (8080, 80)), add(node, "c2", (9090, 80))
    assert elements(node) == {"hostports4": 4, "hostports6": 4, "published4": 4, "published6": 4}
    node.delete("c2", gone)
    assert elements(node) == {"hostports4": 2, "hostports6": 2, "published4": 2, "published6": 2}
    with Server(kept, 80, "c1"), Server(gone, 80, "c2"):
        assert ask(node.name, GATEWAY["v4"], 8080) == f"c1 {GATEWAY['v4']}"
        assert ask(node.name, GATEWAY["v4"], 9090) == "refused"
    node.delete("c1", kept)
    assert elements(node) == {}


def test_no_pod_adds_a_rule(node: Node) -> None:
    conf = node.conf(ipMasq=True, macspoofchk=True, runtimeConfig=mapped((8000, 80)))
    node.add("c0", node.pod(), conf)
    before = listed(node, "rule")
    for number in range(1, 4):
        node.add(f"c{number}", node.pod(), conf | {"runtimeConfig": mapped((8000 + number, 80))})
    assert listed(node, "rule") == before


def test_check_sees_a_mapping_that_is_lost(node: Node) -> None:
    pod = node.pod()
    conf = node.conf(runtimeConfig=mapped((8080, 80)))
    conf |= {"prevResult": node.add("c1", pod, conf)}
    assert node.verb("CHECK", "c1", pod, conf).status == 0
    node.execute(node.name, "nft", "delete element inet anypod hostports6 { udp . 8080 }")
    answer = node.verb("CHECK", "c1", pod, conf)
    assert (answer.status, answer.json["code"]) == (1, 104)
    assert "udp host port 8080" in answer.json["msg"]


def test_host_port_0_is_no_mapping(node: Node) -> None:
    pod = node.pod()
    ports = [{"hostPort": 0, "containerPort": 80, "protocol": "tcp"}]
    node.add("c1", pod, node.conf(runtimeConfig={"portMappings": ports}))
    assert node.execute(node.name, "nft", "list", "tables") == ""


def test_a_client_that_goes_on_sending_is_led_to_the_new_pod(node: Node, outside: Outside) -> None:
    with (
        client(outside.name, NODE["v4"], 8080, UDP) as v4,
        client(outside.name, NODE["v6"], 8080, UDP) as v6,
        Server(node.name, 8080, "node"),
    ):
        assert (exchange(v4), exchange(v6)) == (f"node {PEER['v4']}", f"node {PEER['v6']}")
        for container in ("c1", "c2"):
            pod = add(node, container, (8080, 80))
            with Server(pod, 80, container):
                answers = exchange(v4), exchange(v6)
            assert answers == (f"{container} {PEER['v4']}", f"{container} {PEER['v6']}")
            node.delete(container, pod)


def test_sctp_is_mapped(node: Node, outside: Outside) -> None:
    """This needs no SCTP in the kernel: an INIT chunk is sent raw, and the pod sees it raw."""
    pod = node.pod()
    ports = [{"hostPort": 8080, "containerPort": 80, "protocol": "SCTP"}]
    node.add("c1", pod, node.conf(runtimeConfig={"portMappings": ports}))
    macs = tuple(
        node.ip("link", "show", name, namespace=where)[0]["address"]
        for where, name in ((outside.name, "eth0"), (node.name, "up0"))
    )
    with within(pod, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)) as inside:
        inside.settimeout(10)
        send_frame(outside.name, (macs[0], macs[1]), (PEER["v4"], NODE["v4"]), 132, sctp_init(999, 8080))
        packet, peer = inside.recvfrom(99)
    assert (packet[20:24], peer[0]) == (struct.pack(">HH", 999, 80), PEER["v4"])
