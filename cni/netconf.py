"""A netconf that was not seen before: validated by the schema, then by what a schema can't say.

`compile_network` gives the typed network, or a CniError that names key, value and fix.
Imported only then: jsonschema alone costs 80 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cni.errors import INVALID_CONFIG, UNSUPPORTED_FIELD, CniError
from cni.network import BUILT_IN, NO_IPAM, Network, PodRoute
from cni.poolconf import anycast
from cni.ranges import address, check_gateways, check_sets, flat, range_sets, subnet
from cni.schema import checked, wrong
from cni.spec import is_identifier

if TYPE_CHECKING:
    from cni.ranges import Keyed

MIN_MTU = {4: 68, 6: 1280}
HOST_LOCAL = "host-local"
# An IPAM plugin that would attach pods itself, and the name that stands for none.
NO_DELEGATES = ("anypod", NO_IPAM)
MAX_VLAN = 4094
MAX_IFNAME = 15
DNS_KEYS = ("nameservers", "domain", "search", "options")
# Keys that mean the same in the netconf and in the network.
SAME = {
    "bridge": "bridge",
    "forceAddress": "force_address",
    "hairpinMode": "hairpin",
    "promiscMode": "promisc",
    "portIsolation": "isolated",
    "macspoofchk": "macspoofchk",
    "enabledad": "enable_dad",
    "disableContainerInterface": "host_only",
    "preserveDefaultVlan": "preserve_default_vlan",
    "requireSpeaker": "require_speaker",
}


def compile_network(conf: dict[str, Any], version: str) -> Network:
    """The network that `conf` describes. CniError 2 for what isn't served, 7 for what is wrong."""
    conf = checked(conf)
    fields: dict[str, Any] = {field: conf[key] for key, field in SAME.items() if key in conf}
    fields["ipam"] = _ipam(conf)
    default_gateway = conf.get("isDefaultGateway", False)
    fields["is_default_gateway"] = default_gateway
    fields["is_gateway"] = default_gateway or conf.get("isGateway", False)
    fields["masquerade"] = _masquerade(conf) and fields["ipam"] != NO_IPAM
    fields["vlan"] = _vlan(conf, fields)
    fields["vlan_trunk"] = _trunk(conf.get("vlanTrunk", ()))
    _check_pairs(conf, fields)
    sets: list[list[Keyed]] = []
    if fields["ipam"] == BUILT_IN:
        sets = range_sets(conf["ipam"], conf.get("runtimeConfig", {}))
        check_sets(sets, version)
        if fields["is_gateway"]:
            check_gateways(sets)
        fields["routes"] = _routes(conf["ipam"])
        fields["resolv_conf"] = "" if _has_dns(conf) else conf["ipam"].get("resolvConf", "")
    fields["range_sets"] = [[one for _, one in ranges] for ranges in sets]
    fields["mtu"] = _mtu(conf, sets)
    if "anycast" in conf:
        fields["anycast"] = anycast(conf["anycast"], sets).compiled()
    fields["dns"] = {key: conf["dns"][key] for key in DNS_KEYS if conf.get("dns", {}).get(key)}
    return Network(conf["name"], **fields)


def _ipam(conf: dict[str, Any]) -> str:
    """Where addresses come from. As with the reference plugin, an empty `ipam` stands for layer 2 alone."""
    ipam = conf.get("ipam", {})
    kind: str = ipam.get("type", "")
    if kind in NO_DELEGATES:
        raise wrong(
            "ipam.type", kind, "no plugin that gives addresses; use host-local, or leave ipam out for none"
        )
    if kind and not is_identifier(kind):
        raise wrong("ipam.type", kind, "no name of a plugin; write the name of its file, without a directory")
    if kind == HOST_LOCAL or (not kind and set(ipam) - {"type"}):
        return BUILT_IN
    return kind or NO_IPAM


def _has_dns(conf: dict[str, Any]) -> bool:
    """Whether the netconf says itself what the result tells of name servers; an empty list does."""
    dns = conf.get("dns", {})
    return any(key in dns for key in DNS_KEYS if key != "domain") or bool(dns.get("domain"))


