"""Checks on everything before it is sent: gobgpd takes nonsense, and does something else with it.

All raise DaemonRefusedError, in the words of who declines.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from speaker.gobgp.session import DaemonRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.bgp import (
        Attributes,
        BgpGlobal,
        DynamicPeers,
        LocalPath,
        Peer,
        Policies,
        Rule,
        SessionOptions,
    )

_U16, _U32 = (1 << 16) - 1, (1 << 32) - 1
# tcp(7), TCP_MD5SIG: longer ones are cut off or refused by the kernel, and gobgpd goes on without.
PASSWORD = 80
# RFC 4724, 3: twelve bits.
RESTART_TIME = (1 << 12) - 1
# As many of a number as fit one segment of an AS path; GoBGP keeps eight bits of it.
PREPEND = 255
# linux/if.h: IFNAMSIZ with its final zero.
INTERFACE = 15


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise DaemonRefusedError(what)


def _within(name: str, value: int, low: int, high: int) -> None:
    _require(low <= value <= high, f"{name} {value} is not between {low} and {high}")


def check_global(wanted: BgpGlobal) -> None:
    """Who the daemon is to be."""
    _within("AS", wanted.asn, 1, _U32)
    _require(_is_identifier(wanted.router_id), f"router id {wanted.router_id!r} is no IPv4 address")
    _require(
        wanted.listen_port == -1 or 1 <= wanted.listen_port <= _U16,
        f"listen port {wanted.listen_port} is not between 1 and {_U16}, nor -1",
    )
    for address in wanted.listen_addresses:
        _require(_is_address(address), f"listen address {address!r} is none")


def _is_identifier(text: str) -> bool:
    try:
        return int(IPv4Address(text)) != 0
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


# ---- peers


def check_peer(peer: Peer, daemon: BgpGlobal) -> None:
    """A peer at an address or at the other end of an interface."""
    _require((peer.address is None) != (not peer.interface), "a peer has either an address or an interface")
    name = peer.interface
    fits = len(name.encode()) <= INTERFACE and not any(letter in name for letter in "/%: \t\n")
    _require(fits, f"{name!r} is no name of an interface")
    _within("port", peer.port, 1, _U16)
    _check_options(peer.options, daemon)
    address, local = peer.address, peer.options.local_address
    if address is None:
        _require(local is None, f"{name}: an interface peer has no local address to choose")
    else:
        usable = not (address.is_unspecified or address.is_multicast)
        _require(usable, f"{address} is no address of a neighbour")
        _require(local is None or local.version == address.version, f"{local} can't reach {address}")
    # TCP_MD5SIG is set for an address without a zone, which is none for the kernel.
    near = address is None or (isinstance(address, IPv6Address) and bool(address.scope_id))
    _require(
        not (near and peer.options.password),
        f"{peer.key}: gobgpd can't use a password on a link-local address",
    )


def check_dynamic_peers(group: DynamicPeers, daemon: BgpGlobal) -> None:
    """A group of neighbours that come by themselves."""
    _require(bool(group.name), "a group of dynamic peers needs a name")
    _require(bool(group.prefixes), f"{group.name}: no prefixes; nobody could come")
    _require(
        not group.options.password,
        f"{group.name}: gobgpd can't check the password of a neighbour that it does not know before",
    )
    local = group.options.local_address
    fits = local is None or all(prefix.version == local.version for prefix in group.prefixes)
    _require(fits, f"{group.name}: {local} can't be reached from all of the prefixes")
    _check_options(group.options, daemon)


def _check_options(options: SessionOptions, daemon: BgpGlobal) -> None:
    _within("AS", options.asn, 1, _U32)
    _within("local AS", options.local_asn, 0, _U32)
    _require(bool(options.families), "a peer without a family would be told nothing")
    password = options.password.encode()
    _require(
        len(password) <= PASSWORD and 0 not in password,
        f"a password has at most {PASSWORD} bytes, none of them 0",
    )
    _within("multihop TTL", options.multihop_ttl, 0, 255)
    _within("TTL security", options.ttl_security, 0, 255)
    _require(
        not (options.multihop_ttl and options.ttl_security), "multihop and TTL security exclude each other"
    )
    _within("connect retry", options.connect_retry, 1, _U16)
    _within("hold time", options.hold, 3, _U16)
    _within("keepalive", options.keepalive, 1, options.hold)
    _within("restart time", options.restart_time, 0, RESTART_TIME)
    _check_reflection(options, daemon)
    for limit in options.prefix_limits:
        _require(
            limit.family in options.families, f"a limit for IPv{limit.family}, which the peer is not told of"
        )
        _within("prefix limit", limit.maximum, 1, _U32)
        _within("prefix warning", limit.warning_percent, 1, 100)


def _check_reflection(options: SessionOptions, daemon: BgpGlobal) -> None:
    internal = options.asn == (options.local_asn or daemon.asn)
    _require(internal or not options.reflector_client, "a reflector client is an iBGP peer")
    _require(options.reflector_client or not options.cluster_id, "a cluster id is for reflector clients")
    known = not options.cluster_id or _is_identifier(options.cluster_id)
    _require(known, f"cluster id {options.cluster_id!r} is not written like an IPv4 address")


# ---- paths and policies


def check_paths(paths: Iterable[LocalPath]) -> None:
    """One path that the daemon declines would take those after it along."""
    # Thousands are alike but for their prefix: one of them is looked at.
    alike = {(path.next_hop, path.attributes, path.prefix.version): path.prefix for path in paths}
    for (hop, attributes, version), prefix in alike.items():
        # RFC 8950: an IPv4 prefix may have an IPv6 next hop, not the other way round.
        fits = hop.version >= version
        usable = not (hop.is_multicast or hop.is_loopback) and hop != IPv4Address(_U32)
        _require(fits and usable, f"{prefix}: {hop} is no next hop for it")
        _check_attributes(attributes)


def _check_attributes(carried: Attributes | Rule) -> None:
    for community in carried.communities:
        _within("community", community, 0, _U32)
    for large in carried.large_communities:
        for part in large:
            _within("large community", part, 0, _U32)
    _within("local preference", carried.local_pref or 0, 0, _U32)
    _within("MED", carried.med or 0, 0, _U32)


def check_policies(wanted: Policies) -> None:
    """Rules; what a rule would not do must not be asked of it."""
    for rule in (*wanted.imports, *wanted.exports):
        _check_attributes(rule)
        # GoBGP takes a local preference of 0 in a policy for none.
        _require(rule.local_pref != 0, "a policy can't set the local preference 0; 1 is the least")
        _within("prepend", rule.prepend, 0, PREPEND)
        for match in rule.prefixes or ():
            _within(f"{match.prefix}: length", match.shortest, 0, match.prefix.max_prefixlen)
            _within(f"{match.prefix}: length", match.longest, 0, match.prefix.max_prefixlen)
