"""Questions about prefixes that the configuration and the learned routes are both asked."""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.gobgp.session import Prefix

_IPV4_IN_IPV6 = IPv6Network("::ffff:0:0/96")


def inside(prefix: Prefix, nets: Iterable[Prefix]) -> bool:
    """Whether the prefix is one of the nets, or a part of one."""
    size, first, version = prefix.prefixlen, int(prefix.network_address), prefix.version
    return any(
        net.version == version
        and net.prefixlen <= size
        and first >> (net.max_prefixlen - net.prefixlen)
        == int(net.network_address) >> (net.max_prefixlen - net.prefixlen)
        for net in nets
    )


def never_routed(prefix: Prefix) -> bool:
    """Whether it has no place in a routing table: multicast, loopback, link-local, IPv4 written as IPv6."""
    special = prefix.is_multicast or prefix.is_loopback or prefix.is_link_local
    return special or inside(prefix, (_IPV4_IN_IPV6,))
