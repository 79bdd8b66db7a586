"""Bad input and a node that is not as it should be: a CNI error object, a code that fits, and nothing left."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.system.leak_rig import forget
from tests.system.plugin_node import PODS, Node, refused

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("stdin", "code", "says"),
    [
        (b"", 6, "empty or cut off"),
        (b"{", 6, "stdin is no JSON"),
        (b'{"name": "pods"', 6, "stdin is no JSON"),
        (b"[]", 6, "no JSON object"),
        (b'"pods"', 6, "no JSON object"),
        (b"\xff\xfe{}", 6, "no UTF-8"),
        (b"{} {}", 6, "goes on behind"),
        (b'{"mtu": NaN}', 6, "NaN"),
        (b'{"name": "a", "name": "b"}', 6, "'name' stands twice"),
        (b"[" * 200_000, 6, "nested too deeply"),
        (b" " * (5 << 20), 5, "larger than 4 MiB"),
        (b'{"cniVersion": "1.0.0"}', 7, "missing network name"),
        (b'{"cniVersion": "1.0.0", "name": "../x"}', 7, "network name"),
        (b'{"cniVersion": "1.2.0", "name": "pods"}', 1, "incompatible CNI versions"),
        (b'{"cniVersion": "1.0.0", "name": "pods", "stateDir": "x"}', 7, "stateDir"),
    ],
)
def test_an_unreadable_netconf_is_refused(node: Node, stdin: bytes, code: int, says: str) -> None:
    pod = node.pod()
    before = node.traces()
    refused(node.call(node.environment("ADD", "c1", pod), stdin), code, says)
    assert node.traces() == before


@pytest.mark.parametrize(
    ("keys", "code", "says"),
    [
        ({"ipam": {"subnet": "10.244.1.0/24", "rangeStart": "10.244.2.5"}}, 7, "ipam.rangeStart"),
        (
            {"ipam": {"ranges": [[{"subnet": "10.244.1.0/24", "rangeEnd": "10.9.9.9"}]]}},
            7,
            "ipam.ranges[0][0].rangeEnd",
        ),
        ({"ipam": {"subnet": "10.244.1.7/24"}}, 7, "has host bits set"),
        ({"ipam": {"type": "host-local"}}, 7, "ipam.ranges"),
        ({"bridge": "lo"}, 7, "'lo' exists and is no bridge"),
        ({"mtu": "big"}, 7, "mtu"),
        ({"vlan": 4095}, 7, "vlan: 4095"),
        ({"ipMasq": True, "ipMasqBackend": "iptables"}, 2, "ipMasqBackend"),
        (
            {"prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/x"}]}},
            2,
            "prevResult",
        ),
        ({"prevResult": {"cniVersion": "1.0.0", "ips": 7}}, 6, "prevResult"),
    ],
)
def test_a_wrong_netconf_is_refused_and_nothing_is_made(
    node: Node, keys: dict[str, object], code: int, says: str
) -> None:
    pod = node.pod()
    before = node.traces()
    refused(node.verb("ADD", "c1", pod, node.conf(**keys)), code, says)
    assert node.traces() == before


@pytest.mark.parametrize("missing", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])
def test_a_missing_variable_is_code_4(node: Node, missing: str) -> None:
    env = node.environment("ADD", "c1", node.pod())
    del env[missing]
    refused(node.call(env, json.dumps(node.conf()).encode()), 4, f"[{missing}] missing")


def test_an_unknown_verb_is_code_4(node: Node) -> None:
    refused(node.verb("FROB", "c1", node.pod()), 4, "unknown CNI_COMMAND: FROB")


def test_namespaces_that_are_none_are_refused(node: Node, tmp_path: Path) -> None:
    file, fifo = tmp_path / "file", tmp_path / "fifo"
    file.write_text("")
    os.mkfifo(fifo)
    own = f"/run/netns/{node.name}"
    cases = (
        ("/run/netns/none", 3, "failed to open netns"),
        (str(file), 8, "no network"),
        (str(fifo), 8, "no network"),
    )
    for path, code, says in (*cases, (own, 8, "plugin's own")):
        env = node.environment("ADD", "c1", "x") | {"CNI_NETNS": path}
        refused(node.call(env, json.dumps(node.conf()).encode()), code, says)
    assert node.held() == {}
    assert node.links() == {"lo"}


def test_an_exhausted_range_is_told_and_serves_again_after_a_del(node: Node) -> None:
    conf = node.conf(ipam={"subnet": "10.244.1.0/30"})
    first, second = node.pod(), node.pod()
    node.add("c1", first, conf)
    before = node.traces()
    refused(
        node.verb("ADD", "c2", second, conf),
        100,
        "no IP addresses available in range set: 10.244.1.1-10.244.1.2; 1 held",
    )
    assert node.traces() == before
    node.delete("c1", first, conf)
    assert node.add("c2", second, conf)["ips"][0]["address"] == "10.244.1.2/30"


def test_a_taken_interface_name_is_refused_and_stays_as_it_was(node: Node) -> None:
    pod = node.pod()
    node.execute(pod, "ip", "link", "add", "eth0", "type", "bridge")
    refused(node.verb("ADD", "c1", pod), 101, "CNI_IFNAME='eth0' exists already")
    assert node.links(pod) == {"lo", "eth0"}
    assert node.links() == {"lo", "cni0"}
    assert node.held() == {}


def test_the_same_attachment_twice_is_refused_and_the_first_goes_on(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod)
    before = node.traces()
    refused(node.verb("ADD", "c1", pod), 101, "run DEL first")
    assert node.traces() == before
    assert node.pings(pod, "10.244.1.1")


def test_a_leftover_without_a_record_is_named_and_not_torn_down(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod)
    forget(node, "c1")
    refused(node.verb("ADD", "c1", pod), 101, "run DEL, then ADD")
    assert node.pings(pod, "10.244.1.1")


def test_a_bridge_with_another_address_in_the_subnet_is_refused_by_name(node: Node) -> None:
    node.execute(node.name, "ip", "link", "add", "cni0", "type", "bridge")
    node.execute(node.name, "ip", "addr", "add", "10.244.1.77/24", "dev", "cni0")
    refused(node.verb("ADD", "c1", node.pod()), 102, "already has an IP address different from 10.244.1.1/24")
    assert node.held() == {}


def test_a_route_that_the_kernel_refuses_undoes_the_attachment(node: Node) -> None:
    pod = node.pod()
    node.add("warm", node.pod())
    before = node.traces()
    ipam = PODS["ipam"] | {"routes": [{"dst": "192.0.2.0/24", "gw": "203.0.113.1"}]}
    refused(node.verb("ADD", "c1", pod, node.conf(ipam=ipam)), 103, "eth0")
    assert node.traces() == before


def test_a_state_directory_that_cannot_be_used_is_code_5(node: Node, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(node.verb("ADD", "c1", node.pod(), node.conf(stateDir=str(tmp_path / "file"))), 5, "stateDir")


def test_a_closed_stdout_is_a_failure(node: Node) -> None:
    with subprocess.Popen(node.argv(), env={"CNI_COMMAND": "VERSION"}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(10) != 0


def test_del_after_the_network_was_renamed_releases_all_the_same(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod)
    node.delete("c1", pod, node.conf(name="renamed"))
    assert node.held() == {}
    assert node.links() == {"lo", "cni0"}
