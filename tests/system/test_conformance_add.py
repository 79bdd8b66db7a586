"""CNI specification, ADD: rules A1 to A3, A7, A8 and A10, with the installed executable as a process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.conformance_rig import (
    SLOW,
    V4,
    VERSIONS,
    FakeIpam,
    add_with,
    encoded,
    finish,
    refused,
    silent,
    untouched,
    wait_until,
)
from tests.system.plugin_node import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.plugin_node import Node


@pytest.mark.parametrize("ifname", ["eth0", "net1"])
def test_A1_the_interface_is_made_in_the_namespace_under_its_name(node: Node, ifname: str) -> None:
    pod = node.pod()
    result = node.add("c1", pod, ifname=ifname)
    link = next(one for one in node.ip("addr", namespace=pod) if one["ifname"] == ifname)
    assert {"UP", "LOWER_UP"} <= set(link["flags"])
    assert result["interfaces"][2]["mac"] == link["address"]
    assert node.links(pod) == {"lo", ifname}


@pytest.mark.parametrize("kind", ["bridge", "veth"])
def test_A1_an_interface_of_that_name_is_an_error_and_stays_as_it_was(node: Node, kind: str) -> None:
    pod = node.pod()
    node.execute(pod, "ip", "link", "add", "eth0", "type", kind)
    before = node.ip("addr", namespace=pod)
    refused(node.verb("ADD", "c1", pod), 101, "eth0")
    assert node.ip("addr", namespace=pod) == before
    assert node.held() == {}
    assert not [name for name in node.links() if name.startswith("anyp")]


@pytest.mark.parametrize("version", VERSIONS)
def test_A2_the_same_attachment_again_is_an_error_and_the_first_goes_on(node: Node, version: str) -> None:
    pod, other, conf = node.pod(), node.pod(), node.conf(cniVersion=version)
    node.add("c1", pod, conf)
    before = node.traces()
    refused(node.verb("ADD", "c1", pod, conf), 101, "run DEL first")
    refused(node.verb("ADD", "c1", other, conf), 101, "run DEL first")
    assert node.traces() == before
    assert node.pings(pod, "10.244.1.1")


FAILURES: dict[str, dict[str, Any]] = {
    "a route that can't be": {"ipam": V4 | {"routes": [{"dst": "192.0.2.0/24", "gw": "203.0.113.1"}]}},
    "an exhausted second set": {
        "ipam": {
            "ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "10.9.9.0/30", "rangeStart": "10.9.9.1"}]]
        }
    },
    "a host port that is taken": {
        "runtimeConfig": {
            "portMappings": [{"hostPort": 81, "containerPort": 80}, {"hostPort": 80, "containerPort": 80}]
        }
    },
    "an address that is taken": {"runtimeConfig": {"ips": ["10.244.1.200"]}},
    "bandwidth without its burst": {"runtimeConfig": {"bandwidth": {"ingressRate": 1000}}},
}


@pytest.mark.parametrize("what", FAILURES)
def test_A3_a_failure_takes_back_all_that_was_made(node: Node, what: str) -> None:
    busy = {
        "ips": ["10.244.1.200"],
        "portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "tcp"}],
    }
    node.add("holder", node.pod(), node.conf(runtimeConfig=busy, isDefaultGateway=False))
    small = FAILURES["an exhausted second set"] | {"isDefaultGateway": False}
    node.add("small", node.pod(), node.conf(**small))
    pod = node.pod()
    before = node.traces()
    answer = node.verb("ADD", "c1", pod, node.conf(isDefaultGateway=False) | FAILURES[what])
    assert answer.status == 1, answer
    assert answer.json["code"] != 999, answer
    assert node.traces() == before
    node.add("c1", pod)


@pytest.mark.parametrize(
    "answer",
    [
        {"code": 111, "msg": "the fake refuses"},
        {"cniVersion": "1.0.0", "ips": [{"address": "nonsense"}]},
        {"cniVersion": "1.0.0", "ips": []},
        {
            "cniVersion": "1.0.0",
            "ips": [{"address": "192.0.2.7/24"}],
            "routes": [{"dst": "10.0.0.0/8", "gw": "1.2.3.4"}],
        },
    ],
    ids=["an error", "no address", "nothing", "a route that the kernel refuses"],
)
def test_A3_a_delegated_plugin_is_run_with_del_before_the_error_is_told(
    node: Node, tmp_path: Path, answer: dict[str, Any]
) -> None:
    ipam, pod = FakeIpam(tmp_path / "cni"), node.pod()
    ipam.answers("ADD", answer)
    if "code" in answer:
        (ipam.folder / "fails.ADD").touch()
    told = add_with(node, pod, node.conf(ipam={"type": "fake-ipam"}), **ipam.variables)
    assert told.status == 1
    assert ("code" not in answer) or (told.json["code"], "the fake refuses" in told.json["msg"]) == (
        111,
        True,
    )
    assert ipam.calls() == ["ADD c1 eth0", "DEL c1 eth0"]
    untouched(node, pod)


def test_A3_a_failure_behind_the_delegated_plugin_gives_its_address_back(node: Node, tmp_path: Path) -> None:
    ipam, pod = FakeIpam(tmp_path / "cni"), node.pod()
    node.execute(pod, "ip", "link", "add", "eth0", "type", "bridge")
    refused(add_with(node, pod, node.conf(ipam={"type": "fake-ipam"}), **ipam.variables), 101)
    calls = ipam.calls()
    assert calls.count("ADD c1 eth0") <= calls.count("DEL c1 eth0")
    assert node.held() == {}


def earlier(pod: str, ifname: str = "net9") -> dict[str, Any]:
    """The result of a plugin that stands before in the list."""
    return {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": ifname, "mac": "02:00:00:00:00:09", "sandbox": f"/run/netns/{pod}"}],
        "ips": [{"address": "198.51.100.9/24", "gateway": "198.51.100.1", "interface": 0}],
        "routes": [{"dst": "203.0.113.0/24"}],
        "dns": {"nameservers": ["192.0.2.1"]},
    }


def test_A7_what_an_earlier_plugin_of_the_list_made_is_passed_on(node: Node) -> None:
    pod = node.pod()
    before = earlier(pod)
    result = node.add("c1", pod, node.conf(ipam=V4, prevResult=before))
    assert result["interfaces"][0] == before["interfaces"][0]
    assert [one["name"] for one in result["interfaces"][1:]][::2] == ["cni0", "eth0"]
    assert result["ips"][0] == before["ips"][0]
    assert [one["interface"] for one in result["ips"]] == [0, 3]
    assert result["routes"][0] == before["routes"][0]
    assert result["dns"] == before["dns"]


def test_A7_the_interface_of_an_earlier_plugin_is_not_made_a_second_time(node: Node) -> None:
    pod = node.pod()
    refused(node.verb("ADD", "c1", pod, node.conf(prevResult=earlier(pod, "eth0"))), 2, "prevResult")
    untouched(node, pod)


def test_A8_two_interfaces_of_one_container_are_two_attachments(node: Node) -> None:
    pod = node.pod()
    one, other = (node.add("c1", pod, node.conf(ipam=V4), ifname=name) for name in ("eth0", "net1"))
    assert one["ips"][0]["address"] != other["ips"][0]["address"]
    assert node.links(pod) == {"lo", "eth0", "net1"}


def test_A8_two_networks_at_once_as_containerd_sets_them_up(node: Node) -> None:
    """go-cni runs each network of a pod in a thread of its own; nothing of either stands before."""
    pods = [node.pod() for _ in range(6)]
    confs = {
        f"net{number}": node.conf(
            name=f"n{number}", bridge=f"cni{number}", ipam={"subnet": f"10.24{number}.0.0/24"}
        )
        for number in range(3)
    }

    def attach(which: tuple[int, str]) -> str:
        number, ifname = which
        result = node.add(f"c{number}", pods[number], confs[ifname] | {"isDefaultGateway": False}, ifname)
        return str(result["ips"][0]["address"])

    pairs = [(number, ifname) for number in range(len(pods)) for ifname in confs]
    with ThreadPoolExecutor(6) as workers:
        addresses = list(workers.map(attach, pairs))
    assert len(set(addresses)) == len(pairs)
    assert all(node.links(pod) == {"lo", *confs} for pod in pods)


@pytest.mark.parametrize("path", ["/run/netns/none", "/nonexistent/ns", "", "relative/none"])
def test_A10_a_namespace_that_is_not_there_is_an_error_and_nothing_is_allocated(
    node: Node, path: str
) -> None:
    env = node.environment("ADD", "c1", "x") | {"CNI_NETNS": path}
    refused(
        node.call(env, encoded(node.conf())),
        3 if path else 4,
        "failed to open netns" if path else "CNI_NETNS",
    )
    assert node.held() == {}
    assert node.links() == {"lo"}


def test_A10_what_is_no_namespace_is_an_error_and_nothing_is_allocated(node: Node, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (str(tmp_path / "file"), str(tmp_path), "/proc/self/ns/mnt", "/dev/null"):
        env = node.environment("ADD", "c1", "x") | {"CNI_NETNS": path}
        refused(node.call(env, encoded(node.conf())), 8, "no network namespace")
    assert node.held() == {}
    assert node.links() == {"lo"}


def test_A10_a_namespace_that_is_deleted_during_add_is_no_crash(node: Node) -> None:
    """Its inode lives on while the plugin has it open; DEL cleans up as ever."""
    pod = node.pod()
    process = node.start(node.environment("ADD", "c1", pod), node.conf(), SLOW)
    wait_until(lambda: bool(node.held()), "no address was given")
    node.pods.remove(pod)
    run("ip", "netns", "del", pod)
    answer = finish(process)
    assert answer.status in (0, 1)
    assert answer.json.get("code") != 999
    silent(node.verb("DEL", "c1", pod))
    assert node.held() == {}
    wait_until(lambda: node.links() <= {"lo", "cni0"}, "the pair stays")
