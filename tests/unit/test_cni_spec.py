"""Environment, versions and shapes as the CNI specification has them."""

from __future__ import annotations

import pytest

from cni.attach import host_ifname
from cni.errors import INCOMPATIBLE_VERSION, INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from cni.spec import (
    check_verb,
    config_version,
    error_object,
    network_name,
    parse_args,
    parse_environment,
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


@pytest.mark.parametrize(
    ("verb", "version", "allowed"),
    [
        ("CHECK", "0.3.1", False),
        ("CHECK", "0.4.0", True),
        ("GC", "1.0.0", False),
        ("GC", "1.1.0", True),
        ("STATUS", "0.1.0", False),
        ("STATUS", "1.1.0", True),
        ("ADD", "0.1.0", True),
    ],
)
def test_a_verb_needs_the_version_that_brought_it(verb: str, version: str, allowed: bool) -> None:
    if allowed:
        check_verb(verb, version)
        return
    with pytest.raises(CniError, match=f"config version does not allow {verb}") as caught:
        check_verb(verb, version)
    assert caught.value.code == INCOMPATIBLE_VERSION


@pytest.mark.parametrize("verb", [b"GC", b"STATUS", b"VERSION"])
def test_a_verb_of_the_whole_network_needs_no_container(verb: bytes) -> None:
    call = parse_environment({b"CNI_COMMAND": verb, b"CNI_PATH": b"/opt/cni/bin"})
    assert (call.container, call.netns, call.ifname) == ("", "", "")


def test_an_error_says_its_code_and_details() -> None:
    shown = error_object("1.0.0", CniError(7, "wrong", "more"))
    assert shown == {"cniVersion": "1.0.0", "code": 7, "msg": "wrong", "details": "more"}


def test_the_node_s_end_has_one_name_for_an_attachment_and_fits_the_kernel() -> None:
    names = {host_ifname(container, ifname) for container in ("a", "b") for ifname in ("eth0", "net1")}
    assert len(names) == 4
    assert host_ifname("a", "eth0") in names
    assert all(len(name) == 15 and name.startswith("anyp") for name in names)
