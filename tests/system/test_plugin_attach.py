"""What ADD, DEL and VERSION do to the kernel and to the state file, as a runtime sees it."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.system.plugin_node import PODS, Node

# Each would cost a large part of what the whole verb may take.
TOO_SLOW = set(
    "asyncio click collections ctypes dataclasses enum functools grpc inspect ipaddress json jsonschema logging"
    " os pathlib pyroute2 re site socket sqlite3 subprocess typing".split()
)


def route_set(node: Node, pod: str, family: str) -> set[tuple[str, str]]:
    return {(one["dst"], one.get("gateway", "")) for one in node.ip(family, "route", namespace=pod)}


def test_add_gives_the_pod_addresses_routes_and_a_way_out(node: Node) -> None:
    pod = node.pod()
    result = node.add("c1", pod, node.conf(mtu=1450, hairpinMode=True))
    link = next(one for one in node.ip("addr", namespace=pod) if one["ifname"] == "eth0")
    addresses = {(one["local"], one["prefixlen"]) for one in link["addr_info"] if one["scope"] == "global"}
    assert addresses == {("10.244.1.2", 24), ("fd00:1::2", 64)}
    assert not any(one.get("tentative") for one in link["addr_info"] if one["scope"] == "global")
    assert link["mtu"] == 1450
    assert ("default", "10.244.1.1") in route_set(node, pod, "-4")
    assert ("default", "fd00:1::1") in route_set(node, pod, "-6")
    assert node.pings(pod, "10.244.1.1")
    assert node.pings(pod, "fd00:1::1")
    bridge, host, inner = result["interfaces"]
    assert bridge["name"] == "cni0"
    assert inner == {"name": "eth0", "mac": link["address"], "sandbox": f"/run/netns/{pod}"}
    shown = next(one for one in node.ip("link") if one["ifname"] == host["name"])
    assert (shown["master"], shown["mtu"], shown["ifalias"]) == ("cni0", 1450, "anypod pods c1/eth0")
    assert shown["linkinfo"]["info_slave_data"]["hairpin"] is True
    assert [one["interface"] for one in result["ips"]] == [2, 2]
    assert {"dst": "0.0.0.0/0", "gw": "10.244.1.1"} in result["routes"]
    assert node.held() == {"c1": ("10.244.1.2/24", "fd00:1::2/64")}


def test_pods_of_a_node_reach_each_other(node: Node) -> None:
    first, second = node.pod(), node.pod()
    node.add("c1", first)
    result = node.add("c2", second)
    for one in result["ips"]:
        assert node.pings(first, one["address"].partition("/")[0])


def test_del_leaves_the_bridge_and_nothing_else_and_may_be_repeated(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod)
    node.delete("c1", pod)
    assert node.links() == {"lo", "cni0"}
    assert node.links(pod) == {"lo"}
    assert node.held() == {}
    node.delete("c1", pod)


def test_del_succeeds_without_namespace_state_or_previous_add(node: Node) -> None:
    pod = node.pod()
    node.delete("never", pod)
    node.add("c1", pod)
    subprocess.run(["ip", "netns", "del", pod], check=True)
    node.pods.remove(pod)
    node.delete("c1", "")
    assert node.held() == {}


def test_del_removes_the_link_even_when_the_state_file_is_lost(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod)
    for file in node.state.iterdir():
        file.unlink()
    node.delete("c1", pod)
    assert node.links() == {"lo", "cni0"}


def test_two_interfaces_of_one_container_are_two_attachments(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod)
    node.add("c1", pod, ifname="net1")
    node.delete("c1", pod, ifname="eth0")
    assert node.links(pod) == {"lo", "net1"}
    assert node.held() == {"c1": ("10.244.1.3/24", "fd00:1::3/64")}


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_every_version_gets_its_result_and_can_delete(node: Node, version: str) -> None:
    pod = node.pod()
    conf = node.conf(cniVersion=version)
    result = node.add("c1", pod, conf)
    assert result["cniVersion"] == version
    assert ("ip4" in result) == (version in ("0.1.0", "0.2.0"))
    node.delete("c1", pod, conf | {"prevResult": result})
    assert node.held() == {}


@pytest.mark.parametrize("subnet", ["10.244.1.0/24", "fd00:1::/64"])
def test_one_family_alone_works(node: Node, subnet: str) -> None:
    pod = node.pod()
    result = node.add("c1", pod, node.conf(ipam={"subnet": subnet}))
    assert len(result["ips"]) == 1
    assert node.pings(pod, result["ips"][0]["gateway"])


def test_without_is_gateway_the_bridge_has_no_address(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod, node.conf(isDefaultGateway=False))
    bridge = next(one for one in node.ip("addr") if one["ifname"] == "cni0")
    assert [one for one in bridge["addr_info"] if one["scope"] == "global"] == []
    assert ("default", "10.244.1.1") not in route_set(node, pod, "-4")


def test_routes_of_ipam_are_made_in_the_pod(node: Node) -> None:
    pod = node.pod()
    ipam = PODS["ipam"] | {"routes": [{"dst": "10.96.0.0/12"}, {"dst": "192.0.2.0/24", "gw": "10.244.1.77"}]}
    node.add("c1", pod, node.conf(isDefaultGateway=False, isGateway=True, ipam=ipam))
    assert {("10.96.0.0/12", "10.244.1.1"), ("192.0.2.0/24", "10.244.1.77")} <= route_set(node, pod, "-4")


def test_the_second_add_loads_nothing_that_is_slow(node: Node) -> None:
    """The start-up budget: whoever imports a slow module on the hot path breaks this test, and no clock."""
    first, second = node.pod(), node.pod()
    node.add("c1", first, node.conf(ipMasq=True))
    interpreter = node.plugin.read_text().split("\n", 1)[0].removeprefix("#!").split()[0]
    argv = ["ip", "netns", "exec", node.name, interpreter, "-IS", "-X", "importtime", str(node.plugin)]
    stdin = json.dumps(node.conf(ipMasq=True)).encode()
    env = node.environment("ADD", "c2", second)
    done = subprocess.run(argv, input=stdin, env=env, capture_output=True, timeout=60, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines() if "|" in line}
    assert "_sqlite3" in loaded
    assert loaded & TOO_SLOW == set()
    assert not [name for name in loaded if name.startswith("cni.")], "not in the file of the image for ADD"


def test_version_answers_without_reading_stdin(node: Node) -> None:
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            [str(node.plugin)],
            stdin=reader,
            env={"CNI_COMMAND": "VERSION"},
            capture_output=True,
            timeout=10,
            check=True,
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert json.loads(done.stdout)["supportedVersions"] == [
        "0.1.0",
        "0.2.0",
        "0.3.0",
        "0.3.1",
        "0.4.0",
        "1.0.0",
        "1.1.0",
    ]


def test_a_person_who_runs_it_is_told_what_it_is(node: Node) -> None:
    done = subprocess.run([str(node.plugin)], env={}, capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout == ""
    assert "CNI protocol versions supported: 0.1.0" in done.stderr


def test_forwarding_that_somebody_switched_off_is_on_again_after_the_next_add(node: Node) -> None:
    keys = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
    node.add("c1", node.pod())
    for key in keys:
        node.execute(node.name, "sysctl", "-qw", f"{key}=0")
    node.add("c2", node.pod())
    assert [node.execute(node.name, "sysctl", "-n", key).strip() for key in keys] == ["1", "1"]


def test_ipv6_that_is_switched_off_by_default_is_switched_on_where_it_is_needed(node: Node) -> None:
    pod = node.pod()
    for namespace in (node.name, pod):
        node.execute(namespace, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    node.add("c1", pod)
    assert node.pings(pod, "fd00:1::1")


def test_the_pod_that_gets_an_address_next_has_its_hardware_address_too(node: Node) -> None:
    subnet = {"subnet": "10.244.1.0/24"}
    conf = node.conf(ipam=subnet | {"rangeStart": "10.244.1.2", "rangeEnd": "10.244.1.2"})
    neighbour, macs = node.pod(), []
    node.add("n", neighbour, node.conf(name="near", ipam=subnet | {"rangeStart": "10.244.1.9"}))
    for number in range(4):
        pod = node.pod()
        result = node.add(f"c{number}", pod, conf)
        macs.append((result["ips"][0]["address"], result["interfaces"][2]["mac"]))
        # With another one, node and neighbour would send to the old one for half a minute.
        assert node.pings(neighbour, "10.244.1.2")
        node.delete(f"c{number}", pod, conf)
    assert macs == [("10.244.1.2/24", "0a:58:0a:f4:01:02")] * 4


def test_a_bridge_that_somebody_made_keeps_its_hardware_address(node: Node) -> None:
    node.execute(node.name, "ip", "link", "add", "br7", "type", "bridge")
    pods = [node.pod() for _ in range(4)]
    told = [
        node.add(f"c{n}", pod, node.conf(bridge="br7"))["interfaces"][0]["mac"] for n, pod in enumerate(pods)
    ]
    for number, pod in enumerate(pods[:-1]):
        node.delete(f"c{number}", pod)
    kept = next(one["address"] for one in node.ip("link") if one["ifname"] == "br7")
    assert set(told) == {kept}


@pytest.mark.parametrize(
    "loss", [("link", "del", "cni0"), ("addr", "flush", "dev", "cni0"), ("link", "set", "cni0", "down")]
)
def test_a_bridge_that_was_damaged_is_whole_again_after_the_next_add(
    node: Node, loss: tuple[str, ...]
) -> None:
    node.add("c1", node.pod())
    node.execute(node.name, "ip", *loss)
    pod = node.pod()
    node.add("c2", pod)
    assert node.pings(pod, "10.244.1.1")
    assert node.pings(pod, "fd00:1::1")


def test_a_bridge_that_an_operator_made_is_used_as_it_is(node: Node) -> None:
    node.execute(node.name, "ip", "link", "add", "br7", "address", "02:00:00:00:00:07", "type", "bridge")
    node.execute(node.name, "ip", "addr", "add", "10.244.1.1/24", "dev", "br7")
    pod = node.pod()
    result = node.add("c1", pod, node.conf(bridge="br7"))
    assert result["interfaces"][0] == {"name": "br7", "mac": "02:00:00:00:00:07"}
    assert node.pings(pod, "10.244.1.1")
