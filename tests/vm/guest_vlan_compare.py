"""VLANs as the reference plugin makes them, and as anypod does: the same netconf, and what the kernel shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.system.compare_look import flat
from tests.vm.vlans import addresses, ports, reached

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.system.compare_rig import Both, Side

Seen = dict[str, Any]
V4 = {"ranges": [[{"subnet": "10.244.1.0/24"}]]}
DUAL = {"ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:1::/64"}]]}


def agree(both: Both, script: Callable[[Side], Seen]) -> None:
    """Runs `script` on each side; both see the same."""
    reference, ours = (flat(script(side)) for side in (both.reference, both.ours))
    keys = sorted(reference.keys() | ours.keys())
    different = {
        key: (reference.get(key), ours.get(key)) for key in keys if reference.get(key) != ours.get(key)
    }
    assert not different


def roles(side: Side, result: dict[str, Any]) -> dict[str, str]:
    """The links of the node, and what each is for: the names of some are random."""
    found = {"lo": "lo", "cni0": "bridge", result["interfaces"][1]["name"]: "pod's port"}
    for link in side.node.ip("link"):
        name = link["ifname"]
        if name not in found:
            found[name] = f"port of {link['link']}" if link.get("master") else name
    return found


def look(side: Side, pod: str, result: dict[str, Any]) -> Seen:
    """Links with their addresses, how they are ports of the bridge, VLANs, and the routes of node and pod."""
    names, node = roles(side, result), side.node
    seen: Seen = {"vlans": {names[name]: str(vlans) for name, vlans in ports(node).items()}}
    for link in node.ip("link"):
        name, data = link["ifname"], link.get("linkinfo", {})
        bridge = data.get("info_data", {}) if data.get("info_kind") == "bridge" else {}
        port = data.get("info_slave_data", {})
        seen[names[name]] = {
            "kind": data.get("info_kind", ""),
            "link": [link["mtu"], link.get("master", ""), sorted(link["flags"])],
            "addresses": addresses(node, name),
            "bridge": {
                key: bridge.get(key) for key in ("vlan_filtering", "vlan_protocol", "vlan_default_pvid")
            },
            "port": {key: port.get(key) for key in ("state", "hairpin", "isolated", "learning", "flood")},
        }
    for place in (node.name, pod):
        for family in ("-4", "-6"):
            routes = node.ip(family, "route", namespace=place)
            shown = [
                (one["dst"], names.get(one["dev"], one["dev"]), one.get("gateway", "")) for one in routes
            ]
            label = "pod" if place == pod else "node"
            seen[f"routes{family} of the {label}"] = sorted(one for one in shown if one[0] != "fe80::/64")
    return seen | {"eth0": addresses(node, "eth0", pod)}


def told(side: Side, result: dict[str, Any]) -> Seen:
    """What ADD answers, random names and hardware addresses aside."""
    names = roles(side, result)
    shown = [(names.get(one["name"], one["name"]), bool(one.get("sandbox"))) for one in result["interfaces"]]
    return {"interfaces": shown} | {key: result.get(key) for key in ("cniVersion", "ips", "routes", "dns")}


@pytest.mark.parametrize(
    "keys",
    [{}, {"isGateway": True}, {"isDefaultGateway": True, "ipam": DUAL, "mtu": 1400, "hairpinMode": True}],
    ids=["no-gateway", "gateway", "default-gateway-of-both-families"],
)
def test_a_pod_in_a_vlan(both: Both, keys: dict[str, Any]) -> None:
    def script(side: Side) -> Seen:
        conf, pod = side.conf(vlan=100, **{"ipam": V4} | keys), side.pod()
        result = side.add("c1", pod, conf)
        seen = {"result": told(side, result), "kernel": look(side, pod, result)}
        side.delete("c1", pod, conf)
        left = {roles(side, result)[name]: str(vlans) for name, vlans in ports(side.node).items()}
        return seen | {"left": left, "in the pod": sorted(side.node.links(pod))}

    agree(both, script)


def test_who_reaches_whom(both: Both) -> None:
    def script(side: Side) -> Seen:
        pods = [side.pod() for _ in range(3)]
        for number, (pod, vlan) in enumerate(zip(pods, (100, 100, 200), strict=True)):
            subnet = {"subnet": "10.1.0.0/24", "rangeStart": f"10.1.0.{vlan}"}
            conf = side.conf(
                name=f"vlan{vlan}", vlan=vlan, isGateway=vlan == 100, ipam={"ranges": [[subnet]]}
            )
            side.add(f"c{number}", pod, conf)
        targets = ("10.1.0.1", "10.1.0.100", "10.1.0.101", "10.1.0.200")
        answered = reached((pods[number], one) for number in (1, 2) for one in targets)
        assert len(answered) == 4, (side.label, answered)
        return {f"{pods.index(namespace)} to {one}": True for namespace, one in answered}

    agree(both, script)
