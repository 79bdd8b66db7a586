"""Addresses from another IPAM plugin: the reference plugin `static`, and a third party that keeps its own files."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.conflist import REFERENCE, Attachment, Conflist
from tests.system.outside import Outside
from tests.system.test_plugin_attach import TOO_SLOW

if TYPE_CHECKING:
    from tests.system.plugin_node import Node

LEGACY = ("0.1.0", "0.2.0")
VERSIONS = (*LEGACY, "0.3.0", "0.3.1", "0.4.0", "1.0.0")
STATIC: dict[str, Any] = {
    "type": "static",
    "addresses": [{"address": "10.5.0.5/24", "gateway": "10.5.0.1"}, {"address": "fd05::5/64"}],
    "routes": [{"dst": "10.6.0.0/16", "gw": "10.5.0.254"}, {"dst": "10.7.0.0/16"}, {"dst": "fd06::/32"}],
    "dns": {"nameservers": ["10.5.0.53"], "search": ["a.example"]},
}


def listed(node: Node, ipam: dict[str, Any], version: str = "1.0.0", **keys: object) -> Conflist:
    first = {"type": "anypod", "bridge": "cni0", "stateDir": str(node.state), "ipam": ipam, **keys}
    return Conflist(node, [first], version, directories=(node.state.parent, REFERENCE))


def routes_of(node: Node, pod: str) -> set[tuple[str, str | None]]:
    """Destinations and gateways, but for the link's own."""
    found = [*node.ip("route", namespace=pod), *node.ip("-6", "route", namespace=pod)]
    return {(one["dst"], one.get("gateway")) for one in found if one.get("protocol") != "kernel"}


def addresses_of(node: Node, namespace: str, device: str) -> set[str]:
    (link,) = node.ip("addr", "show", device, namespace=namespace)
    return {
        f"{one['local']}/{one['prefixlen']}"
        for one in link["addr_info"]
        if not one["local"].startswith("fe80")
    }


def stored(node: Node) -> int:
    """How many addresses the state file knows, held or resting."""
    with sqlite3.connect(f"file:{node.state}/state.db?mode=ro", uri=True) as db:
        count: int = db.execute("SELECT count(*) FROM address").fetchone()[0]
    db.close()
    return count


@pytest.mark.parametrize("version", VERSIONS)
def test_what_static_gives_is_in_the_pod_and_in_a_result_of_each_version(node: Node, version: str) -> None:
    conflist = listed(node, STATIC, version, isGateway=True)
    one = Attachment("c1", node.pod())
    result = conflist.add(one)
    assert result["cniVersion"] == version
    assert result["dns"] == STATIC["dns"]
    if version in LEGACY:
        assert (result["ip4"]["ip"], result["ip4"]["gateway"]) == ("10.5.0.5/24", "10.5.0.1")
        assert (result["ip6"]["ip"], result["ip6"]["gateway"]) == ("fd05::5/64", "fd05::1")
    else:
        shown = [(ip["address"], ip["gateway"], ip["interface"]) for ip in result["ips"]]
        assert shown == [("10.5.0.5/24", "10.5.0.1", 2), ("fd05::5/64", "fd05::1", 2)]
        assert result["routes"] == STATIC["routes"]
    assert addresses_of(node, one.pod, "eth0") == {"10.5.0.5/24", "fd05::5/64"}
    assert routes_of(node, one.pod) == {
        ("10.6.0.0/16", "10.5.0.254"),
        ("10.7.0.0/16", "10.5.0.1"),
        ("fd06::/32", "fd05::1"),
    }
    # A gateway that is not told is the subnet's first address, as with the reference bridge.
    assert addresses_of(node, node.name, "cni0") == {"10.5.0.1/24", "fd05::1/64"}
    assert node.pings(one.pod, "10.5.0.1")
    assert node.pings(one.pod, "fd05::1")
    assert node.held() == {"c1": ("10.5.0.5/24", "fd05::5/64")}
    if version in ("0.4.0", "1.0.0"):
        assert conflist.check(one) == {}
    assert conflist.delete(one) == {}
    assert conflist.delete(one) == {}
    # What a delegate gave does not rest with us: it is not ours to give again.
    assert (node.held(), stored(node), node.links()) == ({}, 0, {"lo", "cni0"})


