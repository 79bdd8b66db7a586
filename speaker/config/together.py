"""What only several keys of a configuration together can get wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speaker.bgp import Family
from speaker.config.lists import all_inside, covered, overlaps, show_match
from speaker.config.schema import suggest
from speaker.prefixes import is_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speaker.bgp import Prefix, SessionOptions
    from speaker.config.checks import Checks
    from speaker.settings import Announce, Announcement, Config


def check_together(config: Config, checks: Checks) -> None:
    """Notes the problems of a configuration whose keys are right one by one."""
    _check_names(config, checks)
    _check_groups(config, checks)
    if config.bgp.listen_port == -1:
        fix = "waits for a connection, but bgp.listen-port is -1; remove one of the two"
        for i, peer in enumerate(config.peers):
            if peer.options.passive:
                checks.add(f"peer[{i}].passive", True, fix)
        for i, group in enumerate(config.dynamic):
            checks.add(f"dynamic-peer[{i}].name", group.name, fix)
    for key, options, families in _sessions(config):
        if Family.IPV6 in options.families - families:
            _check_ipv6_over_ipv4(f"{key}.families", config.announce, checks)
    _check_announced(config, checks)
    _check_anycast(config, checks)
    _check_dead(config, checks)


def _sessions(config: Config) -> Iterator[tuple[str, SessionOptions, set[Family]]]:
    """Each neighbour's key, options, and the families for which its session has an address of its own."""
    for i, peer in enumerate(config.peers):
        families = {Family(peer.address.version)} if peer.address else set(Family)
        yield f"peer[{i}]", peer.options, families
    for i, group in enumerate(config.dynamic):
        yield f"dynamic-peer[{i}]", group.options, {Family(prefix.version) for prefix in group.prefixes}


def _check_ipv6_over_ipv4(key: str, announce: Announce, checks: Checks) -> None:
    """An IPv4 address is no next hop for IPv6: gobgpd would send a broken one. The other way is RFC 8950."""
    if announce.transit:
        fix = "cannot be passed on over this session; add a [[peer]] with its IPv6 address for it"
        checks.add(key, "ipv6", fix)
    elif announce.subnets.next_hop(Family.IPV6).is_unspecified:
        fix = "has no next hop on this session; set announce.next-hop-ipv6 or remove the family"
        checks.add(key, "ipv6", fix)


def _check_names(config: Config, checks: Checks) -> None:
    """Each neighbour is there once and is another one, and each name stands for one."""
    keys: dict[str, str] = {}
    own = {config.bgp.router_id: "bgp.router-id"} | dict.fromkeys(
        config.bgp.listen_addresses, "bgp.listen-addresses"
    )
    for i, peer in enumerate(config.peers):
        if peer.key in own:
            fix = f"is this node itself, see {own[peer.key]}; write the neighbour's address"
            checks.add(f"peer[{i}].address", peer.key, fix)
        if peer.key in keys:
            what = "interface" if peer.interface else "address"
            checks.add(f"peer[{i}].{what}", peer.key, "is there twice; keep one of them")
        keys[peer.key] = f"peer[{i}]"
    for i, group in enumerate(config.dynamic):
        if group.name in keys:
            fix = f"is what {keys[group.name]} goes by; write another name"
            checks.add(f"dynamic-peer[{i}].name", group.name, fix)
    checks.once("dynamic-peer[{}].name", [group.name for group in config.dynamic])


def _check_groups(config: Config, checks: Checks) -> None:
    """Each neighbour belongs to one [[peer]] or [[dynamic-peer]]."""
    claimed: list[tuple[Prefix, str]] = []
    for i, group in enumerate(config.dynamic):
        key = f"dynamic-peer[{i}].prefixes"
        for prefix in group.prefixes:
            if prefix.version != group.prefixes[0].version:
                checks.add(key, str(prefix), "is of the other family; give it a [[dynamic-peer]] of its own")
            for other, place in claimed:
                if prefix.version == other.version and prefix.overlaps(other):
                    fix = f"overlaps {other} of {place}; a neighbour must be in one, change one of them"
                    checks.add(key, str(prefix), fix)
            claimed.append((prefix, f"dynamic-peer[{i}]"))
    for i, peer in enumerate(config.peers):
        for prefix, place in claimed:
            if peer.address and peer.address.version == prefix.version and peer.address in prefix:
                fix = f"is in {prefix} of {place} too; remove it here, or narrow those prefixes"
                checks.add(f"peer[{i}].address", str(peer.address), fix)


