"""Environment, versions and shapes as the CNI specification has them."""

from __future__ import annotations

import pytest

from cni.attach import host_ifname
from cni.errors import INCOMPATIBLE_VERSION, INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from cni.network import PodRoute
from cni.spec import (
    SUPPORTED,
    Interface,
    PodAddress,
    config_version,
    error_object,
    network_name,
    parse_args,
    parse_environment,
    result,
)

ADD = {
    b"CNI_COMMAND": b"ADD",
    b"CNI_CONTAINERID": b"c1",
    b"CNI_NETNS": b"/run/netns/x",
    b"CNI_IFNAME": b"eth0",
}


def test_a_complete_environment_is_read() -> None:
    call = parse_environment(ADD | {b"CNI_ARGS": b"IgnoreUnknown=1;K8S_POD_NAME=web", b"TRACEPARENT": b"00"})
    assert (call.command, call.container, call.netns, call.ifname) == ("ADD", "c1", "/run/netns/x", "eth0")
    assert call.args == {"IgnoreUnknown": "1", "K8S_POD_NAME": "web"}


def test_all_that_is_missing_is_told_at_once() -> None:
    with pytest.raises(
        CniError, match=r"required env variables \[CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME\] missing"
    ):
        parse_environment({b"CNI_COMMAND": b"ADD"})


def test_del_needs_no_namespace() -> None:
    call = parse_environment({b"CNI_COMMAND": b"DEL", b"CNI_CONTAINERID": b"c1", b"CNI_IFNAME": b"eth0"})
    assert call.netns == ""


@pytest.mark.parametrize(
    "change",
    [
        {b"CNI_COMMAND": b"FROB"},
        {b"CNI_CONTAINERID": b"../etc"},
        {b"CNI_CONTAINERID": b"-c1"},
        {b"CNI_CONTAINERID": b"a" * 256},
        {b"CNI_CONTAINERID": b"c\xff"},
        {b"CNI_CONTAINERID": b"c 1"},
        {b"CNI_IFNAME": b"."},
        {b"CNI_IFNAME": b".."},
        {b"CNI_IFNAME": b"a/b"},
        {b"CNI_IFNAME": b"a:b"},
        {b"CNI_IFNAME": b"a b"},
        {b"CNI_IFNAME": b"sixteen-letters-"},
        {b"CNI_NETNS": b"/" * 5000},
        {b"CNI_ARGS": b"IP"},
        {b"CNI_ARGS": b"FOO=1"},
    ],
)
def test_a_wrong_variable_is_code_4(change: dict[bytes, bytes]) -> None:
    with pytest.raises(CniError) as caught:
        parse_environment(ADD | change)
    assert caught.value.code == INVALID_ENVIRONMENT


def test_unknown_arguments_pass_when_they_may_be_ignored() -> None:
    assert parse_args("IgnoreUnknown=true;FOO=a=b") == {"IgnoreUnknown": "true", "FOO": "a=b"}


def test_a_missing_version_is_the_first_one() -> None:
    assert config_version({}) == "0.1.0"


@pytest.mark.parametrize("version", ["9.9.9", 1, ["1.0.0"]])
def test_an_unknown_version_is_code_1_and_names_what_is_known(version: object) -> None:
    with pytest.raises(CniError, match="incompatible CNI versions") as caught:
        config_version({"cniVersion": version})
    assert caught.value.code == INCOMPATIBLE_VERSION
    assert "1.0.0" in caught.value.details


@pytest.mark.parametrize("name", [None, "", "a/b", "-a", 7])
def test_a_missing_or_wrong_network_name_is_code_7(name: object) -> None:
    with pytest.raises(CniError, match="network name") as caught:
        network_name({"name": name})
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize("version", SUPPORTED)
def test_a_result_has_the_shape_of_its_version(version: str) -> None:
    addresses = [
        PodAddress(b"\x0a\1\0\5", 24, b"\x0a\1\0\1"),
        PodAddress(b"\xfd" + bytes(14) + b"\5", 64, b"\xfd" + bytes(15)),
    ]
    routes = [PodRoute(bytes(4), 0, None), PodRoute(bytes(16), 0, b"\xfd" + bytes(15))]
    interfaces = [Interface("cni0", b"\2" * 6), Interface("eth0", b"\4" * 6, "/run/netns/x")]
    shown = result(version, interfaces, addresses, routes, {})
    assert shown["cniVersion"] == version
    if version in ("0.1.0", "0.2.0"):
        assert shown["ip4"] == {"ip": "10.1.0.5/24", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]}
        assert shown["ip6"] == {
            "ip": "fd00::5/64",
            "gateway": "fd00::",
            "routes": [{"dst": "::/0", "gw": "fd00::"}],
        }
        assert "interfaces" not in shown
    else:
        expected: dict[str, object] = {"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 1}
        if version != "1.0.0":
            expected["version"] = "4"
        assert isinstance(shown["ips"], list)
        assert shown["ips"][0] == expected
        assert shown["interfaces"] == [
            {"name": "cni0", "mac": "02:02:02:02:02:02"},
            {"name": "eth0", "mac": "04:04:04:04:04:04", "sandbox": "/run/netns/x"},
        ]
        assert shown["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00::"}]


def test_an_error_says_its_code_and_details() -> None:
    shown = error_object("1.0.0", CniError(7, "wrong", "more"))
    assert shown == {"cniVersion": "1.0.0", "code": 7, "msg": "wrong", "details": "more"}


def test_the_node_s_end_has_one_name_for_an_attachment_and_fits_the_kernel() -> None:
    names = {host_ifname(container, ifname) for container in ("a", "b") for ifname in ("eth0", "net1")}
    assert len(names) == 4
    assert host_ifname("a", "eth0") in names
    assert all(len(name) == 15 and name.startswith("anyp") for name in names)
