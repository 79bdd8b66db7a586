"""A netconf that was not seen before: validated by the schema, then by what a schema can't say.

`compile_network` gives the typed network, or a CniError that names key, value and fix.
Imported only then: jsonschema alone costs 80 ms.
"""

from __future__ import annotations

import json
from importlib.resources import files
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import combinations
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

from cni.errors import INVALID_CONFIG, UNSUPPORTED_FIELD, CniError
from cni.network import Network, PodRoute, Range
from cni.spec import LEGACY
from cni.unserved import refuse_unserved

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Ip = IPv4Address | IPv6Address
Subnet = IPv4Network | IPv6Network
MIN_MTU = {4: 68, 6: 1280}


def compile_network(conf: dict[str, Any], version: str) -> Network:
    """The network that `conf` describes. CniError 2 for what isn't served, 7 for what is wrong."""
    conf = _without_nulls(conf)
    error = next(iter(sorted(_validator().iter_errors(conf), key=lambda one: list(map(str, one.path)))), None)
    if error is not None:
        raise CniError(INVALID_CONFIG, _schema_message(error))
    refuse_unserved(conf)
    ipam = conf["ipam"]
    sets = _range_sets(ipam)
    _check_sets(sets, version)
    default_gateway = conf.get("isDefaultGateway", False)
    gateway = default_gateway or conf.get("isGateway", False)
    if gateway:
        _check_gateways(sets)
    for key, one in _flat(sets):
        if gateway and not one.subnet <= one.gateway < one.subnet + (1 << _bits(one) - one.prefixlen):
            raise _wrong(
                f"{key}.gateway",
                _text(one.gateway, one.family),
                f"outside {one.subnet_text()}, so the bridge can't have it",
            )
    mtu = int(conf.get("mtu", 0))  # 1500.0 is an integer in JSON
    least = max(MIN_MTU[one.family] for _, one in _flat(sets))
    if 0 < mtu < least:
        raise _wrong("mtu", mtu, f"below {least}, the least that the ranges' families need")
    return Network(
        conf["name"],
        conf.get("bridge", "cni0"),
        mtu,
        gateway,
        default_gateway,
        conf.get("hairpinMode", False),
        conf.get("ipMasq", False),
        sets,
        _routes(ipam, sets),
        {key: value for key, value in conf.get("dns", {}).items() if value},
    )


