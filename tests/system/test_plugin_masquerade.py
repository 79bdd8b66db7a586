"""`ipMasq`: one table for the node, and what an outsider sees."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.system.plugin_node import Node


def masquerade_sources(node: Node) -> list[Any]:
    shown = json.loads(node.execute(node.name, "nft", "-j", "list", "set", "inet", "anypod", "masquerade4"))
    found: list[Any] = shown["nftables"][1]["set"].get("elem", [])
    return found


def test_masquerade_is_one_table_for_the_node_and_comes_back_after_a_flush(node: Node) -> None:
    conf = node.conf(ipMasq=True)
    node.add("c1", node.pod(), conf)
    before = node.execute(node.name, "nft", "list", "ruleset")
    node.add("c2", node.pod(), conf)
    assert node.execute(node.name, "nft", "list", "ruleset") == before
    assert masquerade_sources(node) == [{"prefix": {"addr": "10.244.1.0", "len": 24}}]
    node.execute(node.name, "nft", "flush", "ruleset")
    node.add("c3", node.pod(), conf)
    assert node.execute(node.name, "nft", "list", "ruleset") == before


def test_masquerade_hides_the_pod_from_outside_and_not_from_its_neighbours(node: Node) -> None:
    conf = node.conf(ipMasq=True)
    outside = node.pod()
    run_ip = [
        "ip",
        "-n",
        node.name,
        "link",
        "add",
        "up0",
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        outside,
    ]
    subprocess.run(run_ip, check=True)
    for namespace, device, address in ((node.name, "up0", "192.0.2.1/24"), (outside, "eth0", "192.0.2.2/24")):
        node.execute(namespace, "ip", "addr", "add", address, "dev", device)
        node.execute(namespace, "ip", "link", "set", device, "up")
    pod = node.pod()
    node.add("c1", pod, conf)
    # The outside has no route to 10.244.1.0/24: an answer comes only to a masqueraded source.
    assert node.pings(pod, "192.0.2.2")
    node.execute(node.name, "nft", "flush", "ruleset")
    assert not node.pings(pod, "192.0.2.2")


ROUTER = """import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 9)); s.settimeout(10); print("ready", flush=True)
print(s.recvfrom(99)[1][0])"""


SENDER = """import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (sys.argv[1], 9))"""


def test_masquerade_leaves_what_stays_among_the_nodes_pods_alone(node: Node) -> None:
    first, second = node.pod(), node.pod()
    source = node.add("c1", first, node.conf(ipMasq=True))["ips"][0]["address"].partition("/")[0]
    other = node.conf(ipMasq=True, name="other", bridge="cni1", ipam={"subnet": "10.244.9.0/24"})
    target = node.add("c2", second, other)["ips"][0]["address"].partition("/")[0]
    argv = ["ip", "netns", "exec", second, "python3", "-c", ROUTER]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "ready\n"
        node.execute(first, "python3", "-c", SENDER, target)
        assert receiver.stdout.readline().strip() == source


def test_each_network_is_masqueraded_again_after_a_flush(node: Node) -> None:
    one = node.conf(ipMasq=True)
    other = node.conf(ipMasq=True, name="other", bridge="cni1", ipam={"subnet": "10.244.9.0/24"})
    for number, conf in enumerate((one, other)):
        node.add(f"before{number}", node.pod(), conf)
    before = masquerade_sources(node)
    node.execute(node.name, "nft", "flush", "ruleset")
    for number, conf in enumerate((other, one)):
        node.add(f"after{number}", node.pod(), conf)
    assert masquerade_sources(node) == before
    assert len(before) == 2
