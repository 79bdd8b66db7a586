"""Virtual IPs of pods on our own bridge: on lo, in the state file, and gone with the pod."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from cni.healthcheck import load
from tests.system.anycast_rig import (
    GROUP,
    OTHER_V4,
    POOLS,
    V4,
    V6,
    asking,
    ips,
    make_group,
    nexthops,
    on_lo,
    served,
    sysctl,
)
from tests.system.plugin_node import refused, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.plugin_node import Node


def test_a_pod_that_asks_has_the_vips_on_lo_and_in_the_state_file(node: Node) -> None:
    plain, pod = node.pod(), node.pod()
    without = node.add("plain", plain)
    conf = asking(node, V4, V6)
    conf["runtimeConfig"]["anycast"] = {"check": "tcp://:80 interval=2", "weight": 7}
    result = node.add("c1", pod, conf)
    assert on_lo(node, pod) == {f"{V4}/32", f"{V6}/128"}
    (lo,) = node.ip("addr", "show", "lo", namespace=pod)
    assert not any(one.get("tentative") or one.get("dadfailed") for one in lo["addr_info"])
    # The interface and the result are as without.
    assert node.held()["c1"] == ("10.244.1.3/24", "fd00:1::3/64")
    assert result.keys() == without.keys()
    assert len(result["ips"]) == 2
    (eth0,) = node.ip("addr", "show", "eth0", namespace=pod)
    assert {one["local"] for one in eth0["addr_info"] if one["scope"] == "global"} == {
        "10.244.1.3",
        "fd00:1::3",
    }
    six, four = served(node)["c1"]
    assert (four.ip, four.via, four.weight, four.pool) == (V4, "10.244.1.3", 7, "edge")
    assert (six.ip, six.via, six.weight, six.pool) == (V6, "fd00:1::3", 7, "edge")
    assert str(load(json.loads(four.health))) == "tcp://:80"
    assert four.nexthop != six.nexthop
    assert {number >> 28 for number in (four.nexthop, six.nexthop)} == {6}


def test_pods_of_the_network_ignore_redirects_and_the_node_sends_none(node: Node) -> None:
    """With VIPs or without: it is the pod that talks to a VIP which a redirect would tie to one endpoint."""
    pod, plain, other = node.pod(), node.pod(), node.pod()
    node.add("c1", pod, asking(node, V4))
    node.add("c2", plain, asking(node))
    node.add("c3", other, node.conf(name="others", bridge="cni1", ipam={"subnet": "10.9.0.0/24"}))
    for name in (pod, plain):
        assert sysctl(node, name, "ipv4/conf/all/accept_redirects") == "0"
        assert sysctl(node, name, "ipv4/conf/eth0/accept_redirects") == "0"
        assert sysctl(node, name, "ipv6/conf/eth0/accept_redirects") == "0"
    assert sysctl(node, pod, "ipv4/conf/eth0/arp_ignore") == "1"
    assert sysctl(node, pod, "ipv4/conf/eth0/arp_announce") == "2"
    assert sysctl(node, plain, "ipv4/conf/eth0/arp_ignore") == "0"
    assert sysctl(node, node.name, "ipv4/conf/cni0/send_redirects") == "0"
    assert sysctl(node, node.name, "ipv4/conf/all/send_redirects") == "0"
    assert sysctl(node, other, "ipv4/conf/eth0/accept_redirects") == "1"
    assert sysctl(node, node.name, "ipv4/conf/cni1/send_redirects") == "1"


def test_netconf_annotation_and_runtime_each_may_ask(node: Node) -> None:
    pods = [node.pod() for _ in range(4)]
    every = POOLS | {"vips": [V4], "check": "exec:/bin/true", "weight": 3}
    node.add("c1", pods[0], node.conf(anycast=every))
    node.add("c2", pods[1], asking(node, OTHER_V4, anycast=every))
    node.add("c3", pods[2], node.conf(anycast=every, runtimeConfig={"anycast": {"vips": [V6], "weight": 9}}))
    node.add("c4", pods[3], node.conf(anycast=POOLS))
    assert ips(node) == {"c1": [V4], "c2": [OTHER_V4], "c3": [V6]}
    found = {container: vips[0] for container, vips in served(node).items()}
    assert [found[name].weight for name in ("c1", "c2", "c3")] == [3, 3, 9]
    assert {load(json.loads(one.health)).kind for one in found.values()} == {"exec"}


def test_an_ipv4_vip_of_a_pod_with_ipv6_alone_is_reached_by_that(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod, asking(node, V4, V6, ipam={"subnet": "fd00:1::/64"}))
    assert {vip.via for vip in served(node)["c1"]} == {"fd00:1::2"}
    assert len({vip.nexthop for vip in served(node)["c1"]}) == 1


def test_del_takes_the_pod_out_of_its_groups_and_leaves_nothing(node: Node) -> None:
    first, second = node.pod(), node.pod()
    node.add("c1", first, asking(node, V4))
    node.add("c2", second, asking(node, V4, V6))
    make_group(node)
    gone = {vip.nexthop for vip in served(node)["c1"]}
    assert gone < set(nexthops(node)[GROUP])
    node.delete("c1", first, asking(node, V4))
    assert ips(node) == {"c2": [V4, V6]}
    left = {vip.nexthop for vip in served(node)["c2"] if vip.ip == V4}
    assert nexthops(node) == {GROUP: list(left), **{number: [] for number in left}}
    assert on_lo(node, first) == set()
    node.delete("c2", second, asking(node, V4, V6))
    assert (ips(node), nexthops(node), on_lo(node, second)) == ({}, {}, set())
    assert V4 not in json.dumps(node.ip("route"))
    node.delete("c2", second, asking(node, V4, V6))


def test_two_interfaces_of_a_pod_may_serve_the_same_vip(node: Node) -> None:
    pod = node.pod()
    conf = asking(node, V4)
    node.add("c1", pod, conf)
    node.add("c1", pod, conf, ifname="net1")
    node.delete("c1", pod, conf)
    assert on_lo(node, pod) == {f"{V4}/32"}
    assert [vip.via for vip in served(node)["c1"]] == ["10.244.1.3"]
    node.delete("c1", pod, conf, ifname="net1")
    assert on_lo(node, pod) == set()


def test_del_of_a_pod_whose_namespace_has_gone_succeeds(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod, asking(node, V4))
    make_group(node)
    run("ip", "netns", "del", pod)
    node.pods.remove(pod)
    node.delete("c1", "", asking(node, V4))
    assert (ips(node), nexthops(node)) == ({}, {})


def test_del_ends_a_pod_that_gave_its_lo_another_name(node: Node) -> None:
    """With CAP_NET_ADMIN it can; its virtual IP must not stay announced for that, nor the sandbox."""
    pod = node.pod()
    node.add("c1", pod, asking(node, V4))
    node.execute(pod, *"ip link set lo down".split())
    node.execute(pod, *"ip link set lo name else".split())
    node.delete("c1", pod, asking(node, V4))
    assert ips(node) == {}
    assert V4 not in node.execute(pod, "ip", "addr")


def test_check_sees_a_vip_that_is_lost(node: Node) -> None:
    pod = node.pod()
    conf = asking(node, V4, V6)
    conf |= {"prevResult": node.add("c1", pod, conf)}
    assert node.verb("CHECK", "c1", pod, conf).status == 0
    for vip, length in ((V4, 32), (V6, 128)):
        node.execute(pod, *f"ip addr del {vip}/{length} dev lo".split())
        refused(node.verb("CHECK", "c1", pod, conf), 104, f"lost its virtual IP {vip}")
        node.execute(pod, *f"ip addr add {vip}/{length} dev lo".split())
    node.execute(pod, *"ip link set lo down".split())
    refused(node.verb("CHECK", "c1", pod, conf), 104, "is down; set it up")


def test_gc_and_reclaim_end_what_is_served(node: Node) -> None:
    first, second = node.pod(), node.pod()
    small = {"ipam": {"subnet": "10.244.1.0/29", "rangeStart": "10.244.1.2", "rangeEnd": "10.244.1.3"}}
    conf = asking(node, V4, cniVersion="1.1.0", **small)
    node.add("c1", first, conf)
    node.add("c2", second, conf)
    make_group(node)
    valid = conf | {"cni.dev/valid-attachments": [{"containerID": "c2", "ifname": "eth0"}]}
    answer = node.call(
        {"PATH": os.environ["PATH"], "CNI_COMMAND": "GC", "CNI_PATH": "/x"}, json.dumps(valid).encode()
    )
    assert answer.status == 0, answer
    assert ips(node) == {"c2": [V4]}
    assert len(nexthops(node)[GROUP]) == 1
    node.add("c3", first, conf)
    # Without DEL: the next pod takes back what is needed, its endpoint with it.
    run("ip", "netns", "del", second)
    node.pods.remove(second)
    third = node.pod()
    node.add("c4", third, conf)
    assert ips(node).keys() == {"c3", "c4"}
    assert nexthops(node) == {}


def test_a_pod_gets_no_address_that_is_served_as_a_vip(node: Node) -> None:
    """Of another network, whose range the pools of this one do not know."""
    pods = [node.pod() for _ in range(4)]
    node.add("c1", pods[0], asking(node, "198.51.100.2"))
    other = node.conf(name="others", bridge="cni1", ipam={"subnet": "198.51.100.0/29"})
    result = node.add("c2", pods[1], other)
    assert result["ips"][0]["address"] == "198.51.100.3/29"
    asked = other | {"args": {"cni": {"ips": ["198.51.100.2"]}}}
    refused(node.verb("ADD", "c3", pods[2], asked), 102, "198.51.100.2 is held by c1/eth0 already")
    # And the other way round.
    refused(
        node.verb("ADD", "c4", pods[3], asking(node, "198.51.100.3")),
        102,
        "198.51.100.3 is the address of c2/eth0",
    )
    assert ips(node) == {"c1": ["198.51.100.2"]}


def test_an_address_that_was_released_and_is_a_vip_now_is_passed_over(node: Node) -> None:
    pods = [node.pod() for _ in range(3)]
    small = {"subnet": "198.51.100.0/29", "rangeStart": "198.51.100.2", "rangeEnd": "198.51.100.3"}
    other = node.conf(name="others", bridge="cni1", ipam=small)
    for container in ("a", "b"):
        node.add(container, pods[0], other)
        node.delete(container, pods[0], other)
    node.add("c1", pods[0], asking(node, "198.51.100.2"))
    assert node.add("c2", pods[1], other)["ips"][0]["address"] == "198.51.100.3/29"
    refused(node.verb("ADD", "c3", pods[2], other), 100, "no IP addresses available")


def test_a_killed_add_leaves_no_endpoint_and_a_retry_serves(node: Node) -> None:
    pod = node.pod()
    conf = asking(node, V4)
    node.add("warm", node.pod(), asking(node))
    for delay in range(0, 60, 6):
        process = node.start(node.environment("ADD", "c1", pod), conf)
        time.sleep(delay / 1000)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        node.delete("c1", pod, conf)
        assert (ips(node), on_lo(node, pod), node.links(pod)) == ({}, set(), {"lo"})
    node.add("c1", pod, conf)
    assert ips(node) == {"c1": [V4]}


def test_an_add_that_fails_behind_the_vips_takes_them_back(node: Node) -> None:
    """A pod address of another network takes the VIP between the first look and the last."""
    pod = node.pod()
    conf = asking(node, V4)
    node.add("warm", node.pod(), asking(node))
    db = sqlite3.connect(node.state / "state.db", isolation_level=None)
    db.execute(
        "CREATE TRIGGER later AFTER INSERT ON attachment BEGIN INSERT INTO address VALUES"
        " ('others', 4, x'c633640a', 24, 'p', 'late', 'eth0', NULL); END"
    )
    refused(node.verb("ADD", "c1", pod, conf), 102, f"{V4} is the address of late/eth0")
    assert (ips(node), on_lo(node, pod), node.links(pod)) == ({}, set(), {"lo"})
    assert "c1" not in node.held()
    db.execute("DROP TRIGGER later")
    db.close()


@pytest.mark.parametrize("verb", ["ADD", "DEL"])
def test_pods_without_vips_read_none_of_the_modules(node: Node, verb: str, tmp_path: Path) -> None:
    pod = node.pod()
    conf = asking(node)
    node.add("warm", node.pod(), conf)
    if verb == "DEL":
        node.add("c1", pod, conf)
    launcher = node.plugin.read_text()
    interpreter = launcher.split("\n", 1)[0].removeprefix("#!").split()[0]
    # Without the image, whose modules the interpreter does not list.
    plain = tmp_path / "anypod"
    plain.write_text(launcher.replace("/image/start", "/none"))
    argv = ["ip", "netns", "exec", node.name, interpreter, "-IS", "-X", "importtime", str(plain)]
    env = node.environment(verb, "c1", pod)
    done = subprocess.run(
        argv, input=json.dumps(conf).encode(), env=env, capture_output=True, timeout=60, check=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines() if "|" in line}
    assert {"cni.store", "cni.link"} <= loaded
    names = ("anycast", "pools", "vips", "healthcheck", "nexthop", "chained", "claims")
    assert loaded & {f"cni.{name}" for name in names} == set()
