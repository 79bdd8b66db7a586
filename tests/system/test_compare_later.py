"""What later versions of the reference plugins know and the distribution's does not: anypod against their documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.system.compare_rig import DUAL, V4
from tests.system.conformance_rig import ask, encoded, refused, silent
from tests.system.outside import Outside

if TYPE_CHECKING:
    from tests.system.compare_rig import Both
    from tests.system.plugin_node import Answer, Node

LATER: list[tuple[str, dict[str, Any]]] = [
    ("portIsolation", {"portIsolation": True}),
    ("disableContainerInterface", {"disableContainerInterface": True}),
    ("vlanTrunk", {"vlanTrunk": [{"id": 100}]}),
    ("preserveDefaultVlan", {"preserveDefaultVlan": False}),
    ("ipMasqBackend", {"ipMasq": True, "ipMasqBackend": "nftables"}),
]


@pytest.mark.parametrize(("key", "keys"), LATER)
def test_the_distributions_version_does_not_know(both: Both, key: str, keys: dict[str, Any]) -> None:
    """If this fails, the distribution has a newer version, and the key belongs to the comparisons."""
    side, pod = both.reference, both.reference.pod()
    side.add("c1", pod, side.conf(ipam=V4, isGateway=True, **keys))
    port = next(one for one in side.node.ip("link") if one.get("master") == "cni0")
    assert port["linkinfo"]["info_slave_data"]["isolated"] is False
    assert (
        "UP" in next(one for one in side.node.ip("link", namespace=pod) if one["ifname"] == "eth0")["flags"]
    )
    assert ("table ip nat" in side.node.execute(side.node.name, "nft", "list", "ruleset")) == (
        key == "ipMasqBackend"
    )


@pytest.mark.parametrize(("verb", "code"), [("STATUS", 4), ("GC", 4), ("ADD", 1)])
def test_the_distributions_version_does_not_know_cni_1_1(both: Both, verb: str, code: int) -> None:
    side = both.reference
    answer = side.call(
        verb, "c1", side.pod(), side.conf(cniVersion="1.1.0") | {"cni.dev/valid-attachments": []}
    )
    assert answer.json["code"] == code


def conf_of(node: Node, **keys: object) -> dict[str, Any]:
    return node.conf(ipam=V4, isDefaultGateway=False) | keys


@pytest.mark.parametrize("isolated", [True, False])
def test_port_isolation(node: Node, isolated: bool) -> None:
    """bridge 1.7.0: the port is isolated, so that pods reach the node and not each other."""
    conf = conf_of(node, portIsolation=isolated, isGateway=True)
    pods = [node.pod(), node.pod()]
    addresses = [node.add(f"c{n}", pod, conf)["ips"][0]["address"] for n, pod in enumerate(pods)]
    ports = [one for one in node.ip("link") if one.get("master") == "cni0"]
    assert [one["linkinfo"]["info_slave_data"]["isolated"] for one in ports] == [isolated] * 2
    assert node.pings(pods[0], "10.244.1.1")
    assert node.pings(pods[0], addresses[1].partition("/")[0]) is not isolated


def test_a_disabled_container_interface_excludes_ipam(node: Node) -> None:
    """bridge 1.4.1: `cannot use IPAM when DisableContainerInterface flag is set`."""
    pod = node.pod()
    refused(
        node.verb("ADD", "c1", pod, conf_of(node, disableContainerInterface=True)),
        7,
        "disableContainerInterface",
    )
    assert node.links(pod) == {"lo"}


@pytest.mark.parametrize("disabled", [True, False])
def test_a_disabled_container_interface_stays_down(node: Node, disabled: bool) -> None:
    """bridge 1.4.1: the pair is made, the pod's end stays down, and nobody waits for the port."""
    pod = node.pod()
    result = node.add("c1", pod, conf_of(node, ipam={}, disableContainerInterface=disabled))
    link = next(one for one in node.ip("link", namespace=pod) if one["ifname"] == "eth0")
    assert ("UP" in link["flags"]) is not disabled
    assert [one["name"] for one in result["interfaces"]][::2] == ["cni0", "eth0"]
    node.delete("c1", pod, conf_of(node, ipam={}, disableContainerInterface=disabled))
    assert node.links() == {"lo", "cni0"}


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_masquerading_by_nftables(node: Node, family: str) -> None:
    """bridge 1.6.0: `ipMasqBackend: nftables`."""
    outside, pod = Outside(node), node.pod()
    conf = conf_of(node, ipam=DUAL, isDefaultGateway=True, ipMasq=True, ipMasqBackend="nftables")
    node.add("c1", pod, conf)
    assert outside.source_seen(pod, family) == "the node"
    assert outside.answers(pod, family)


@pytest.mark.parametrize(
    ("trunk", "says"),
    [
        ([{"minID": 5}], "maxID"),
        ([{"maxID": 5}], "minID"),
        ([{"minID": 9, "maxID": 5}], "minID"),
        ([{"minID": 0, "maxID": 5}], "minID"),
        ([{"minID": 1, "maxID": 4095}], "maxID"),
        ([{"id": 0}], "id"),
        ([{"id": 4095}], "id"),
        ([{"id": 100}, {"id": -1}], "vlanTrunk[1].id"),
    ],
)
def test_a_trunk_that_cannot_be_is_refused(node: Node, trunk: list[dict[str, int]], says: str) -> None:
    """bridge 1.3.0, collectVlanTrunk: identifiers are 1 to 4094, and minID and maxID come together."""
    refused(node.verb("ADD", "c1", node.pod(), conf_of(node, ipam={}, vlanTrunk=trunk)), 7, says)
    assert node.links() == {"lo"}


def test_status_and_gc_are_served(node: Node) -> None:
    """bridge 1.6.0 has STATUS, which asks the IPAM plugin; no version has GC."""
    conf = conf_of(node, cniVersion="1.1.0")
    node.add("c1", node.pod(), conf)
    silent(ask(node, "STATUS", conf))
    silent(ask(node, "GC", conf | {"cni.dev/valid-attachments": []}))
    assert node.held() == {}


def test_cni_1_1_is_served(node: Node) -> None:
    conf = conf_of(node, cniVersion="1.1.0", mtu=1400)
    pod = node.pod()
    conf["prevResult"] = node.add("c1", pod, conf)
    assert conf["prevResult"]["cniVersion"] == "1.1.0"
    assert [one["mtu"] for one in conf["prevResult"]["interfaces"]] == [1400] * 3
    for verb in ("CHECK", "DEL"):
        answer: Answer = node.call(node.environment(verb, "c1", pod), encoded(conf))
        silent(answer)
