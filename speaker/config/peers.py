"""[[peer]] and [[dynamic-peer]] of a configuration as typed values."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from speaker.bgp import DynamicPeers, Family, Peer, PrefixLimit, SessionOptions
from speaker.config.file import read_password
from speaker.config.lists import communities, prefix_list
from speaker.settings import PeerPolicy

if TYPE_CHECKING:
    from speaker.bgp import Address, BgpGlobal
    from speaker.config.checks import Checks


def peer(key: str, item: dict[str, Any], bgp: BgpGlobal, checks: Checks) -> Peer:
    """A [[peer]] table of the node that `bgp` describes."""
    address = None
    if item["address"] and item["interface"]:
        checks.add(f"{key}.interface", item["interface"], "is there beside address; remove one of the two")
    elif item["address"]:
        address = _neighbour_address(f"{key}.address", item["address"], checks)
    elif item["interface"]:
        _check_interface(key, item, checks)
    else:
        checks.missing(f"{key}.address", 'address = "10.0.0.1", or interface = "eth0"')
    where = "an address in place of interface" if item["interface"] else ""
    password = _password(f"{key}.password-file", item["password-file"], where, checks)
    options = _options(key, item, bgp, Family(address.version) if address else None, checks)
    options = replace(options, password=password, passive=item["passive"])
    if address and address == options.local_address:
        fix = "is the neighbour's address; write one of this node"
        checks.add(f"{key}.local-address", item["local-address"], fix)
    return Peer(address, options, item["interface"], item["port"], _description(key, item, checks))


def dynamic(key: str, item: dict[str, Any], bgp: BgpGlobal, checks: Checks) -> DynamicPeers:
    """A [[dynamic-peer]] table. `passive` is left off: such neighbours are never dialled."""
    prefixes = checks.prefixes(f"{key}.prefixes", item["prefixes"])
    _password(f"{key}.password-file", item["password-file"], "[[peer]] tables with an address each", checks)
    family = Family(prefixes[0].version) if prefixes else None
    return DynamicPeers(
        name=checks.name(f"{key}.name", item["name"]),
        prefixes=tuple(sorted(prefixes, key=lambda one: (one.version, one))),
        options=_options(key, item, bgp, family, checks),
        description=_description(key, item, checks),
    )


def policy(key: str, item: dict[str, Any], asn: int | None, checks: Checks) -> PeerPolicy:
    """What the tables import and export below a peer say. `asn` is the node's; None: sessions of both kinds."""
    lists = [
        frozenset(prefix_list(checks, f"{key}.{side}.{name}", item[side][name]))
        for side in ("import", "export")
        for name in ("only", "reject")
    ]
    told = item["export"]
    if asn is not None:
        _check_heard(f"{key}.export", told, item["asn"] != (item["local-asn"] or asn), checks)
    small, large = communities(checks, f"{key}.export.communities", told["communities"])
    return PeerPolicy(
        import_only=lists[0] or None,
        import_reject=lists[1],
        import_local_pref=item["import"].get("local-preference"),
        export_only=lists[2] or None,
        export_reject=lists[3],
        export_communities=small,
        export_large_communities=large,
        export_local_pref=told.get("local-preference"),
        export_med=told.get("med"),
        export_prepend=told["prepend"],
    )


def _check_heard(key: str, told: dict[str, Any], external: bool, checks: Checks) -> None:
    """An attribute that the session's kind does not carry."""
    for name, value, heard, fix in (
        ("prepend", told["prepend"] or None, external, "is for eBGP only; remove it"),
        ("local-preference", told.get("local-preference"), not external, "is for iBGP only; remove it"),
    ):
        if value is not None and not heard:
            checks.add(f"{key}.{name}", value, fix)