@pytest.mark.parametrize(
    ("keys", "args", "capabilities"),
    [
        ({"args": {"cni": {"ips": ["10.5.0.9/24", "fd05::9/64"]}}}, "", {}),
        ({"capabilities": {"ips": True}}, "", {"ips": ["10.5.0.9/24", "fd05::9/64"]}),
        ({}, "IgnoreUnknown=1;IP=10.5.0.9/24,fd05::9/64;GATEWAY=10.5.0.1", {}),
    ],
    ids=["args", "runtimeConfig", "CNI_ARGS"],
)
def test_static_gets_addresses_that_are_asked_for(
    node: Node, keys: dict[str, Any], args: str, capabilities: dict[str, Any]
) -> None:
    conflist = listed(node, {"type": "static"}, **keys)
    one = Attachment("c1", node.pod(), args=args, capabilities=capabilities)
    conflist.add(one)
    assert addresses_of(node, one.pod, "eth0") == {"10.5.0.9/24", "fd05::9/64"}
    assert conflist.check(one) == {}
    assert conflist.delete(one) == {}


def test_two_addresses_of_one_family_are_both_there(node: Node) -> None:
    ipam = {"type": "static", "addresses": [{"address": "10.5.0.5/24"}, {"address": "10.5.0.6/24"}]}
    conflist, one = listed(node, ipam), Attachment("c1", node.pod())
    assert [ip["address"] for ip in conflist.add(one)["ips"]] == ["10.5.0.5/24", "10.5.0.6/24"]
    assert addresses_of(node, one.pod, "eth0") == {"10.5.0.5/24", "10.5.0.6/24"}
    assert node.held() == {"c1": ("10.5.0.5/24", "10.5.0.6/24")}
    assert conflist.check(one) == {}
    assert conflist.delete(one) == {}


def test_dns_of_the_netconf_goes_before_that_of_the_delegate(node: Node) -> None:
    conflist, one = listed(node, STATIC, dns={"nameservers": ["10.5.0.54"]}), Attachment("c1", node.pod())
    assert conflist.add(one)["dns"] == {"nameservers": ["10.5.0.54"]}


def test_a_delegates_subnet_has_its_default_gateway_and_is_masqueraded(node: Node) -> None:
    outside = Outside(node)
    addresses = [{"address": "10.5.0.5/24"}, {"address": "fd05::5/64"}]
    ipam = {"type": "static", "addresses": addresses}
    conflist = listed(node, ipam, isDefaultGateway=True, ipMasq=True)
    one = Attachment("c1", node.pod())
    conflist.add(one)
    assert routes_of(node, one.pod) == {("default", "10.5.0.1"), ("default", "fd05::1")}
    for family in ("v4", "v6"):
        assert outside.source_seen(one.pod, family) == "the node"
    assert conflist.check(one) == {}


def test_an_address_that_another_attachment_holds_is_102(node: Node) -> None:
    conflist, one, other = listed(node, STATIC), Attachment("c1", node.pod()), Attachment("c2", node.pod())
    conflist.add(one)
    links = node.links()
    answer = conflist.try_add(other)
    assert answer.json["code"] == 102
    assert "10.5.0.5 is held by c1/eth0 already" in answer.json["msg"]
    assert (set(node.held()), node.links()) == ({"c1"}, links)
    assert "eth0" not in node.links(other.pod)


def test_a_version_that_the_delegate_does_not_know_is_its_own_error(node: Node) -> None:
    """Debian's plugins end at 1.0.0."""
    conflist, one = listed(node, STATIC, "1.1.0"), Attachment("c1", node.pod())
    error = conflist.try_add(one).json
    assert (error["code"], error["msg"]) == (1, "static: incompatible CNI versions")
    assert (node.held(), node.links() - {"cni0"}) == ({}, {"lo"})


def test_a_delegates_second_add_and_del_load_nothing_that_is_slow(node: Node) -> None:
    conflist, one = listed(node, STATIC, isGateway=True, ipMasq=True), Attachment("c1", node.pod())
    conflist.add(one)
    assert conflist.delete(one) == {}
    interpreter = node.plugin.read_text().split("\n", 1)[0].removeprefix("#!").split()[0]
    argv = ["ip", "netns", "exec", node.name, interpreter, "-IS", "-X", "importtime", str(node.plugin)]
    for verb in ("ADD", "DEL"):
        done = subprocess.run(
            argv,
            input=json.dumps(conflist.conf(one, conflist.plugins[0])).encode(),
            env=conflist.environment(verb, one),
            capture_output=True,
            timeout=60,
            check=True,
        )
        loaded = {
            line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines() if "|" in line
        }
        assert "cni.delegate" in loaded
        assert loaded & TOO_SLOW == set()
