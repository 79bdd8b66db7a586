"""CNI specification, the configuration on stdin: rules C1 to C8, with the installed executable as a process."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.conformance_rig import (
    V4,
    VERSIONS,
    WITH_CHECK,
    add_with,
    ask,
    refused,
    silent,
    untouched,
)
from tests.system.plugin_node import Answer

if TYPE_CHECKING:
    from tests.system.plugin_node import Node

VERBS = ("ADD", "DEL", "CHECK", "STATUS", "GC")
NET = {"subnet": "10.244.1.0/24"}


@pytest.mark.parametrize(
    ("stdin", "says"),
    [
        (b"", "empty"),
        (b"   \n", "empty"),
        (b"{", "stdin is no JSON"),
        (b'{"name": "pods",}', "stdin is no JSON"),
        (b"{'name': 'pods'}", "stdin is no JSON"),
        (b'{"name": "pods"} x', "goes on"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"mtu": NaN}', "NaN"),
        (b'{"mtu": -Infinity}', "Infinity"),
        (b'{"name": "a", "name": "b"}', "twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[]", "no JSON object"),
        (b"null", "no JSON object"),
        (b"1", "no JSON object"),
        (b'"pods"', "no JSON object"),
    ],
)
def test_C1_what_is_no_json_object_is_code_6(node: Node, stdin: bytes, says: str) -> None:
    pod = node.pod()
    for verb in VERBS:
        refused(node.call(node.environment(verb, "c1", pod), stdin), 6, says)
    untouched(node, pod)


@pytest.mark.parametrize("way", ["<&-", "0>/dev/null"], ids=["closed", "not for reading"])
def test_C1_a_stdin_that_cannot_be_read_is_code_5(node: Node, way: str) -> None:
    argv = node.argv(("sh", "-c", f'exec "$0" {way}'))
    env = node.environment("ADD", "c1", node.pod())
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    refused(Answer(done.returncode, done.stdout, done.stderr), 5, "stdin")


def test_C2_a_network_has_a_name(node: Node) -> None:
    conf = node.conf(cniVersion="1.1.0")
    del conf["name"]
    for verb in VERBS:
        for keys in ({}, {"name": None}, {"name": ""}):
            refused(node.verb(verb, "c1", "none", conf | keys), 7, "missing network name")


@pytest.mark.parametrize("name", ["../x", "a/b", "-a", ".a", "a b", "a\n", "\u00fc", 5, ["a"], "a" * 256])
def test_C2_a_name_that_is_no_file_name_is_refused(node: Node, name: object) -> None:
    conf = node.conf(cniVersion="1.1.0", name=name)
    for verb in VERBS:
        refused(node.verb(verb, "c1", "none", conf), 7, "invalid characters found in network name")


@pytest.mark.parametrize("version", ["absent", "", None])
def test_C3_without_a_version_the_configuration_is_of_the_first_one(node: Node, version: str | None) -> None:
    conf = node.conf(ipam=V4, cniVersion=version)
    if version == "absent":
        del conf["cniVersion"]
    result = node.add("c1", node.pod(), conf)
    assert (result["cniVersion"], set(result)) == ("0.1.0", {"cniVersion", "ip4", "dns"})


@pytest.mark.parametrize("version", ["9.9.9", "1.2.0", "1.1", "v1.0.0", "01.0.0", "1.0.0 ", 1, [], {"a": 1}])
def test_C3_an_unsupported_version_is_code_1_and_both_sides_are_named(node: Node, version: object) -> None:
    for verb in VERBS:
        shown = refused(
            node.verb(verb, "c1", "none", node.conf(cniVersion=version)), 1, "incompatible CNI versions"
        )
        assert str(version)[:40] in shown["details"]
        assert all(one in shown["details"] for one in VERSIONS)


@pytest.mark.parametrize(
    ("verb", "version"),
    [("CHECK", version) for version in VERSIONS if version not in WITH_CHECK]
    + [(verb, version) for verb in ("GC", "STATUS") for version in VERSIONS[:-1]],
)
def test_C4_a_verb_that_is_newer_than_the_configuration_is_code_1(
    node: Node, verb: str, version: str
) -> None:
    conf = node.conf(cniVersion=version) | {"cni.dev/valid-attachments": [], "prevResult": {}}
    pod = node.pod()
    node.add("c1", pod, node.conf())
    refused(node.verb(verb, "c1", pod, conf), 1, f"config version does not allow {verb}")
    assert set(node.held()) == {"c1"}


def test_C5_unknown_keys_are_tolerated(node: Node) -> None:
    strange: dict[str, Any] = {
        "capabilities": {"portMappings": True, "future": True},
        "args": {"labels": [{"key": "app"}], "cni": {"future": {"x": 1}}},
        "runtimeConfig": {
            "future": [1, 2],
            "infinibandGUID": "c2:11:22:33:44:55:66:77",
            "deviceID": "0000:00:1f.6",
        },
        "cni.dev/attachments": [{"containerID": "x", "ifname": "eth0"}],
        "cni.dev/valid-attachments": [],
        "cni.dev/future": None,
        "keyOfTheFuture": {"a": [{"b": None}]},
        "ipam": V4 | {"keyOfTheFuture": 5},
    }
    pod = node.pod()
    conf = node.conf(**strange)
    conf["prevResult"] = node.add("c1", pod, conf)
    silent(node.verb("CHECK", "c1", pod, conf))
    node.delete("c1", pod, conf)
    del conf["prevResult"]
    silent(ask(node, "STATUS", conf | {"cniVersion": "1.1.0"}))


def result_of(version: str, ip: str, gateway: str, sandbox: str) -> dict[str, Any]:
    """An earlier plugin's result with an interface and an address, as that version writes it."""
    routes = [{"dst": "203.0.113.0/24", "gw": gateway}]
    if version < "0.3.0":
        return {"cniVersion": version, "ip4": {"ip": ip, "gateway": gateway, "routes": routes}}
    address: dict[str, Any] = {"address": ip, "gateway": gateway, "interface": 0}
    if version < "1.0.0":
        address["version"] = "4"
    interface: dict[str, Any] = {"name": "other0", "mac": "02:00:00:00:00:05", "sandbox": sandbox}
    if version == "1.1.0":
        interface |= {"mtu": 1400, "socketPath": "/run/x", "pciID": "0000:00:1f.6"}
        routes[0] |= {"mtu": 1300, "advmss": 1200, "priority": 5, "table": 7, "scope": 0}  # type: ignore[dict-item]
    return {"cniVersion": version, "interfaces": [interface], "ips": [address], "routes": routes, "dns": {}}