def _announcements(config: Config) -> Iterator[tuple[str, Announcement]]:
    """Each announcement with prefixes, and its key in the file."""
    yield "announce.subnets", config.announce.subnets
    numbered = 0
    for one in config.announce.others:
        if one.name == "prefixes":
            yield "announce.prefixes", one
        else:
            yield f"announcement[{numbered}].prefixes", one
            numbered += 1
    for i, pool in enumerate(config.anycast.pools):
        yield f"anycast.pool[{i}].prefixes", pool.announcement


def _check_announced(config: Config, checks: Checks) -> None:
    """Each prefix is announced in one way, to peers that exist."""
    seen: dict[Prefix, str] = {}
    names = [*(peer.key for peer in config.peers), *(group.name for group in config.dynamic)]
    for key, one in _announcements(config):
        for i, prefix in enumerate(one.prefixes):
            if prefix in seen:
                fix = f"is in {seen[prefix]} too; keep one of them"
                checks.add(f"{key}[{i}]", str(prefix), fix)
            seen.setdefault(prefix, key)
        for name in sorted((one.peers or frozenset()) - set(names)):
            checks.add(key.replace(".prefixes", ".peers"), name, f"is no peer here; {suggest(name, names)}")
    subnets = config.announce.subnets.prefixes
    for later, earlier in overlaps([all_inside(subnet) for subnet in subnets]):
        if subnets[later] != subnets[earlier]:  # else it has been told above
            fix = f"overlaps {subnets[earlier]} there; keep the wider one"
            checks.add(f"announce.subnets[{later}]", str(subnets[later]), fix)


def _check_anycast(config: Config, checks: Checks) -> None:
    """A virtual IP is in one pool and is nothing else, and its routes are told from learned ones."""
    announced = [
        (key, i, prefix) for key, one in _announcements(config) for i, prefix in enumerate(one.prefixes)
    ]
    pools = [place for place in announced if place[0].startswith("anycast.")]
    taken = [
        place
        for place in announced
        if place not in pools and (place[0] == "announce.subnets" or is_host(place[2]))
    ]
    places = [*taken, *pools]
    for later, earlier in overlaps([all_inside(prefix) for _, _, prefix in places]):
        key, i, prefix = places[later]
        where, _, other = places[earlier]
        if later >= len(taken) and prefix != other:  # equal ones have been told above
            checks.add(f"{key}[{i}]", str(prefix), f"overlaps {other} of {where}; change one of them")
    anycast, kernel = config.anycast, config.kernel
    if anycast.metric > kernel.metric - 2:
        fix = (
            f"is too close to kernel.metric, that of learned routes behind; write {kernel.metric - 2} or less"
        )
        checks.add("anycast.metric", anycast.metric, fix)
    if anycast.protocol == kernel.protocol:
        fix = f"is kernel.protocol, that of learned routes; write another number, like {anycast.protocol + 1}"
        checks.add("anycast.protocol", anycast.protocol, fix)


def _check_dead(config: Config, checks: Checks) -> None:
    """An entry of `only` that `reject` takes away again whole is a mistake in one of them."""
    places = {peer.key: f"peer[{i}]" for i, peer in enumerate(config.peers)}
    places |= {group.name: f"dynamic-peer[{i}]" for i, group in enumerate(config.dynamic)}
    for key, policy in config.policies.items():
        for name, only, reject in (
            ("import", policy.import_only, policy.import_reject),
            ("export", policy.export_only, policy.export_reject),
        ):
            for match in covered(only or frozenset(), reject):
                fix = f"is all in {name}.reject too; remove it from one of them"
                checks.add(f"{places[key]}.{name}.only", show_match(match), fix)
