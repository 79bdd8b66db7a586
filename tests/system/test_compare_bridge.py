"""bridge of the reference plugins and anypod: the node's bridge, the pair, addresses, default routes, MTU, ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.system.compare_known import ATTACHED, GATEWAY6, REFUSED, V6_POD
from tests.system.compare_rig import DUAL, FAMILIES, V4, V6, VERSIONS

if TYPE_CHECKING:
    from tests.system.compare_rig import Both, Seen, Side


def known_of(family: str) -> frozenset[str]:
    """The differences that every attachment with addresses of that family, and a gateway, shows."""
    return ATTACHED if family == "v4" else ATTACHED | GATEWAY6 | V6_POD


def attach(side: Side, conf: dict[str, Any], args: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    """One pod by this netconf: the result, and the pods by label."""
    pod = side.pod()
    return side.add("c1", pod, conf, args=args), {"pod": pod}


def whole(side: Side, conf: dict[str, Any], args: str = "") -> Seen:
    """One pod by this netconf: the result and all that the kernel shows."""
    result, pods = attach(side, conf, args)
    return side.result(result, pods) | side.look(pods)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_add_and_del_with_a_default_route(both: Both, version: str, family: str) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf(ipam=FAMILIES[family], isDefaultGateway=True, cniVersion=version)
        result, pods = attach(side, conf)
        seen = side.result(result, pods) | side.look(pods) | {"held": side.held()}
        side.delete("c1", pods["pod"], conf | {"prevResult": result})
        return seen | {"after": {"held": side.held(), "links": sorted(side.node.links())}}

    both.agree(script, known_of(family))


def test_a_bridge_is_made_without_address_where_nothing_asks_for_one(both: Both) -> None:
    both.agree(lambda side: whole(side, side.conf()), ATTACHED | {"bridge-mac"})


def test_layer_2_in_every_version(both: Both) -> None:
    def script(side: Side) -> Seen:
        seen: Seen = {}
        for number, version in enumerate(VERSIONS[2:]):
            pod = side.pod()
            conf = side.conf(ipam={}, cniVersion=version)
            seen[version] = side.result(side.add(f"c{number}", pod, conf), {"pod": pod})
        return seen

    both.agree(script)


@pytest.mark.parametrize("version", VERSIONS[:2])
def test_layer_2_in_versions_that_tell_addresses_alone(both: Both, version: str) -> None:
    def script(side: Side) -> Seen:
        answer = side.call("ADD", "c1", side.pod(), side.conf(ipam={}, cniVersion=version))
        return {"attached without an address": answer.status == 0}

    both.agree(script, {"layer-2-of-old"})


@pytest.mark.parametrize("ipam", [None, {}, {"type": ""}], ids=["no-key", "empty", "empty-type"])
def test_without_ipam_the_pod_gets_a_layer_2_port(both: Both, ipam: dict[str, Any] | None) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf() | {"ipam": ipam}
        if ipam is None:
            del conf["ipam"]
        result, pods = attach(side, conf)
        seen = side.result(result, pods) | side.look(pods)
        side.delete("c1", pods["pod"], conf | {"prevResult": result})
        return seen | {"after": sorted(side.node.links())}

    both.agree(script, ATTACHED | {"bridge-mac"})


def test_an_operators_bridge_is_used_as_it_is(both: Both) -> None:
    def script(side: Side) -> Seen:
        make = "ip link add br7 mtu 1400 address 02:00:00:00:00:07 type bridge ageing_time 1000"
        side.node.execute(side.node.name, *make.split())
        side.node.execute(side.node.name, "ip", "addr", "add", "10.244.1.1/24", "dev", "br7")
        return whole(side, side.conf(bridge="br7", isDefaultGateway=True))

    both.agree(script, ATTACHED)


def test_a_link_of_the_bridges_name_that_is_no_bridge_is_refused(both: Both) -> None:
    def script(side: Side) -> Seen:
        side.node.execute(side.node.name, *"ip link add cni0 type veth peer name other".split())
        seen = side.refused(side.call("ADD", "c1", side.pod(), side.conf()), "bridge")
        return seen | {"links": sorted(side.node.links()), "held": side.held()}

    both.agree(script, REFUSED)


@pytest.mark.parametrize("gateway", ["10.244.1.254", "10.244.1.5"])
def test_the_gateway_of_a_range_is_the_one_that_is_set(both: Both, gateway: str) -> None:
    ipam = {"ranges": [[{"subnet": "10.244.1.0/24", "gateway": gateway, "rangeStart": "10.244.1.5"}]]}
    both.agree(lambda side: whole(side, side.conf(ipam=ipam, isDefaultGateway=True)), ATTACHED)


def test_two_ranges_of_ipv6_are_two_addresses_and_two_gateways(both: Both) -> None:
    ipam = {"ranges": [[{"subnet": "fd00:1::/64"}], [{"subnet": "fd00:2::/64"}]]}

    def script(side: Side) -> Seen:
        return whole(side, side.conf(ipam=ipam, isDefaultGateway=True))

    both.agree(script, known_of("v6"))


def test_two_ranges_of_ipv4_without_a_gateway_are_two_addresses(both: Both) -> None:
    ipam = {"ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "10.245.0.0/16"}]]}
    both.agree(lambda side: whole(side, side.conf(ipam=ipam)), ATTACHED | {"bridge-mac"})


@pytest.mark.parametrize("mtu", [0, 1300, 9000])
def test_mtu(both: Both, mtu: int) -> None:
    def script(side: Side) -> Seen:
        return whole(side, side.conf(ipam=DUAL, isGateway=True, mtu=mtu))

    both.agree(script, known_of("dual"))


@pytest.mark.parametrize("hairpin", [True, False])
def test_hairpin_mode(both: Both, hairpin: bool) -> None:
    def script(side: Side) -> Seen:
        return whole(side, side.conf(isGateway=True, hairpinMode=hairpin))

    both.agree(script, ATTACHED)


def test_promiscuous_mode(both: Both) -> None:
    both.agree(lambda side: whole(side, side.conf(isGateway=True, promiscMode=True)), ATTACHED)


def test_hairpin_and_promiscuous_mode_exclude_each_other(both: Both) -> None:
    def script(side: Side) -> Seen:
        answer = side.call("ADD", "c1", side.pod(), side.conf(hairpinMode=True, promiscMode=True))
        return side.refused(answer, "promisc") | {"links": sorted(side.node.links())}

    both.agree(script, REFUSED)


@pytest.mark.parametrize("dad", [True, False])
def test_duplicate_address_detection(both: Both, dad: bool) -> None:
    def script(side: Side) -> Seen:
        return whole(side, side.conf(ipam=V6, isGateway=True, enabledad=dad))

    both.agree(script, known_of("v6") - ({"pod-nodad"} if dad else set()))


def test_ipv6_addresses_are_usable_when_add_returns(both: Both) -> None:
    """Where nothing spares the seconds of duplicate address detection."""

    def script(side: Side) -> Seen:
        pod = side.node.pod()
        side.add("c1", pod, side.conf(ipam=V6, isGateway=True))
        link = next(one for one in side.node.ip("addr", namespace=pod) if one["ifname"] == "eth0")
        return {
            one["local"]: one.get("tentative", False) for one in link["addr_info"] if one["scope"] == "global"
        }

    both.agree(script)


def test_pods_reach_each_other_and_the_gateway(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf(ipam=DUAL, isDefaultGateway=True)
        first, second = side.pod(), side.pod()
        side.add("c1", first, conf)
        side.add("c2", second, conf)
        targets = ("10.244.1.1", "10.244.1.3", "fd00:1::1", "fd00:1::3")
        compare = {target: side.node.pings(first, target) for target in targets}
        assert all(compare.values()), (side.label, compare)
        return dict(compare)

    both.agree(script)


def test_the_bridges_hardware_address_stays_while_pods_come_and_go(both: Both) -> None:
    def mac(side: Side) -> str:
        return str(next(one["address"] for one in side.node.ip("link") if one["ifname"] == "cni0"))

    def script(side: Side) -> Seen:
        conf, pods = side.conf(isGateway=True), [side.pod() for _ in range(4)]
        macs = []
        for number, pod in enumerate(pods):
            result = side.add(f"c{number}", pod, conf)
            macs += [mac(side), result["interfaces"][0]["mac"]]
        for number, pod in enumerate(pods):
            side.delete(f"c{number}", pod, conf)
            macs.append(mac(side))
        assert len(set(macs)) == 1, (side.label, macs)
        return {"addresses of the bridge": len(set(macs))}

    both.agree(script)


def test_a_pods_own_interface_of_that_name_is_refused_and_stays(both: Both) -> None:
    def script(side: Side) -> Seen:
        pod = side.pod()
        side.node.execute(pod, "ip", "link", "add", "eth0", "type", "bridge")
        seen = side.refused(side.call("ADD", "c1", pod, side.conf()), "exists")
        return seen | {"pod": sorted(side.node.links(pod)), "held": side.held()}

    both.agree(script, REFUSED)


def test_v4_alone_leaves_ipv6_forwarding_alone(both: Both) -> None:
    def script(side: Side) -> Seen:
        side.add("c1", side.pod(), side.conf(ipam=V4, isGateway=True))
        keys = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
        return {key: side.node.execute(side.node.name, "sysctl", "-n", key).strip() for key in keys}

    both.agree(script)