def _neighbour_address(key: str, value: str, checks: Checks) -> Address | None:
    """None after a problem, a link-local address for one, which only a link makes sense of."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        address = None
    if isinstance(address, ipaddress.IPv6Address) and address.is_link_local:
        fix = (
            f'is link-local; write interface = "{address.scope_id or "eth0"}", its link, in place of address'
        )
        checks.add(key, value, fix)
        return None
    before = len(checks.problems)
    address = checks.neighbour(key, value)
    return address if len(checks.problems) == before else None


def _check_interface(key: str, item: dict[str, Any], checks: Checks) -> None:
    """What a neighbour on a link cannot have besides."""
    checks.interface(f"{key}.interface", item["interface"])
    for name, why in (
        ("local-address", "is the link's own with interface"),
        ("multihop-ttl", "is for neighbours behind a router, not on an interface"),
    ):
        if item[name]:
            checks.add(f"{key}.{name}", item[name], f"{why}; remove it")


def _description(key: str, item: dict[str, Any], checks: Checks) -> str:
    text: str = item["description"]
    if not text.isprintable():
        checks.add(f"{key}.description", text, "has control characters; write one line of plain text")
    return text


def _options(
    key: str, item: dict[str, Any], bgp: BgpGlobal, family: Family | None, checks: Checks
) -> SessionOptions:
    """What all neighbours can have; `family` is that of their addresses, None on an interface."""
    names = [Family[name.upper()] for name in item["families"]]
    families = frozenset(names or ([family] if family else Family))
    local = item["local-address"]
    _check_session(key, item, bgp.asn, checks)
    timers = item["timers"]
    return SessionOptions(
        asn=item["asn"],
        local_asn=item["local-asn"],
        families=families,
        local_address=checks.next_hop(f"{key}.local-address", local, family) if local else None,
        multihop_ttl=item["multihop-ttl"],
        ttl_security=item["ttl-security"],
        connect_retry=timers["connect-retry"],
        hold=timers["hold"],
        keepalive=timers["keepalive"],
        restart_time=item["graceful-restart"]["restart-time"],
        reflector_client=item["reflector-client"],
        cluster_id=_cluster_id(key, item, bgp, checks),
        prefix_limits=_limits(f"{key}.prefix-limit", item["prefix-limit"], families, checks),
    )


def _check_session(key: str, item: dict[str, Any], asn: int, checks: Checks) -> None:
    """What two keys of one session get wrong together."""
    ttl, hops, timers = item["multihop-ttl"], item["ttl-security"], item["timers"]
    own = item["local-asn"] or asn
    if ttl and item["asn"] == own:
        checks.add(f"{key}.multihop-ttl", ttl, "is for eBGP only; remove it, iBGP has no limit")
    elif ttl and hops:
        checks.add(f"{key}.ttl-security", hops, "excludes multihop-ttl; remove one of the two")
    if item["local-asn"] == asn:
        checks.add(f"{key}.local-asn", asn, "is bgp.asn, which counts anyway; remove it")
    if item["reflector-client"] and item["asn"] != own:
        checks.add(f"{key}.reflector-client", True, f"is for iBGP only; remove it, or set asn to {own}")
    if timers["keepalive"] > timers["hold"] // 3:
        fix = f"is more than a third of hold; write at most {timers['hold'] // 3}, or raise hold"
        checks.add(f"{key}.timers.keepalive", timers["keepalive"], fix)


def _cluster_id(key: str, item: dict[str, Any], bgp: BgpGlobal, checks: Checks) -> str:
    """Empty for the router id, which gobgpd takes by itself."""
    value = item["cluster-id"]
    if not value:
        return ""
    if not item["reflector-client"]:
        checks.add(f"{key}.cluster-id", value, "is for reflector clients only; remove it")
        return ""
    wanted = str(checks.router_id(f"{key}.cluster-id", value))
    return "" if wanted == bgp.router_id else wanted


def _limits(
    key: str, item: dict[str, Any], families: frozenset[Family], checks: Checks
) -> tuple[PrefixLimit, ...]:
    limits = []
    for family in Family:
        name = f"ipv{int(family)}"
        if item[name] and family not in families:
            checks.add(
                f"{key}.{name}", item[name], "is for a family not exchanged; remove it, or see families"
            )
        elif item[name]:
            limits.append(PrefixLimit(family, item[name], item["warning-percent"]))
    return tuple(limits)


def _password(key: str, value: str, wanted: str, checks: Checks) -> str:
    """The password in the file of that path; empty without one, or where something else is wanted to use it.

    gobgpd, 3 and 4 alike, gives the kernel TCP-MD5 keys for single global addresses only.
    """
    if value and wanted:
        checks.add(key, value, f"has no effect here: TCP-MD5 needs {wanted}; remove it")
    elif value and checks.path(key, value, "/etc/anypod/rack.password"):
        return checks.file(key, value, read_password) or ""
    return ""