@pytest.mark.parametrize("told", VERSIONS)
@pytest.mark.parametrize("version", ["0.4.0", "1.1.0"])
def test_C6_prev_result_of_any_version_is_read(node: Node, version: str, told: str) -> None:
    pod = node.pod()
    earlier = result_of(told, "198.51.100.7/24", "198.51.100.1", f"/run/netns/{pod}")
    conf = node.conf(ipam=V4, cniVersion=version)
    result = node.add("c1", pod, conf | {"prevResult": earlier})
    assert result["cniVersion"] == version
    assert [one["address"] for one in result["ips"]] == ["198.51.100.7/24", "10.244.1.2/24"]
    assert result["routes"][0]["dst"] == "203.0.113.0/24"
    # A later call may hand the result over in another version than it was written in.
    own = node.conf(ipam=V4, cniVersion=told)
    pod = node.pod()
    result = node.add("c2", pod, own)
    silent(node.verb("CHECK", "c2", pod, conf | {"prevResult": result}))
    node.delete("c2", pod, conf | {"prevResult": result})


@pytest.mark.parametrize(
    "wrong",
    [
        "text",
        ["list"],
        5,
        {"cniVersion": "7.0.0"},
        {"cniVersion": "1.0.0", "ips": "x"},
        {"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.1/99"}]},
        {"cniVersion": "1.0.0", "ips": [{"address": "x"}]},
        {"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.1/24", "interface": 7}]},
        {"cniVersion": "1.0.0", "interfaces": [5]},
        {"cniVersion": "1.0.0", "routes": [{}]},
        {"cniVersion": "0.2.0", "ip4": {"ip": None}},
        {"cniVersion": "1.0.0", "dns": "x"},
    ],
)
def test_C6_a_prev_result_of_another_shape_is_code_6(node: Node, wrong: object) -> None:
    pod = node.pod()
    for verb in ("ADD", "CHECK"):
        refused(node.verb(verb, "c1", pod, node.conf(prevResult=wrong)), 6, "prevResult")
    untouched(node, pod)
    silent(node.verb("DEL", "c1", pod, node.conf(prevResult=wrong)))


