"""Virtual IPs that a pod may not have: refused with the CNI error, nothing announced, nothing left."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.anycast_rig import ANNOTATIONS, V4, V6, add_of, asking, ips, on_lo, rows
from tests.system.plugin_node import refused, run

if TYPE_CHECKING:
    from tests.system.plugin_node import Node

NODE_IP = "198.51.100.200"


@pytest.fixture
def warm(node: Node) -> Node:
    """With a pod that serves, and an address of a pool on the node itself."""
    node.add("warm", node.pod(), asking(node, V4))
    for address in (f"{NODE_IP}/32", "2001:db8:a::200/128"):
        run("ip", "-n", node.name, "addr", "add", address, "dev", "lo")
    return node


def stands(node: Node, pod: str) -> dict[str, Any]:
    """All that a refused ADD could leave: on the node, in the pod, in the state file."""
    tables = ("attachment", "address", "element", "vip", "network")
    return {
        "traces": node.traces(),
        "lo": on_lo(node, pod),
        "routes": node.ip("route", "show", "table", "all"),
        "rows": {table: rows(node, f"SELECT * FROM {table}") for table in tables},  # noqa: S608
    }


@pytest.mark.parametrize(
    ("vips", "namespace", "code", "says"),
    [
        ("192.0.2.1", "dns", 106, "192.0.2.1 is in none of the network's pools: edge (198.51.100.0/24, "),
        (f"{V4}, 192.0.2.1", "dns", 106, "192.0.2.1 is in none of the network's pools"),
        ("2001:db8:b::1", "dns", 106, "2001:db8:b::1 is in none of the network's pools"),
        ("::ffff:198.51.100.10", "dns", 106, "is in none of the network's pools"),
        ("0.0.0.0", "dns", 106, "is in none of the network's pools"),
        ("10.244.1.1", "dns", 106, "is in none of the network's pools"),
        ("203.0.113.1", "shop", 106, "for pods of namespace dns or kube-*, and this pod is of shop"),
        ("203.0.113.1", "DNS", 106, "which is for pods of namespace dns or kube-*"),
        ("203.0.113.1", "", 106, "and this pod is of none"),
        (NODE_IP, "dns", 102, f"{NODE_IP} is an address of this node"),
        ("2001:db8:a::200", "dns", 102, "2001:db8:a::200 is an address of this node"),
        ("198.51.100.10/24", "dns", 7, "'198.51.100.10/24' is no IP address"),
        ("198.51.100.10;198.51.100.11", "dns", 7, "is no IP address"),
        ("$(reboot)", "dns", 7, "is no IP address"),
        ("'; DROP TABLE vip; --", "dns", 7, "is no IP address"),
        (", ".join(f"198.51.{n // 250}.{n % 250}" for n in range(10000)), "dns", 7, "at most 4096 characters"),
        (",".join(f"198.51.100.{n}" for n in range(65)), "dns", 7, "has 65 addresses; a pod serves at most 64"),
    ],
)  # fmt: skip
def test_an_annotation_that_is_not_granted_ends_add_and_leaves_nothing(
    warm: Node, vips: str, namespace: str, code: int, says: str
) -> None:
    pod = warm.pod()
    conf = asking(warm, vips)
    before = stands(warm, pod)
    answer = add_of(warm, "c1", pod, conf, namespace)
    refused(answer, code, says)
    assert "anypod.dev/anycast: " in answer.json["msg"]
    assert len(answer.json["msg"]) < 600
    assert stands(warm, pod) == before
    warm.delete("c1", pod, conf)
    assert ips(warm) == {"warm": [V4]}


@pytest.mark.parametrize(
    ("annotations", "says"),
    [
        ({"anypod.dev/anycast-check": "exec:/bin/sh"}, "a command, which only the netconf may name"),
        ({"anypod.dev/anycast-check": "tcp://127.0.0.1:53"}, "host is not left out"),
        ({"anypod.dev/anycast-weight": "1000"}, "no whole number from 1 to 100"),
    ],
)
def test_a_check_or_weight_that_nobody_may_ask_for_ends_add(
    warm: Node, annotations: dict[str, str], says: str
) -> None:
    pod = warm.pod()
    before = stands(warm, pod)
    conf = asking(warm, runtimeConfig={ANNOTATIONS: {"anypod.dev/anycast": V4} | annotations})
    refused(add_of(warm, "c1", pod, conf, "dns"), 7, says)
    assert stands(warm, pod) == before


def test_a_namespace_that_fits_is_granted(warm: Node) -> None:
    for number, namespace in enumerate(("dns", "kube-system")):
        answer = add_of(warm, f"c{number}", warm.pod(), asking(warm, f"203.0.113.{number}"), namespace)
        assert answer.status == 0, answer


def test_a_network_without_pools_grants_nothing(warm: Node) -> None:
    pod = warm.pod()
    conf = warm.conf(runtimeConfig={ANNOTATIONS: {"anypod.dev/anycast": V4}})
    before = stands(warm, pod)
    refused(
        warm.verb("ADD", "c1", pod, conf), 106, "network pods has no pools of virtual IPs; set anycast.pools"
    )
    assert stands(warm, pod) == before


def test_an_ipv6_vip_of_a_pod_without_ipv6_is_refused(warm: Node) -> None:
    pod = warm.pod()
    conf = asking(warm, V6, ipam={"subnet": "10.244.1.0/24"})
    refused(warm.verb("ADD", "c1", pod, conf), 106, "needs a pod with an IPv6 address, and this one has none")
    assert (ips(warm), on_lo(warm, pod), warm.links(pod)) == ({"warm": [V4]}, set(), {"lo"})


@pytest.mark.parametrize(
    ("pools", "says"),
    [
        ([{"name": "a", "addresses": ["10.244.0.0/16"]}], "overlaps ipam.ranges[0][0]"),
        ([{"name": "a", "addresses": ["fd00:1::/64"]}], "overlaps ipam.ranges[1][0]"),
        ([{"name": "a", "addresses": ["127.0.0.0/8"]}], "no network whose addresses are reached by routes"),
        ([{"name": "a", "addresses": ["198.51.100.0/24"], "namespace": ["x"]}], "is no key here"),
    ],
)
def test_pools_that_would_give_a_pod_what_others_have_are_refused(
    warm: Node, pools: list[dict[str, Any]], says: str
) -> None:
    pod = warm.pod()
    before = stands(warm, pod)
    refused(warm.verb("ADD", "c1", pod, warm.conf(anycast={"pools": pools})), 7, says)
    assert stands(warm, pod) == before


def test_a_gateway_that_a_pod_serves_as_a_vip_is_not_put_on_a_bridge(warm: Node) -> None:
    """Of another network: the node would take the pod's packets for its own."""
    pod = warm.pod()
    conf = warm.conf(name="others", bridge="cni1", ipam={"subnet": "198.51.100.8/29", "gateway": V4})
    refused(warm.verb("ADD", "c1", pod, conf), 102, f"{V4} is a virtual IP of warm/eth0")
    assert "cni1" not in warm.links()
    with closing(sqlite3.connect(warm.state / "state.db")) as db:
        assert db.execute("SELECT count(*) FROM attachment").fetchone() == (1,)
