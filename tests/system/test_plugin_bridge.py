"""What the keys of the reference plugin `bridge` do to a pod's port and to the pod's inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.system.plugin_node import Node

SUBNET = {"subnet": "10.244.1.0/24"}
SUBNET6 = {"subnet": "fd00:1::/64"}


def layer2(node: Node, **keys: object) -> dict[str, Any]:
    """A netconf of another network on the same bridge, without addresses."""
    return node.conf(name="wire", isDefaultGateway=False, ipam={}) | keys


def port(node: Node, result: dict[str, Any]) -> Any:
    """The bridge port of an attachment, as the kernel shows it."""
    name = result["interfaces"][1]["name"]
    return next(one for one in node.ip("link") if one["ifname"] == name)


def inside(node: Node, pod: str, ifname: str = "eth0") -> Any:
    """The pod's interface, as the kernel shows it."""
    return next(one for one in node.ip("addr", namespace=pod) if one["ifname"] == ifname)


def addresses(link: Any) -> set[str]:
    return {f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["scope"] == "global"}


def sysctl(node: Node, namespace: str, key: str) -> str:
    return node.execute(namespace, "sysctl", "-n", key).strip()


@pytest.mark.parametrize("hairpin", [False, True])
@pytest.mark.parametrize("isolated", [False, True])
def test_the_ports_flags_are_those_of_the_netconf(node: Node, hairpin: bool, isolated: bool) -> None:
    result = node.add("c1", node.pod(), node.conf(hairpinMode=hairpin, portIsolation=isolated))
    data = port(node, result)["linkinfo"]["info_slave_data"]
    assert (data["hairpin"], data["isolated"]) == (hairpin, isolated)


def test_isolated_pods_reach_the_gateway_and_not_each_other(node: Node) -> None:
    first, second, open_pod = node.pod(), node.pod(), node.pod()
    conf = node.conf(portIsolation=True)
    node.add("c1", first, conf)
    node.add("c2", second, conf)
    node.add("c3", open_pod, node.conf())
    assert node.pings(first, "10.244.1.1")
    assert node.pings(first, "10.244.1.4")
    assert not node.pings(first, "10.244.1.3")


def test_check_sees_a_port_that_lost_its_flags(node: Node) -> None:
    conf = node.conf(hairpinMode=True, portIsolation=True)
    pod = node.pod()
    conf["prevResult"] = node.add("c1", pod, conf)
    assert node.verb("CHECK", "c1", pod, conf).status == 0
    name = conf["prevResult"]["interfaces"][1]["name"]
    for flag, key in (("isolated", "portIsolation"), ("hairpin", "hairpinMode")):
        node.execute(node.name, "ip", "link", "set", name, "type", "bridge_slave", flag, "off")
        answer = node.verb("CHECK", "c1", pod, conf)
        assert (answer.json["code"], key in answer.json["msg"]) == (104, True)


def test_the_pods_end_stays_down_where_the_netconf_says_so(node: Node) -> None:
    pod = node.pod()
    conf = layer2(node, disableContainerInterface=True)
    result = node.add("c1", pod, conf)
    assert "UP" not in inside(node, pod)["flags"]
    assert addresses(inside(node, pod)) == set()
    assert "UP" in port(node, result)["flags"]
    assert result.get("ips", []) == []
    assert [one["name"] for one in result["interfaces"]][::2] == ["cni0", "eth0"]
    assert node.verb("CHECK", "c1", pod, conf | {"prevResult": result}).status == 0
    node.delete("c1", pod, conf)
    assert node.links() == {"lo", "cni0"}