def _masquerade(conf: dict[str, Any]) -> bool:
    wished: bool = conf.get("ipMasq", False)
    backend = conf.get("ipMasqBackend", "")
    if wished and backend == "iptables":
        raise CniError(
            UNSUPPORTED_FIELD,
            'ipMasqBackend: "iptables" is not served, anypod masquerades by one nftables table for the node;'
            ' remove the key, or set it to "nftables"',
        )
    if wished and backend not in ("", "nftables"):
        raise wrong("ipMasqBackend", backend, 'no backend; use "nftables", or remove the key')
    return wished


def _check_pairs(conf: dict[str, Any], fields: dict[str, Any]) -> None:
    """CniError 7 for keys that exclude each other."""
    if conf.get("hairpinMode") and conf.get("promiscMode"):
        raise CniError(
            INVALID_CONFIG,
            "hairpinMode: true and promiscMode: true exclude each other: a promiscuous bridge sends a pod's"
            " frames back to it already; remove one",
        )
    if conf.get("disableContainerInterface") and fields["ipam"] != NO_IPAM:
        raise CniError(
            INVALID_CONFIG,
            "disableContainerInterface: true, so the pod's interface stays down and can't have addresses;"
            " remove it, or ipam",
        )


def _vlan(conf: dict[str, Any], fields: dict[str, Any]) -> int:
    vlan = int(conf.get("vlan", 0))
    if not 0 <= vlan <= MAX_VLAN:
        raise wrong("vlan", vlan, f"an invalid VLAN ID (must be between 0 and {MAX_VLAN})")
    name = f"{conf.get('bridge', 'cni0')}.{vlan}"
    if vlan and fields["is_gateway"] and fields["ipam"] != NO_IPAM and len(name) > MAX_IFNAME:
        raise wrong(
            "bridge",
            conf["bridge"],
            f"too long: the gateway of VLAN {vlan} is on the interface {name}, whose name may have"
            f" {MAX_IFNAME} characters; shorten it",
        )
    return vlan


def _trunk(items: list[dict[str, Any]]) -> list[int]:
    """The VLANs of a trunk, in order."""
    found: set[int] = set()
    for number, one in enumerate(items):
        key = f"vlanTrunk[{number}]"
        given = {
            name: _trunk_vlan(f"{key}.{name}", one[name]) for name in ("minID", "maxID", "id") if name in one
        }
        if ("minID" in given) != ("maxID" in given):
            missing = "maxID" if "minID" in given else "minID"
            raise CniError(
                INVALID_CONFIG,
                f"{key}: minID and maxID should be configured simultaneously, {missing} is missing; set it",
            )
        if "minID" in given and given["minID"] > given["maxID"]:
            raise wrong(f"{key}.minID", given["minID"], f"greater than maxID {given['maxID']}; exchange them")
        if "minID" in given:
            found.update(range(given["minID"], given["maxID"] + 1))
        if "id" in given:
            found.add(given["id"])
    return sorted(found)


def _trunk_vlan(key: str, value: float) -> int:
    vlan = int(value)
    if not 0 < vlan <= MAX_VLAN:
        name = key.rpartition(".")[2]
        raise wrong(key, vlan, f"an incorrect trunk {name} parameter (must be between 1 and {MAX_VLAN})")
    return vlan


def _mtu(conf: dict[str, Any], sets: list[list[Keyed]]) -> int:
    mtu = int(conf.get("mtu", 0))  # 1500.0 is an integer in JSON
    least = max([MIN_MTU[one.family] for _, one in flat(sets)], default=MIN_MTU[4])
    if 0 < mtu < least:
        raise wrong("mtu", mtu, f"below {least}, the least that the ranges' families need")
    return mtu


def _routes(ipam: dict[str, Any]) -> list[PodRoute]:
    routes = []
    for number, conf in enumerate(ipam.get("routes", ())):
        key = f"ipam.routes[{number}]"
        dst = subnet(f"{key}.dst", conf["dst"])
        gateway = address(f"{key}.gw", conf["gw"]) if "gw" in conf else None
        if gateway is not None and gateway.version != dst.version:
            raise wrong(f"{key}.gw", conf["gw"], f"of another family than dst {dst}")
        one = PodRoute(dst.network_address.packed, dst.prefixlen, gateway.packed if gateway else None)
        for name in ("mtu", "advmss", "priority", "table", "scope"):
            if name in conf:
                setattr(one, name, int(conf[name]))
        routes.append(one)
    return routes
