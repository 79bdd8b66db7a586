"""Who reaches whom in the VLANs of a bridge: pods, trunks, and the node by its gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.system.traffic import Server, ask
from tests.vm.vlans import LEFT_IN, OWN, addresses, host_end, ports, reached

if TYPE_CHECKING:
    from tests.system.plugin_node import Node


def subnet(node: Node, vlan: int, start: int) -> dict[str, Any]:
    """One of several networks that share a bridge and a subnet, each in a VLAN of its own."""
    ranges = [[{"subnet": "10.1.0.0/24", "rangeStart": f"10.1.0.{start}"}]]
    ipam = {"type": "host-local", "ranges": ranges}
    return node.conf(name=f"vlan{vlan}", vlan=vlan, isDefaultGateway=False, ipam=ipam)


def test_pods_and_trunks_reach_who_is_in_their_vlan_and_nobody_else(node: Node) -> None:
    blue, red = subnet(node, 100, 10), subnet(node, 200, 20)
    pods = [node.pod() for _ in range(5)]
    for number, conf in enumerate((blue, blue, red, red)):
        node.add(f"c{number}", pods[number], conf)
    # It may tag its frames for VLAN 100, and does for VLAN 200 too.
    node.add("trunk", pods[4], node.conf(name="trunk", vlanTrunk=[{"id": 100}], ipam={}))
    for vlan in (100, 200):
        for command in (
            f"ip link add eth0.{vlan} link eth0 type vlan id {vlan}",
            f"ip link set eth0.{vlan} up",
            f"ip addr add 10.1.0.{vlan}/24 dev eth0.{vlan}",
        ):
            node.execute(pods[4], *command.split())
    together = {
        *((pods[0], "10.1.0.11"), (pods[1], "10.1.0.10"), (pods[2], "10.1.0.21"), (pods[3], "10.1.0.20")),
        *((pods[0], "10.1.0.100"), (pods[1], "10.1.0.100")),
    }
    apart = {(pods[0], "10.1.0.20"), (pods[2], "10.1.0.10"), (pods[2], "10.1.0.100"), (pods[3], "10.1.0.200")}
    assert reached(together | apart) == together
    node.delete("c0", pods[0], blue)
    assert reached([(pods[1], "10.1.0.10"), (pods[3], "10.1.0.20")]) == {(pods[3], "10.1.0.20")}


def test_the_gateway_of_a_vlan_is_on_an_interface_of_its_own(node: Node) -> None:
    conf, pods = node.conf(vlan=100, preserveDefaultVlan=False), [node.pod(), node.pod()]
    result = node.add("c0", pods[0], conf)
    shown = result["interfaces"]
    assert [one["name"] for one in shown] == ["cni0", host_end(result), "eth0", "cni0.100"]
    gateway = next(one for one in node.ip("link") if one["ifname"] == "cni0.100")
    assert (shown[3]["mac"], shown[3].get("sandbox", "")) == (gateway["address"], "")
    assert [one["interface"] for one in result["ips"]] == [2, 2]
    assert addresses(node, "cni0.100") == {"10.244.1.1/24", "fd00:1::1/64"}
    assert addresses(node, "cni0") == set()
    assert ports(node)[gateway["link"]] == {100: OWN}
    node.add("c1", pods[1], conf)
    targets = {"10.244.1.1", "fd00:1::1", "10.244.1.2", "fd00:1::2", "10.244.1.3", "fd00:1::3"}
    tries = {(pod, target) for pod in pods for target in targets}
    assert reached(tries) == tries
    assert node.verb("CHECK", "c0", pods[0], conf | {"prevResult": result}).status == 0
    for number, pod in enumerate(pods):
        node.delete(f"c{number}", pod, conf)
    # What is not one pod's stays, as the bridge does.
    assert node.links() == {"lo", "cni0", "cni0.100", gateway["link"]}


LOSSES = (
    "ip link del cni0.100",
    "ip addr flush dev cni0.100",
    "ip link set cni0.100 down",
    "ip link set cni0 type bridge vlan_filtering 0",
    "ip link del cni0",
)


def test_the_next_add_makes_again_what_the_gateway_of_a_vlan_lost(node: Node) -> None:
    conf = node.conf(vlan=100, preserveDefaultVlan=False)
    node.add("c", node.pod(), conf)
    for number, loss in enumerate(LOSSES):
        node.execute(node.name, *loss.split())
        pod = node.pod()
        node.add(f"c{number}", pod, conf)
        tries = {(pod, "10.244.1.1"), (pod, "fd00:1::1")}
        assert reached(tries) == tries, loss


def test_an_interface_of_the_gateways_name_that_somebody_made_is_used_as_it_is(node: Node) -> None:
    for command in (
        "ip link add cni0 type bridge vlan_filtering 1",
        "ip link set cni0 up",
        "ip link add link cni0 name cni0.100 type vlan id 100",
        "bridge vlan add dev cni0 vid 100 self",
    ):
        node.execute(node.name, *command.split())
    pod = node.pod()
    result = node.add("c1", pod, node.conf(vlan=100))
    assert node.links() == {"lo", "cni0", "cni0.100", host_end(result)}
    assert reached([(pod, "10.244.1.1")])


def test_a_pod_of_a_vlan_can_have_all_that_others_can(node: Node) -> None:
    """Masquerading, a mapped port, limits and a guarded hardware address, on a kernel that distributions ship."""
    runtime = {
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": dict.fromkeys(("ingressRate", "ingressBurst", "egressRate", "egressBurst"), 8_000_000),
    }
    conf = node.conf(vlan=100, ipMasq=True, macspoofchk=True, runtimeConfig=runtime)
    # Else a frame whose destination is changed on the bridge never gets to the gateway's interface.
    for family in ("ip", "ip6"):
        node.execute(node.name, "sysctl", "-qw", f"net.bridge.bridge-nf-call-{family}tables=0")
    pod, other = node.pod(), node.pod()
    node.add("c0", other, conf | {"runtimeConfig": {"portMappings": [{"hostPort": 9, "containerPort": 9}]}})
    before = node.traces()
    result = node.add("c1", pod, conf)
    assert ports(node)[host_end(result)] == {1: LEFT_IN, 100: OWN}
    answer = node.verb("CHECK", "c1", pod, conf | {"prevResult": result})
    assert (answer.status, answer.stdout) == (0, "")
    with Server(pod, 80, "pod"):
        assert ask(other, "10.244.1.1", 8080).startswith("pod ")
        assert ask(other, "fd00:1::1", 8080).startswith("pod ")
        assert ask(node.name, "127.0.0.1", 8080).startswith("pod ")
    node.delete("c1", pod, conf)
    assert node.traces() == before