@pytest.mark.parametrize("ipam", [None, {}, {"type": ""}])
def test_without_ipam_pods_share_a_wire_and_have_no_addresses(node: Node, ipam: object) -> None:
    pods = node.pod(), node.pod()
    for number, pod in enumerate(pods):
        conf = layer2(node, ipam=ipam, isGateway=True, ipMasq=True)
        result = node.add(f"c{number}", pod, conf)
        assert (result.get("ips", []), result.get("routes", [])) == ([], [])
        assert "UP" in inside(node, pod)["flags"]
        assert addresses(inside(node, pod)) == set()
        node.execute(pod, "ip", "addr", "add", f"192.0.2.{number + 1}/24", "dev", "eth0")
    assert node.pings(pods[0], "192.0.2.2")
    # Masquerading and gateways are for addresses.
    bridge = next(one for one in node.ip("addr") if one["ifname"] == "cni0")
    assert addresses(bridge) == set()
    assert "anypod" not in node.execute(node.name, "nft", "list", "tables")
    assert node.verb("CHECK", "c1", pods[1], conf | {"prevResult": result}).status == 0
    node.delete("c0", pods[0], conf)
    node.delete("c1", pods[1], conf)
    assert (node.held(), node.links()) == ({}, {"lo", "cni0"})


def test_addresses_are_usable_at_once_without_duplicate_detection(node: Node) -> None:
    pod = node.pod()
    result = node.add("c1", pod)
    own = [one for one in inside(node, pod)["addr_info"] if one["scope"] == "global"]
    assert len(own) == 2
    assert not any(one.get("tentative") for one in own)
    assert sysctl(node, pod, "net.ipv6.conf.eth0.accept_dad") == "0"
    assert sysctl(node, pod, "net.ipv6.conf.eth0.keep_addr_on_down") == "1"
    assert sysctl(node, pod, "net.ipv4.conf.eth0.arp_notify") == "1"
    for name in ("cni0", result["interfaces"][1]["name"]):
        assert sysctl(node, node.name, f"net.ipv6.conf.{name}.accept_ra") == "0"


def test_add_waits_for_duplicate_detection_that_is_asked_for(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod, node.conf(enabledad=True))
    own = inside(node, pod)["addr_info"]
    assert {one["local"] for one in own if one["scope"] == "global"} == {"10.244.1.2", "fd00:1::2"}
    assert not any(one.get("tentative") or one.get("dadfailed") for one in own)
    assert sysctl(node, pod, "net.ipv6.conf.eth0.accept_dad") == "1"
    assert node.pings(pod, "fd00:1::1")


def test_add_fails_whole_where_a_neighbour_has_the_address(node: Node) -> None:
    neighbour, pod = node.pod(), node.pod()
    node.add("n", neighbour, layer2(node))
    node.execute(neighbour, "ip", "addr", "add", "fd00:1::2/64", "dev", "eth0", "nodad")
    before = node.traces()
    answer = node.verb("ADD", "c1", pod, node.conf(enabledad=True))
    assert answer.status == 1
    assert answer.json["code"] == 102
    assert "a neighbour has fd00:1::2 already" in answer.json["msg"]
    assert node.traces() == before
    # The address rests, so the next try gets another one.
    result = node.add("c1", pod, node.conf(enabledad=True))
    assert {one["address"] for one in result["ips"]} == {"10.244.1.3/24", "fd00:1::3/64"}


def test_routes_of_ipam_have_what_version_1_1_0_knows(node: Node) -> None:
    routes = [
        {"dst": "10.96.0.0/12", "mtu": 1400, "advmss": 1360, "priority": 50},
        {"dst": "192.0.2.0/24", "scope": 253},
        {"dst": "198.51.100.0/24", "gw": "10.244.1.9", "table": 1000},
        {"dst": "203.0.113.0/24", "table": 100},
        {"dst": "fd99::/48", "mtu": 1300},
    ]
    pod = node.pod()
    ipam = {"ranges": [[SUBNET], [SUBNET6]], "routes": routes}
    result = node.add("c1", pod, node.conf(cniVersion="1.1.0", ipam=ipam))
    shown = node.ip("-4", "route", "show", "table", "all", namespace=pod)
    found = {one["dst"]: one for one in shown + node.ip("-6", "route", namespace=pod)}
    service = found["10.96.0.0/12"]
    assert (service["gateway"], service["metric"]) == ("10.244.1.1", 50)
    assert service["metrics"] == [{"mtu": 1400, "advmss": 1360}]
    assert (found["192.0.2.0/24"]["scope"], found["192.0.2.0/24"].get("gateway")) == ("link", None)
    assert (found["198.51.100.0/24"]["gateway"], found["198.51.100.0/24"]["table"]) == ("10.244.1.9", "1000")
    assert (found["203.0.113.0/24"]["gateway"], found["203.0.113.0/24"]["table"]) == ("10.244.1.1", "100")
    assert (found["fd99::/48"]["gateway"], found["fd99::/48"]["metrics"]) == ("fd00:1::1", [{"mtu": 1300}])
    told = {one["dst"]: one for one in result["routes"]}
    assert told["10.96.0.0/12"] == routes[0]
    assert (
        node.verb("CHECK", "c1", pod, node.conf(cniVersion="1.1.0", ipam=ipam, prevResult=result)).status == 0
    )


