"""The pools of virtual IPs as a netconf writes them: parsed, and compared with each other and with what pods have."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import combinations
from typing import TYPE_CHECKING, Any

from cni.errors import INVALID_CONFIG, CniError
from cni.healthcheck import parse_check
from cni.jsonio import dump
from cni.network import to_bytes
from cni.pools import Anycast, Pool
from cni.ranges import address, flat, subnet
from cni.schema import wrong

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni.ranges import Keyed, Subnet

# What no host is reached by from afar: unspecified and loopback, link-local, multicast and broadcast, mapped.
UNUSABLE = [
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/127",
        "::ffff:0:0/96",
        "fe80::/10",
        "ff00::/8",
    )
]


def anycast(conf: dict[str, Any], sets: Sequence[Sequence[Keyed]]) -> Anycast:
    """The netconf's `anycast`, beside these ranges of the network. CniError 7 names key, value and fix."""
    blocks: list[tuple[str, Subnet]] = []
    pools: list[Pool] = []
    for number, one in enumerate(conf["pools"]):
        key = f"anycast.pools[{number}]"
        if any(one["name"] == pool.name for pool in pools):
            raise wrong(f"{key}.name", one["name"], "the name of two pools; choose another")
        own = [
            (f"{key}.addresses[{index}]", _block(f"{key}.addresses[{index}]", text))
            for index, text in enumerate(one["addresses"])
        ]
        blocks += own
        pools.append(Pool(one["name"], [str(block) for _, block in own], one.get("namespaces", ())))
    _check_apart(blocks)
    _check_ranges(blocks, sets)
    found = Anycast(pools)
    found.vips = _vips(conf.get("vips", ()), found)
    found.check = _check(conf.get("check", ""))
    found.weight = int(conf.get("weight", 1))
    return found


def _block(key: str, text: str) -> Subnet:
    found = subnet(key, text)
    if any(found.version == one.version and found.overlaps(one) for one in UNUSABLE):
        raise wrong(key, text, "no network whose addresses are reached by routes; choose another")
    return found


def _check_apart(blocks: Sequence[tuple[str, Subnet]]) -> None:
    for (key, one), (other_key, other) in combinations(blocks, 2):
        if one.version == other.version and one.overlaps(other):
            raise CniError(
                INVALID_CONFIG,
                f"{other_key}: {other} overlaps {one} of {key}; take the shared part out of one",
            )


def _check_ranges(blocks: Sequence[tuple[str, Subnet]], sets: Sequence[Sequence[Keyed]]) -> None:
    """All of a range's subnet counts: its pods look for such an address on the bridge, where nobody answers."""
    for range_key, one in flat(sets):
        taken = ip_network(one.subnet_text())
        gateway = ip_address(to_bytes(one.gateway, one.family))
        for key, block in blocks:
            if block.version == one.family and (block.overlaps(taken) or gateway in block):
                raise CniError(
                    INVALID_CONFIG,
                    f"{key}: {block} overlaps {range_key} (subnet {taken}, gateway {gateway}), whose addresses are"
                    " for pods and the bridge; choose a network that neither has",
                )


def _vips(texts: Sequence[str], pools: Anycast) -> list[bytes]:
    found: list[bytes] = []
    for index, text in enumerate(texts):
        key = f"anycast.vips[{index}]"
        ip = address(key, text).packed
        if pools.pool_of(ip) is None:
            raise wrong(
                key, text, "in none of anycast.pools; choose an address of a pool, or add it to a pool"
            )
        if ip not in found:
            found.append(ip)
    return found


def _check(text: str) -> str:
    if not text:
        return ""
    try:
        return dump(parse_check(text, allow_exec=True).compiled())
    except ValueError as error:
        raise wrong("anycast.check", text, str(error)) from None
