"""The plugin under containerd's CRI service, as the kubelet uses it: what a pod gets."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.cri_client import CriError
from tests.system.outside import NODE, PEER, Outside

if TYPE_CHECKING:
    from tests.system.containerd_rig import Containerd
    from tests.system.runtime_host import RuntimeHost

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/netconf"
ANNOTATIONS = "io.kubernetes.cri.pod-annotations"
CAPABILITIES = {"portMappings": True, "bandwidth": True, "dns": True, ANNOTATIONS: True}
# What the kubelet takes for a burst without an end.
NO_BURST = 2**32 - 1


def dual_stack(**keys: object) -> dict[str, Any]:
    """The example of the repository, with the capabilities that containerd serves."""
    conflist: dict[str, Any] = json.loads((EXAMPLES / "20-dual-stack.conflist").read_text())
    conflist["plugins"][0] |= {"capabilities": CAPABILITIES, **keys}
    return conflist


def recorded(host: RuntimeHost) -> list[tuple[str, dict[str, Any]]]:
    """What the state file knows of each pod: its name, and what it was told."""
    with closing(sqlite3.connect(f"file:{host.node.state}/state.db?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT pod, detail FROM attachment").fetchall()
    return [(pod, json.loads(detail)) for pod, detail in rows]


@pytest.fixture
def running(containerd: Containerd) -> Containerd:
    containerd.configure(dual_stack())
    containerd.start()
    return containerd


def test_a_sandbox_has_an_address_of_each_family_and_is_reachable_at_once(running: Containerd) -> None:
    node = running.host.node
    sandbox = running.run()
    assert running.addresses(sandbox) == ["10.244.1.2", "fd00:244:1::2"]
    assert node.pings(node.name, "10.244.1.2")
    assert node.pings(node.name, "fd00:244:1::2")
    running.serve(sandbox, 8080)
    assert running.host.ask("10.244.1.2", 8080) == "10.244.1.1"
    assert running.host.ask("fd00:244:1::2", 8080, "udp") == "fd00:244:1::1"
    running.remove(sandbox)
    assert running.host.left_over() == {}


def test_what_containerd_sends_is_taken(running: Containerd) -> None:
    running.record()
    sandbox = running.run(
        annotations={
            "anypod.dev/note": "kept",
            "team": "blue",
            "kubernetes.io/ingress-bandwidth": "10M",
            "kubernetes.io/egress-bandwidth": "2M",
        },
        dns_config={"servers": ["10.96.0.10"], "searches": ["cluster.local"], "options": ["ndots:5"]},
        port_mappings=[{"container_port": 8080, "host_port": 80}, {"container_port": 9090}],
    )
    (call,) = running.recorded("ADD")
    environment, runtime = call.environment, call.conf["runtimeConfig"]
    assert environment["CNI_CONTAINERID"] == sandbox
    assert environment["CNI_IFNAME"] == "eth0"
    assert environment["CNI_NETNS"].startswith("/var/run/netns/cni-")
    assert dict(pair.split("=") for pair in environment["CNI_ARGS"].split(";")) == {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": "tests",
        "K8S_POD_NAME": "pod0",
        "K8S_POD_UID": "uid0",
        "K8S_POD_INFRA_CONTAINER_ID": sandbox,
    }
    # The fields of Go's structs, whose first letter is a capital one: go-cni gives them no JSON names.
    assert runtime["portMappings"] == [
        {"HostPort": 80, "ContainerPort": 8080, "Protocol": "tcp", "HostIP": ""}
    ]
    rates = {"IngressRate": 10**7, "IngressBurst": NO_BURST, "EgressRate": 2 * 10**6, "EgressBurst": NO_BURST}
    assert runtime["bandwidth"] == rates
    dns = {"Servers": ["10.96.0.10"], "Searches": ["cluster.local"], "Options": ["ndots:5"]}
    assert runtime["dns"] == dns
    assert runtime[ANNOTATIONS]["anypod.dev/note"] == "kept"
    assert recorded(running.host) == [("tests/pod0", {"annotations": {"anypod.dev/note": "kept"}})]
    running.call("StopPodSandbox", pod_sandbox_id=sandbox)
    (delete,) = running.recorded("DEL")
    # The pod's own DNS is in the result that containerd kept.
    assert delete.conf["prevResult"]["dns"] == {
        "nameservers": ["10.96.0.10"],
        "search": ["cluster.local"],
        "options": ["ndots:5"],
    }


def test_a_port_of_the_node_leads_to_the_pod_until_it_is_removed(running: Containerd) -> None:
    host = running.host
    outside = Outside(host.node)
    ports = [
        {"container_port": 8080, "host_port": 80},
        {"container_port": 8080, "host_port": 53, "protocol": "UDP"},
        {"container_port": 8080, "host_port": 81, "host_ip": "127.0.0.1"},
    ]
    sandbox = running.run(port_mappings=ports)
    running.serve(sandbox, 8080)
    for family in ("v4", "v6"):
        assert host.ask_from(outside.name, NODE[family], 80) == PEER[family]
        assert host.ask_from(outside.name, NODE[family], 53, "udp") == PEER[family]
        assert host.answers(NODE[family], 80)
    assert host.answers("127.0.0.1", 81)
    assert not host.answers(NODE["v4"], 81)
    running.remove(sandbox)
    assert not host.answers(NODE["v4"], 80)
    assert host.left_over() == {}


def test_two_pods_can_not_have_one_port_of_the_node(running: Containerd) -> None:
    sandbox = running.run(port_mappings=[{"container_port": 8080, "host_port": 80}])
    with pytest.raises(CriError, match=f"tcp host port 80 is mapped to {sandbox}/eth0"):
        running.run(port_mappings=[{"container_port": 9090, "host_port": 80}])
    assert set(running.host.node.held()) == {sandbox}
    running.remove(sandbox)
    running.remove(running.run(port_mappings=[{"container_port": 9090, "host_port": 80}]))
    assert running.host.left_over() == {}


def test_bandwidth_annotations_limit_both_ways(running: Containerd) -> None:
    node = running.host.node
    limits = {"kubernetes.io/ingress-bandwidth": "80M", "kubernetes.io/egress-bandwidth": "40M"}
    sandbox = running.run(annotations=limits)
    running.serve(sandbox, 8080)
    assert running.host.ask("10.244.1.2", 8080) == "10.244.1.1"
    qdiscs = json.loads(node.execute(node.name, "tc", "-j", "qdisc", "show"))
    buckets = {one["dev"][:4]: one["options"]["rate"] for one in qdiscs if one["kind"] == "tbf"}
    # tc counts in bytes.
    assert buckets == {"anyp": 10**7, "anyb": 5 * 10**6}
    running.remove(sandbox)
    assert running.host.left_over() == {}


def test_reference_plugins_behind_ours_map_ports_and_limit_too(containerd: Containerd) -> None:
    """As on a node whose conflist had `bridge` first: the rest of it stays as it was."""
    conflist = dual_stack(capabilities={})
    conflist["plugins"] += [
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}},
    ]
    containerd.configure(conflist)
    containerd.start()
    sandbox = containerd.run(
        port_mappings=[{"container_port": 8080, "host_port": 80}],
        annotations={"kubernetes.io/ingress-bandwidth": "80M"},
    )
    containerd.serve(sandbox, 8080)
    assert containerd.host.ask("10.244.1.1", 80)
    assert containerd.addresses(sandbox) == ["10.244.1.2", "fd00:244:1::2"]
    containerd.remove(sandbox)
    assert containerd.host.left_over() == {}
