"""The ranges that addresses are allocated from, as a netconf writes them: parsed, completed and compared."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import combinations
from typing import TYPE_CHECKING, Any

from cni.errors import INVALID_CONFIG, CniError
from cni.network import Range
from cni.schema import shown, wrong
from cni.spec import LEGACY

if TYPE_CHECKING:
    from collections.abc import Sequence

Ip = IPv4Address | IPv6Address
Subnet = IPv4Network | IPv6Network
# A range with the key that it stands under in the netconf.
Keyed = tuple[str, Range]


def address(key: str, text: str) -> Ip:
    """CniError 7 for what is no address."""
    try:
        found = ip_address(text)
    except ValueError:
        raise wrong(key, text, "no IP address; write it like 10.1.0.5 or fd00::5") from None
    if getattr(found, "scope_id", None):
        raise wrong(key, text, "an address with a zone; leave the part behind % away")
    return found


def subnet(key: str, text: str) -> Subnet:
    """CniError 7 for what is no subnet in CIDR form, or has host bits set."""
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        raise wrong(key, text, "no subnet; write it like 10.1.0.0/24 or fd00::/64") from None
    if not text.partition("/")[2].isdigit():
        raise wrong(key, text, "without its prefix length; write it like 10.1.0.0/24")
    if ip_address(text.partition("/")[0]) != found.network_address:
        raise CniError(
            INVALID_CONFIG,
            f"{key}: {shown(text)} has host bits set. For a subnet mask of length {found.prefixlen}"
            f" the network address is {found.network_address}",
        )
    return found


def range_sets(ipam: dict[str, Any], runtime: dict[str, Any]) -> list[list[Keyed]]:
    """The range sets in host-local's order: the capability's, the old form as a set of one range, `ipam.ranges`."""
    sets = _sets("runtimeConfig.ipRanges", runtime.get("ipRanges", ()))
    # Without a subnet the other keys of the old form say nothing, as with host-local.
    if "subnet" in ipam:
        sets.append([("ipam", _range("ipam", ipam))])
    sets += _sets("ipam.ranges", ipam.get("ranges", ()))
    if not sets:
        raise CniError(
            INVALID_CONFIG, "ipam.ranges: no range to allocate from; set ipam.ranges or ipam.subnet"
        )
    return sets


def _sets(key: str, sets: Sequence[Any]) -> list[list[Keyed]]:
    return [
        [
            (f"{key}[{number}][{index}]", _range(f"{key}[{number}][{index}]", conf))
            for index, conf in enumerate(one)
        ]
        for number, one in enumerate(sets)
    ]


def _range(key: str, conf: dict[str, Any]) -> Range:
    found = subnet(f"{key}.subnet", conf["subnet"])
    if found.prefixlen > found.max_prefixlen - 2:
        raise wrong(
            f"{key}.subnet", conf["subnet"], "too small to allocate from; use a /30 (IPv6: /126) or larger"
        )
    if found.prefixlen == 0 or found.is_multicast or found.is_loopback or _is_link_local(found):
        raise wrong(f"{key}.subnet", conf["subnet"], "no subnet that pods can have; choose a private one")
    gateway = _member(key, "gateway", conf, found) or found.network_address + 1
    if gateway == found.network_address or (found.version == 4 and gateway == found.broadcast_address):
        raise wrong(
            f"{key}.gateway", str(gateway), f"the network or broadcast address of {found}; choose another"
        )
    # The network's own address and the broadcast address are given to nobody, also where the range has them.
    # IPv6 has no broadcast address.
    least = found.network_address + 1
    most = found.broadcast_address - (1 if found.version == 4 else 0)
    first = max(_inside(key, "rangeStart", conf, found) or least, least, key=int)
    last = min(_inside(key, "rangeEnd", conf, found) or most, most, key=int)
    if int(first) > int(last):
        raise wrong(f"{key}.rangeStart", str(first), f"behind rangeEnd {last}; exchange them")
    if first == last == gateway:
        raise wrong(f"{key}.rangeStart", str(first), "the gateway and all of the range; widen it")
    start = int(found.network_address)
    return Range(found.version, start, found.prefixlen, int(first), int(last), int(gateway))


def _is_link_local(found: Subnet) -> bool:
    # IPv4's are as good as private ones; in IPv6 every link has the same, and the bridge is in it.
    return found.version == 6 and found.is_link_local


def _member(key: str, name: str, conf: dict[str, Any], of: Subnet) -> Ip | None:
    if name not in conf:
        return None
    found = address(f"{key}.{name}", conf[name])
    if found.version != of.version:
        raise wrong(f"{key}.{name}", conf[name], f"of another family than subnet {of}")
    return found


def _inside(key: str, name: str, conf: dict[str, Any], of: Subnet) -> Ip | None:
    found = _member(key, name, conf, of)
    if found is not None and found not in of:
        raise wrong(
            f"{key}.{name}", conf[name], f"not in network {of}; choose one inside it or change the subnet"
        )
    return found


def check_sets(sets: Sequence[Sequence[Keyed]], version: str) -> None:
    """CniError 7 for two families in one set, for overlaps, and for more sets than `version` can tell of."""
    for ranges in sets:
        if len({one.family for _, one in ranges}) > 1:
            raise CniError(
                INVALID_CONFIG,
                f"{ranges[0][0].rpartition('[')[0]}: IPv4 and IPv6 in one set; give each family a set of its own",
            )
    for (key, one), (other_key, other) in combinations(flat(sets), 2):
        if one.family == other.family and one.first <= other.last and other.first <= one.last:
            raise CniError(
                INVALID_CONFIG,
                f"{key} ({one}) overlaps {other_key} ({other}); take the shared part out of one",
            )
    families = [ranges[0][1].family for ranges in sets]
    if version in LEGACY and len(families) != len(set(families)):
        raise CniError(
            INVALID_CONFIG,
            f'cniVersion: "{version}" knows one address of a family; use 0.3.0 or newer for more sets',
        )


def check_gateways(sets: Sequence[Sequence[Keyed]]) -> None:
    """CniError 7 for gateways that a bridge can't have: outside of their subnet, or two for one."""
    for (key, one), (other_key, other) in combinations(flat(sets), 2):
        same = (one.family, one.subnet, one.prefixlen) == (other.family, other.subnet, other.prefixlen)
        if same and one.gateway != other.gateway:
            raise CniError(
                INVALID_CONFIG,
                f"{other_key}.gateway: {_text(other)} is another gateway for the subnet"
                f" {one.subnet_text()} than that of {key}; give both the same",
            )
    for key, one in flat(sets):
        if (
            not one.subnet
            <= one.gateway
            < one.subnet + (1 << (32 if one.family == 4 else 128) - one.prefixlen)
        ):
            raise wrong(
                f"{key}.gateway",
                _text(one),
                f"outside {one.subnet_text()}, so the bridge can't have it; choose one inside",
            )


def flat(sets: Sequence[Sequence[Keyed]]) -> list[Keyed]:
    """All ranges of all sets."""
    return [one for ranges in sets for one in ranges]


def _text(one: Range) -> str:
    return str(IPv4Address(one.gateway) if one.family == 4 else IPv6Address(one.gateway))