def _without_nulls(value: Any) -> Any:
    """As the reference plugins read JSON: null is the same as no key."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _validator() -> Draft202012Validator:
    schema = json.loads(files("cni").joinpath("netconf.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def _key(path: Any) -> str:
    shown = ""
    for part in path:
        shown += f"[{part}]" if isinstance(part, int) else f".{part}" if shown else str(part)
    return shown or "netconf"


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _wrong(key: str, value: object, why: str) -> CniError:
    return CniError(INVALID_CONFIG, f"{key}: {_shown(value)} is {why}")


def _schema_message(error: ValidationError) -> str:
    key = _key(error.absolute_path)
    instance: Any = error.instance
    if error.validator == "required":
        missing = next(name for name in _required(error) if name not in instance)
        inner = f"{key}.{missing}" if key != "netconf" else missing
        return f"{inner}: is missing; set it"
    if error.validator == "type":
        return f"{key}: {_shown(error.instance)} must be of type {error.validator_value}"
    rule = _shown(error.validator_value)
    return f"{key}: {_shown(error.instance)} does not keep the rule {error.validator} {rule}"


def _required(error: ValidationError) -> list[str]:
    names: Any = error.validator_value
    return list(names)


def _address(key: str, text: str) -> Ip:
    try:
        found = ip_address(text)
    except ValueError:
        raise _wrong(key, text, "no IP address; write it like 10.1.0.5 or fd00::5") from None
    if getattr(found, "scope_id", None):
        raise _wrong(key, text, "an address with a zone; leave the part behind % away")
    return found


def _subnet(key: str, text: str) -> Subnet:
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        raise _wrong(key, text, "no subnet; write it like 10.1.0.0/24 or fd00::/64") from None
    if not text.partition("/")[2].isdigit():
        raise _wrong(key, text, "without its prefix length; write it like 10.1.0.0/24")
    if ip_address(text.partition("/")[0]) != found.network_address:
        raise CniError(
            INVALID_CONFIG,
            f"{key}: {_shown(text)} has host bits set. For a subnet mask of length {found.prefixlen}"
            f" the network address is {found.network_address}",
        )
    return found


def _range(key: str, conf: dict[str, Any]) -> Range:
    subnet = _subnet(f"{key}.subnet", conf["subnet"])
    if subnet.prefixlen > subnet.max_prefixlen - 2:
        raise _wrong(
            f"{key}.subnet", conf["subnet"], "too small to allocate from; use a /30 (IPv6: /126) or larger"
        )
    if subnet.prefixlen == 0 or subnet.is_multicast or subnet.is_loopback or subnet.is_link_local:
        raise _wrong(f"{key}.subnet", conf["subnet"], "no subnet that pods can have; choose a private one")
    gateway = _member(key, "gateway", conf, subnet) or subnet.network_address + 1
    if gateway == subnet.network_address or (subnet.version == 4 and gateway == subnet.broadcast_address):
        raise _wrong(f"{key}.gateway", str(gateway), f"the network or broadcast address of {subnet}")
    first = _inside(key, "rangeStart", conf, subnet) or subnet.network_address + 1
    # IPv6 has no broadcast address.
    last = _inside(key, "rangeEnd", conf, subnet) or subnet.broadcast_address - (
        1 if subnet.version == 4 else 0
    )
    if int(first) > int(last):
        raise _wrong(f"{key}.rangeStart", str(first), f"behind rangeEnd {last}; exchange them")
    if first == last == gateway:
        raise _wrong(f"{key}.rangeStart", str(first), "the gateway and all of the range; widen it")
    start = int(subnet.network_address)
    return Range(subnet.version, start, subnet.prefixlen, int(first), int(last), int(gateway))


def _member(key: str, name: str, conf: dict[str, Any], subnet: Subnet) -> Ip | None:
    if name not in conf:
        return None
    found = _address(f"{key}.{name}", conf[name])
    if found.version != subnet.version:
        raise _wrong(f"{key}.{name}", conf[name], f"of another family than subnet {subnet}")
    return found


def _inside(key: str, name: str, conf: dict[str, Any], subnet: Subnet) -> Ip | None:
    found = _member(key, name, conf, subnet)
    if found is None:
        return None
    if found not in subnet:
        raise _wrong(
            f"{key}.{name}", conf[name], f"not in network {subnet}; choose one inside it or change the subnet"
        )
    if found == subnet.network_address or (subnet.version == 4 and found == subnet.broadcast_address):
        raise _wrong(
            f"{key}.{name}", conf[name], f"the network or broadcast address of {subnet}; no pod can have it"
        )
    return found


def _range_sets(ipam: dict[str, Any]) -> list[list[Range]]:
    sets = []
    if "subnet" in ipam:
        # The old form is one set of one range, and comes first, as with host-local.
        sets.append([_range("ipam", ipam)])
    else:
        for name in ("rangeStart", "rangeEnd", "gateway"):
            if name in ipam:
                raise _wrong(
                    f"ipam.{name}", ipam[name], "without ipam.subnet; set that, or move it into ipam.ranges"
                )
    for number, one in enumerate(ipam.get("ranges", ())):
        sets.append([_range(f"ipam.ranges[{number}][{index}]", conf) for index, conf in enumerate(one)])
    if not sets:
        raise CniError(
            INVALID_CONFIG, "ipam.ranges: no range to allocate from; set ipam.ranges or ipam.subnet"
        )
    return sets


def _flat(sets: list[list[Range]]) -> list[tuple[str, Range]]:
    return [(f"ipam.ranges[{n}][{i}]", one) for n, ranges in enumerate(sets) for i, one in enumerate(ranges)]


def _check_sets(sets: list[list[Range]], version: str) -> None:
    for number, ranges in enumerate(sets):
        if len({one.family for one in ranges}) > 1:
            raise CniError(
                INVALID_CONFIG,
                f"ipam.ranges[{number}]: IPv4 and IPv6 in one set; give each family a set of its own",
            )
    for (key, one), (other_key, other) in combinations(_flat(sets), 2):
        if one.family == other.family and one.first <= other.last and other.first <= one.last:
            raise CniError(
                INVALID_CONFIG,
                f"{key} ({one}) overlaps {other_key} ({other}); take the shared part out of one",
            )
    families = [ranges[0].family for ranges in sets]
    if version in LEGACY and len(families) != len(set(families)):
        raise CniError(
            INVALID_CONFIG,
            f'cniVersion: "{version}" knows one address of a family; use 0.3.0 or newer for more sets',
        )


def _check_gateways(sets: list[list[Range]]) -> None:
    for (key, one), (other_key, other) in combinations(_flat(sets), 2):
        same = (one.family, one.subnet, one.prefixlen) == (other.family, other.subnet, other.prefixlen)
        if same and one.gateway != other.gateway:
            raise CniError(
                INVALID_CONFIG,
                f"{other_key}.gateway: {_text(other.gateway, other.family)} is another gateway for the subnet"
                f" {one.subnet_text()} than that of {key}; give both the same",
            )


def _routes(ipam: dict[str, Any], sets: list[list[Range]]) -> list[PodRoute]:
    routes = []
    for number, conf in enumerate(ipam.get("routes", ())):
        key = f"ipam.routes[{number}]"
        unserved = sorted(set(conf) - {"dst", "gw"})
        if unserved:
            raise CniError(
                UNSUPPORTED_FIELD, f"{key}.{unserved[0]}: {_shown(conf[unserved[0]])} is not served; drop it"
            )
        dst = _subnet(f"{key}.dst", conf["dst"])
        gateway = _address(f"{key}.gw", conf["gw"]) if "gw" in conf else None
        if gateway is not None and gateway.version != dst.version:
            raise _wrong(f"{key}.gw", conf["gw"], f"of another family than dst {dst}")
        if dst.version not in {ranges[0].family for ranges in sets}:
            raise _wrong(
                f"{key}.dst", conf["dst"], "of a family that no range has; add a range of that family"
            )
        routes.append(
            PodRoute(dst.network_address.packed, dst.prefixlen, gateway.packed if gateway else None)
        )
    return routes


def _bits(one: Range) -> int:
    return 32 if one.family == 4 else 128


def _text(number: int, family: int) -> str:
    return str(IPv4Address(number) if family == 4 else IPv6Address(number))
