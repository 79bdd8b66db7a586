"""VLANs of a bridge network, on a kernel that has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.vm.vlans import LEFT_IN, OWN, Vlans, filtering, host_end, ports, reached, trunk

if TYPE_CHECKING:
    from tests.system.plugin_node import Node


def layer2(node: Node, **keys: object) -> dict[str, Any]:
    """A netconf without addresses: what a VLAN needs, and nothing beyond."""
    return node.conf(isDefaultGateway=False, ipam={}) | keys


@pytest.mark.parametrize(
    ("keys", "vlans"),
    [
        ({"vlan": 100}, {1: LEFT_IN, 100: OWN}),
        ({"vlan": 100, "preserveDefaultVlan": False}, {100: OWN}),
        ({"vlan": 1, "preserveDefaultVlan": False}, {1: OWN}),
        (
            {"vlanTrunk": [{"minID": 101, "maxID": 110}, {"id": 200}]},
            {1: OWN} | trunk(*range(101, 111), 200),
        ),
        (
            {"vlan": 100, "vlanTrunk": [{"minID": 99, "maxID": 101}], "preserveDefaultVlan": False},
            {100: OWN} | trunk(99, 101),
        ),
        (
            {
                "vlanTrunk": [*({"id": one} for one in range(1, 4000, 2)), {"minID": 4000, "maxID": 4094}],
                "preserveDefaultVlan": False,
            },
            trunk(*range(1, 4000, 2), *range(4000, 4095)) | {1: OWN},
        ),
    ],
    ids=["access", "access-only", "access-to-the-default", "trunk", "trunk-with-native", "two-thousand"],
)
def test_a_pods_port_is_in_the_vlans_of_its_network(node: Node, keys: dict[str, Any], vlans: Vlans) -> None:
    conf, pod = layer2(node, **keys), node.pod()
    result = node.add("c1", pod, conf)
    assert filtering(node)
    assert ports(node)[host_end(result)] == vlans
    answer = node.verb("CHECK", "c1", pod, conf | {"prevResult": result})
    assert (answer.status, answer.stdout) == (0, "")
    node.delete("c1", pod, conf)
    assert set(ports(node)) <= {"cni0"}
    assert node.links() == {"lo", "cni0"}


@pytest.mark.parametrize(("default", "left"), [(0, {}), (77, {77: LEFT_IN})])
def test_a_bridge_may_have_another_default_vlan_or_none(node: Node, default: int, left: Vlans) -> None:
    make = f"ip link add cni0 type bridge vlan_filtering 1 vlan_default_pvid {default}"
    node.execute(node.name, *make.split())
    for preserve in (True, False):
        conf = layer2(node, name=f"{preserve}", vlan=100, preserveDefaultVlan=preserve)
        result = node.add(f"{preserve}", node.pod(), conf)
        assert ports(node)[host_end(result)] == {100: OWN} | (left if preserve else {})


def test_check_sees_a_port_that_is_not_in_its_vlan(node: Node) -> None:
    conf, pod = layer2(node, vlan=100, vlanTrunk=[{"id": 7}]), node.pod()
    result = node.add("c1", pod, conf)

    def check() -> tuple[int, str]:
        answer = node.verb("CHECK", "c1", pod, conf | {"prevResult": result})
        return (answer.json["code"], answer.json["msg"]) if answer.status else (0, "")

    def vlan(*argv: str) -> None:
        node.execute(node.name, "bridge", "vlan", argv[0], "dev", host_end(result), "vid", *argv[1:])

    vlan("del", "7")
    code, message = check()
    assert (code, "not in VLAN 7 " in message) == (104, True), message
    vlan("add", "7")
    # Its frames without a tag are in another VLAN now.
    vlan("add", "5", "pvid", "untagged")
    code, message = check()
    assert (code, "not in VLAN 100 " in message) == (104, True), message
    vlan("add", "100", "pvid", "untagged")
    # That it is in VLAN 5 too is the right of who did that.
    assert check() == (0, "")
    node.execute(node.name, *"ip link set cni0 type bridge vlan_filtering 0".split())
    code, message = check()
    assert (code, "cni0" in message) == (104, True), message


def test_a_bridge_with_pods_gets_vlans_and_its_pods_stay_together(node: Node) -> None:
    plain = node.conf(isDefaultGateway=False, ipam={"subnet": "10.1.0.0/24"})
    pods = [node.pod() for _ in range(3)]
    node.add("c0", pods[0], plain)
    assert not filtering(node)
    node.add("c1", pods[1], layer2(node, name="vlan100", vlan=100))
    assert filtering(node)
    node.add("c2", pods[2], plain)
    node.execute(pods[1], "ip", "addr", "add", "10.1.0.100/24", "dev", "eth0")
    tries = [(pods[0], "10.1.0.3"), (pods[2], "10.1.0.2"), (pods[1], "10.1.0.2")]
    assert reached(tries) == set(tries[:2])
