"""The node's part of a network, made once: bridge, gateway addresses, forwarding, masquerade.

Every step finds out first whether it is done, so that calls which race for the first
pod, and a call that was killed half-way, lead to the same node.
"""

from __future__ import annotations

from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from cni import nft, sysctl
from cni.attach import local_mac
from cni.errors import ADDRESS_CONFLICT, INVALID_CONFIG, KERNEL_REFUSED, CniError
from cni.link import address_add
from cni.netlink import NetlinkSocket
from cni.network import Network, Range, ip_text, to_bytes

EEXIST = 17


def prepare(network: Network) -> None:
    """Makes what is missing. The caller holds the node's lock."""
    if network.masquerade:
        nft.check_command()
    with IPRoute() as ip:
        try:
            index = _bridge(ip, network)
            if network.is_gateway:
                _gateways(ip, network, index)
        except NetlinkError as error:
            raise CniError(KERNEL_REFUSED, f"the kernel refused bridge {network.bridge}: {error}") from None
    if network.is_gateway:
        sysctl.ensure_forwarding({one.family for one in network.ranges()})
    if network.masquerade:
        nft.install(network.ranges())


def _find(ip: IPRoute, name: str) -> Any:
    found = [one for one in ip.link("dump") if one.get_attr("IFLA_IFNAME") == name]
    return found[0] if found else None


def _bridge(ip: IPRoute, network: Network) -> int:
    name = network.bridge
    if _find(ip, name) is None:
        size = {"mtu": network.mtu} if network.mtu else {}
        # One of its own: a bridge without takes its lowest port's.
        try:
            ip.link("add", ifname=name, kind="bridge", address=local_mac().hex(":"), **size)
        except NetlinkError as error:
            if error.code != EEXIST:
                raise
    link = _find(ip, name)
    if link is None:
        raise CniError(
            KERNEL_REFUSED, f"bridge {name} vanished while it was set up; something else removes it"
        )
    if link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") != "bridge":
        raise CniError(
            INVALID_CONFIG, f"bridge: {name!r} exists and is no bridge; choose another name or remove it"
        )
    index = int(link["index"])
    # Set to what it is, the address stays: otherwise a bridge that somebody made takes its lowest
    # port's, another one with each pod, and neighbours keep the old one for half a minute.
    ip.link("set", index=index, address=link.get_attr("IFLA_ADDRESS"), state="up")
    if any(one.family == 6 for one in network.ranges()):
        sysctl.attempt(f"ipv6/conf/{name}/accept_ra", "0")
        sysctl.attempt(f"ipv6/conf/{name}/accept_dad", "0")
    return index


def _networks(ip: IPRoute, index: int) -> list[tuple[bytes, int]]:
    """The bridge's addresses but for link-local ones, as (packed, prefix length)."""
    import socket

    found = []
    for one in ip.get_addr(index=index):
        text = one.get_attr("IFA_LOCAL") or one.get_attr("IFA_ADDRESS")
        packed = socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
        if packed[:2] != b"\xfe\x80":
            found.append((packed, int(one["prefixlen"])))
    return found


def _overlap(one: Range, ip: bytes, prefixlen: int) -> bool:
    bits = 8 * len(ip)
    shift = bits - min(one.prefixlen, prefixlen)
    return int.from_bytes(ip, "big") >> shift == one.subnet >> shift


def _gateways(ip: IPRoute, network: Network, index: int) -> None:
    present = _networks(ip, index)
    for one in network.ranges():
        gateway = to_bytes(one.gateway, one.family)
        if (gateway, one.prefixlen) in present:
            continue
        for packed, prefixlen in present:
            if len(packed) == len(gateway) and _overlap(one, packed, prefixlen):
                raise CniError(
                    ADDRESS_CONFLICT,
                    f"bridge {network.bridge} already has an IP address different from "
                    f"{ip_text(gateway)}/{one.prefixlen}: {ip_text(packed)}/{prefixlen}; "
                    "remove that address, or set the range's gateway to it",
                )
        if one.family == 6:
            sysctl.ensure(f"ipv6/conf/{network.bridge}/disable_ipv6", "0")
        _add_gateway(index, gateway, one.prefixlen)
        present.append((gateway, one.prefixlen))


def _add_gateway(index: int, gateway: bytes, prefixlen: int) -> None:
    """By our own codec, which asks for no duplicate address detection: the first pod needs its gateway now."""
    socket = NetlinkSocket()
    try:
        socket.request([address_add(index, gateway, prefixlen)])
    except OSError as error:
        if error.errno != EEXIST:
            what = f"gateway {ip_text(gateway)}/{prefixlen}"
            raise CniError(KERNEL_REFUSED, f"the kernel refused {what}: {error.strerror}") from None
    finally:
        socket.close()
