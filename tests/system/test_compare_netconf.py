"""What the reference plugins and anypod make of a netconf: refusals, routes, DNS, and keys that both know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.system.compare_known import ATTACHED, REFUSED
from tests.system.compare_rig import DUAL, V4, V6, VERSIONS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.compare_rig import Both, Seen, Side

NET: dict[str, Any] = {"subnet": "10.244.1.0/24"}
DNS = {
    "nameservers": ["192.0.2.53"],
    "domain": "example.org",
    "search": ["a.example.org"],
    "options": ["ndots:5"],
}


@pytest.mark.parametrize(
    ("ipam", "says"),
    [
        ({"subnet": "10.244.1.7/24"}, "has host bits set"),
        ({"ranges": [[{"subnet": "fd00:1::7/64"}]]}, "has host bits set"),
        ({"subnet": "10.244.1.0/31"}, "too small to allocate from"),
        ({"subnet": "10.244.1.0/32"}, "too small to allocate from"),
        ({"ranges": [[{"subnet": "fd00:1::/127"}]]}, "too small to allocate from"),
        ({"ranges": [[NET], [{"subnet": "10.244.0.0/16"}]]}, "overlap"),
        ({"ranges": [[NET, NET | {"rangeStart": "10.244.1.9"}]]}, "overlap"),
        ({"ranges": [[NET, {"subnet": "fd00:1::/64"}]]}, "set"),
        (NET | {"rangeStart": "10.9.9.9"}, "rangeStart"),
        (NET | {"rangeEnd": "10.9.9.9"}, "rangeEnd"),
        (NET | {"rangeStart": "10.244.1.20", "rangeEnd": "10.244.1.10"}, "rangeStart"),
        ({"ranges": [[]]}, ""),
        ({"ranges": []}, "range"),
        ({"subnet": "10.244.1.0"}, "10.244.1.0"),
        (NET | {"gateway": "nonsense"}, "nonsense"),
    ],
    ids=[
        *(
            "host-bits",
            "host-bits-v6",
            "slash-31",
            "slash-32",
            "v6-127",
            "overlap",
            "overlap-in-set",
            "mixed",
        ),
        *("start-outside", "end-outside", "reversed", "empty-set", "no-set", "no-prefix", "gateway"),
    ],
)
def test_a_range_that_cannot_be_is_refused(both: Both, ipam: dict[str, Any], says: str) -> None:
    def script(side: Side) -> Seen:
        seen = side.refused(side.call("ADD", "c1", side.pod(), side.conf(ipam=ipam)), says)
        return seen | {"held": side.held()}

    both.agree(script, REFUSED)


def test_two_sets_of_a_family_need_a_version_that_can_tell_them(both: Both) -> None:
    def script(side: Side) -> Seen:
        ipam = {"ranges": [[NET], [{"subnet": "10.245.0.0/16"}]]}
        conf = side.conf(ipam=ipam, cniVersion="0.2.0")
        return side.refused(side.call("ADD", "c1", side.pod(), conf), "0.2.0") | {"held": side.held()}

    both.agree(script, REFUSED)


@pytest.mark.parametrize("vlan", [-1, 4095, 70000])
def test_a_vlan_that_cannot_be_is_refused(both: Both, vlan: int) -> None:
    def script(side: Side) -> Seen:
        seen = side.refused(side.call("ADD", "c1", side.pod(), side.conf(vlan=vlan)), str(vlan))
        return seen | {"links": sorted(side.node.links())}

    both.agree(script, REFUSED)


def test_an_mtu_that_cannot_be_is_refused(both: Both) -> None:
    def script(side: Side) -> Seen:
        answer = side.call("ADD", "c1", side.pod(), side.conf(mtu=40))
        return side.refused(answer, "") | {"links": sorted(side.node.links())}

    both.agree(script, REFUSED)


def test_a_version_that_nobody_knows_is_refused(both: Both) -> None:
    def script(side: Side) -> Seen:
        answer = side.call("ADD", "c1", side.pod(), side.conf(cniVersion="9.9.9"))
        return {"code": side.refused(answer, "incompatible CNI versions")["error.code"]}

    both.agree(script)


@pytest.mark.parametrize(
    "routes",
    [
        [{"dst": "10.96.0.0/12"}],
        [{"dst": "192.0.2.0/24", "gw": "10.244.1.77"}, {"dst": "198.51.100.0/24", "gw": "10.244.1.78"}],
        [{"dst": "10.96.0.0/12"}, {"dst": "fd00:96::/112"}, {"dst": "fd00:97::/112", "gw": "fd00:1::99"}],
        [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        [{"dst": "0.0.0.0/0", "gw": "10.244.1.9"}],
    ],
    ids=["gatewayless", "gateways", "dual", "defaults", "default-with-gateway"],
)
def test_routes_of_ipam(both: Both, routes: list[dict[str, str]]) -> None:
    def script(side: Side) -> Seen:
        pod = side.pod()
        result = side.add("c1", pod, side.conf(ipam=DUAL | {"routes": routes}))
        return side.result(result, {"pod": pod}) | {"shown": side.look({"pod": pod})["pod"]["routes"]}  # type: ignore[index]

    both.agree(script)


@pytest.mark.parametrize("gateway", ["10.244.1.9", "10.244.1.1"])
def test_a_default_route_of_ipam_stands_for_the_one_that_is_default_gateway_makes(
    both: Both, gateway: str
) -> None:
    def script(side: Side) -> Seen:
        pod = side.pod()
        conf = side.conf(ipam=V4 | {"routes": [{"dst": "0.0.0.0/0", "gw": gateway}]}, isDefaultGateway=True)
        result = side.add("c1", pod, conf)
        return side.result(result, {"pod": pod}) | {"shown": side.look({"pod": pod})["pod"]["routes"]}  # type: ignore[index]

    both.agree(script)


def test_a_default_route_of_ipam_without_gateway_beside_is_default_gateway(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf(ipam=V4 | {"routes": [{"dst": "0.0.0.0/0"}]}, isDefaultGateway=True)
        return {"attached": side.call("ADD", "c1", side.pod(), conf).status == 0, "held": side.held()}

    both.agree(script, {"default-route-twice"})


def test_every_version_tells_and_makes_the_same(both: Both) -> None:
    """Each version in a pod of its own: routes, name servers, and what the call asks for."""
    routes = [{"dst": "10.96.0.0/12"}, {"dst": "192.0.2.0/24", "gw": "10.244.1.77"}, {"dst": "fd00:96::/112"}]

    def script(side: Side) -> Seen:
        seen: Seen = {}
        for number, version in enumerate(VERSIONS, 10):
            pod, asked = side.pod(), {"mac": f"c2:11:22:33:44:{number}", "ips": [f"10.244.1.{number}"]}
            conf = side.conf(ipam=DUAL | {"routes": routes}, cniVersion=version, dns=DNS, runtimeConfig=asked)
            result = side.add(f"c{number}", pod, conf | {"isGateway": True})
            shown = side.look({"pod": pod})["pod"]
            assert isinstance(shown, dict)
            seen[version] = side.result(result, {"pod": pod}) | {"routes": shown["routes"]}
            side.delete(f"c{number}", pod, conf | {"prevResult": result})
        return seen | {"held": side.held()}

    both.agree(script)


def test_dns_is_handed_back(both: Both) -> None:
    def script(side: Side) -> Seen:
        return {"dns": side.add("c1", side.pod(), side.conf(dns=DNS))["dns"]}

    both.agree(script)


def test_dns_of_a_resolv_conf(both: Both, tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# comment\nnameserver 192.0.2.53\nsearch a.example.org b.example.org\noptions ndots:5\n")

    def script(side: Side) -> Seen:
        return {"dns": side.add("c1", side.pod(), side.conf(ipam=V4 | {"resolvConf": str(file)}))["dns"]}

    both.agree(script, {"resolv-conf"})


def test_dns_of_the_netconf_wins_over_a_resolv_conf(both: Both, tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 192.0.2.99\n")

    def script(side: Side) -> Seen:
        conf = side.conf(ipam=V4 | {"resolvConf": str(file)}, dns=DNS)
        return {"dns": side.add("c1", side.pod(), conf)["dns"]}

    both.agree(script)


def test_a_resolv_conf_that_is_missing_is_refused(both: Both, tmp_path: Path) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf(ipam=V4 | {"resolvConf": str(tmp_path / "none")})
        return side.refused(side.call("ADD", "c1", side.pod(), conf), "none") | {"held": side.held()}

    both.agree(script, REFUSED)


def test_keys_that_nobody_knows_are_left_alone(both: Both) -> None:
    def script(side: Side) -> Seen:
        pod = side.pod()
        conf = side.conf(ipam=V4 | {"comment": "x"}, comment={"any": [1, 2]}, args={"labels": ["a"]})
        return side.result(side.add("c1", pod, conf), {"pod": pod}) | side.look({"pod": pod})

    both.agree(script, ATTACHED | {"bridge-mac"})


@pytest.mark.parametrize("end", ["rangeStart", "rangeEnd"])
def test_network_and_broadcast_addresses_are_no_addresses_of_pods(both: Both, end: str) -> None:
    def script(side: Side) -> Seen:
        bounds = {"rangeStart": "10.244.1.0", "rangeEnd": "10.244.1.9"}
        if end == "rangeEnd":
            bounds = {"rangeStart": "10.244.1.255", "rangeEnd": "10.244.1.255"}
        answer = side.call("ADD", "c1", side.pod(), side.conf(ipam=NET | bounds))
        return {"given": answer.json["ips"][0]["address"] if answer.status == 0 else "none"}

    both.agree(script, {"network-address"})


@pytest.mark.parametrize("subnet", ["224.0.1.0/24", "127.0.1.0/24", "fe80::/64", "ff05::/64"])
def test_subnets_that_no_pod_can_use(both: Both, subnet: str) -> None:
    def script(side: Side) -> Seen:
        answer = side.call("ADD", "c1", side.pod(), side.conf(ipam={"ranges": [[{"subnet": subnet}]]}))
        return {"code": answer.json.get("code", 0)}

    both.agree(script, {"unusable-subnet"})


@pytest.mark.parametrize(
    "ranges",
    [
        [[NET | {"gateway": "10.9.9.9"}]],
        [[NET | {"gateway": "10.244.1.0"}]],
        [[NET | {"rangeEnd": "10.244.1.9"}, NET | {"rangeStart": "10.244.1.10", "gateway": "10.244.1.8"}]],
    ],
    ids=["outside", "network address", "two of one subnet"],
)
def test_gateways_that_no_bridge_can_have(both: Both, ranges: list[list[dict[str, str]]]) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf(ipam={"ranges": ranges}, isGateway=True)
        return {"code": side.call("ADD", "c1", side.pod(), conf).json.get("code", 0)}

    both.agree(script, {"unusable-gateway"})


def test_an_mtu_that_ipv6_does_not_fit_into(both: Both) -> None:
    def script(side: Side) -> Seen:
        answer = side.call("ADD", "c1", side.pod(), side.conf(ipam=V6, mtu=1000))
        return side.refused(answer, "")

    both.agree(script, REFUSED)


def test_attributes_of_routes(both: Both) -> None:
    def script(side: Side) -> Seen:
        pod = side.pod()
        route = {"dst": "203.0.113.0/24", "gw": "10.244.1.9", "mtu": 1300, "advmss": 1200, "priority": 5}
        side.add("c1", pod, side.conf(ipam=V4 | {"routes": [route]}))
        (shown,) = side.node.ip("route", "show", "203.0.113.0/24", namespace=pod)
        return {"metric": shown.get("metric", 0), "metrics": shown.get("metrics", [])}

    both.agree(script, {"route-attributes"})


def test_a_reservation_in_the_data_directory(both: Both) -> None:
    def script(side: Side) -> Seen:
        reserved = side.folder / "networks" / "pods" / "10.244.1.2"
        reserved.parent.mkdir(parents=True)
        reserved.write_text("another\r\neth0")
        return {"given": side.add("c1", side.pod(), side.conf())["ips"][0]["address"]}

    both.agree(script, {"data-dir"})


def test_masquerading_by_iptables(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf(isGateway=True, ipMasq=True, ipMasqBackend="iptables")
        return {"code": side.call("ADD", "c1", side.pod(), conf).json.get("code", 0)}

    both.agree(script, {"ip-masq-backend"})