def test_several_routes_to_one_place_are_all_made(node: Node) -> None:
    pod = node.pod()
    routes = [
        {"dst": dst, "gw": gw + end}
        for dst, gw in (("10.96.0.0/12", "10.244.1."), ("fd99::/48", "fd00:1::"))
        for end in ("8", "9", "9")
    ]
    node.add("c1", pod, node.conf(ipam={"ranges": [[SUBNET], [SUBNET6]], "routes": routes}))
    shown = [one["gateway"] for one in node.ip("-4", "route", namespace=pod) if one["dst"] == "10.96.0.0/12"]
    # The last one goes before, as with the reference plugins.
    assert shown == ["10.244.1.9", "10.244.1.8"]
    [route] = [one for one in node.ip("-6", "route", namespace=pod) if one["dst"] == "fd99::/48"]
    assert {hop["gateway"] for hop in route["nexthops"]} == {"fd00:1::8", "fd00:1::9"}


def test_the_default_route_of_a_second_interface_goes_before_the_first_ones(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod)
    node.add("c1", pod, ifname="net1")
    shown = [one["dev"] for one in node.ip("-4", "route", namespace=pod) if one["dst"] == "default"]
    assert shown == ["net1", "eth0"]


def test_a_route_of_a_family_without_range_leads_onto_the_link(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod, node.conf(ipam=SUBNET | {"routes": [{"dst": "0.0.0.0/0"}, {"dst": "2001:db8::/32"}]}))
    route = next(one for one in node.ip("-6", "route", namespace=pod) if one["dst"] == "2001:db8::/32")
    assert (route["dev"], route.get("gateway")) == ("eth0", None)


def test_name_servers_come_from_the_file_that_ipam_names_each_time_anew(node: Node) -> None:
    file = node.state.parent / "resolv.conf"
    conf = node.conf(ipam=SUBNET | {"resolvConf": str(file)})
    answer = node.verb("ADD", "c0", node.pod(), conf)
    assert (answer.json["code"], f"{str(file)!r} can't be read" in answer.json["msg"]) == (5, True)
    assert (node.held(), node.links() - {"cni0"}) == ({}, {"lo"})
    file.write_text("nameserver 192.0.2.53\nsearch a.example b.example\n")
    assert node.add("c1", node.pod(), conf)["dns"] == {
        "nameservers": ["192.0.2.53"],
        "search": ["a.example", "b.example"],
    }
    file.write_text("nameserver 192.0.2.54\n")
    assert node.add("c2", node.pod(), conf)["dns"] == {"nameservers": ["192.0.2.54"]}
    own = node.add("c3", node.pod(), conf | {"dns": {"nameservers": ["192.0.2.99"]}})
    assert own["dns"] == {"nameservers": ["192.0.2.99"]}


def test_a_conflist_of_the_reference_plugins_works_with_another_type(node: Node) -> None:
    ipam = {
        "type": "host-local",
        "subnet": "10.22.0.0/16",
        "rangeStart": "10.22.0.0",
        "rangeEnd": "10.22.255.255",
        "gateway": "10.22.0.1",
        "dataDir": "/run/my-orchestrator/container-ipam-state",
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    }
    pod = node.pod()
    conf = node.conf(bridge="mynet0", isGateway=True, isDefaultGateway=False, ipMasq=True, ipam=ipam)
    conf |= {
        "capabilities": {"portMappings": True},
        "ipMasqBackend": "",
        "promiscMode": None,
        "vlanTrunk": [],
    }
    result = node.add("c1", pod, conf)
    assert result["ips"][0]["address"] == "10.22.0.2/16"
    assert node.pings(pod, "10.22.0.1")