@pytest.mark.parametrize(
    ("ipam", "says"),
    [
        (NET | {"subnet": "10.244.1.7/24"}, "has host bits set"),
        ({"ranges": [[{"subnet": "fd00:1::1/64"}]]}, "has host bits set"),
        ({"ranges": [[NET], [{"subnet": "10.244.0.0/16"}]]}, "overlaps"),
        ({"ranges": [[NET, NET]]}, "overlaps"),
        (NET | {"rangeStart": "10.244.1.20", "rangeEnd": "10.244.1.10"}, "ipam.rangeStart"),
        ({"ranges": [[NET, {"subnet": "fd00:1::/64"}]]}, "IPv4 and IPv6 in one set"),
        ({"subnet": "10.244.1.0/31"}, "too small"),
        (NET | {"rangeStart": "10.9.9.9"}, "10.9.9.9"),
        (NET | {"rangeEnd": "fd00::1"}, "fd00::1"),
        (NET | {"gateway": "10.244.1.1.1"}, "10.244.1.1.1"),
        ({"subnet": 5}, "ipam.subnet: 5"),
        ({"ranges": "x"}, "ipam.ranges"),
        ({"ranges": []}, "ipam.ranges"),
        (NET | {"routes": [{"gw": "10.244.1.1"}]}, "ipam.routes[0].dst"),
        (NET | {"routes": [{"dst": "nonsense"}]}, "ipam.routes[0].dst"),
        (NET | {"routes": [{"dst": "0.0.0.0/0", "gw": "fd00::1"}]}, "ipam.routes[0].gw"),
    ],
)
def test_C8_ranges_and_routes_that_cannot_be_are_code_7(node: Node, ipam: dict[str, Any], says: str) -> None:
    pod = node.pod()
    refused(node.verb("ADD", "c1", pod, node.conf(ipam=ipam)), 7, says)
    untouched(node, pod)
    assert node.links() == {"lo"}


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"bridge": "a/b"}, "bridge"),
        ({"bridge": 5}, "bridge: 5"),
        ({"mtu": -1}, "mtu: -1"),
        ({"mtu": "1500"}, "mtu"),
        ({"mtu": 1.5}, "mtu: 1.5"),
        ({"isGateway": "yes"}, 'isGateway: "yes"'),
        ({"hairpinMode": True, "promiscMode": True}, "promiscMode"),
        ({"vlan": 4095}, "vlan: 4095"),
        ({"dns": []}, "dns"),
        ({"stateDir": "relative"}, "stateDir"),
        ({"runtimeConfig": []}, "runtimeConfig"),
        ({"args": "x"}, "args"),
    ],
)
def test_C8_a_value_that_cannot_be_is_code_7_with_key_and_value(
    node: Node, keys: dict[str, object], says: str
) -> None:
    refused(node.verb("ADD", "c1", node.pod(), node.conf(**keys)), 7, says)
    assert node.links() == {"lo"}


# What no version of anypod serves is refused by name, never dropped in silence; docs/netconf.md says why.
UNSERVED: list[tuple[dict[str, object], str]] = [
    ({"ipMasqBackend": "iptables", "ipMasq": True}, 'ipMasqBackend: "iptables"'),
]


@pytest.mark.parametrize(("keys", "says"), UNSERVED)
def test_C7_an_unsupported_value_of_a_known_key_is_code_2(
    node: Node, keys: dict[str, object], says: str
) -> None:
    pod = node.pod()
    shown = refused(node.verb("ADD", "c1", pod, node.conf(**keys)), 2, says)
    assert next(iter(keys)) in shown["msg"]
    untouched(node, pod)


def test_C7_a_place_behind_the_plugin_that_made_the_interface_is_code_2(node: Node) -> None:
    pod = node.pod()
    interfaces = [{"name": "eth0", "sandbox": f"/run/netns/{pod}"}]
    answer = add_with(node, pod, node.conf(prevResult={"cniVersion": "1.0.0", "interfaces": interfaces}))
    refused(answer, 2, "prevResult")
    untouched(node, pod)
