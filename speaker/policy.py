"""What the daemon takes from its peers and tells them, as rules. Pure.

Peers that are treated alike share rules, and those that nothing is said of need none that name them: then one peer
more or less changes no policy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from speaker.bgp import Policies, Rule, Source
from speaker.prefixes import common, exactly, hosts_in, is_host
from speaker.settings import PeerPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speaker.bgp import DynamicPeers, Peer, PrefixMatch
    from speaker.settings import Announcement, Config

_WORLDS = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
DEFAULT_ROUTES = frozenset(exactly(world) for world in _WORLDS)
HOSTS = frozenset(hosts_in(world) for world in _WORLDS)
# RFC 1997: what peers mark so is for this node, or for its AS, alone. gobgpd passes it on, left to itself.
NO_ADVERTISE = frozenset({0xFFFFFF02})
NO_EXPORT = NO_ADVERTISE | {0xFFFFFF01, 0xFFFFFF03}
# RFC 8326: what carries it is about to go, and only taken where there is nothing else.
GRACEFUL_SHUTDOWN = 0xFFFF0000
USUAL_PREFERENCE = 100
LEAST_PREFERENCE = 1  # that a policy of gobgpd can set
LAST_MED = (1 << 32) - 1
_NONE = PeerPolicy()


def policies(config: Config) -> Policies:
    """The import and export rules of a configuration."""
    imports, exports = tuple(_imports(config)), tuple(_exports(config))
    named = frozenset().union(*(rule.peers or frozenset() for rule in (*imports, *exports)))
    members = tuple(member for member in _members(config) if member[0] in named)
    return Policies(imports, exports, members)


def _members(config: Config) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Who is at the other end of an interface is for the daemon's adapter to say."""
    for peer in config.peers:
        if peer.address is not None:
            yield peer.key, (str(peer.address),)
    for group in config.dynamic:
        yield group.name, tuple(map(str, group.prefixes))


def _neighbours(config: Config) -> Iterator[tuple[str, Peer | DynamicPeers]]:
    for peer in config.peers:
        yield peer.key, peer
    for group in config.dynamic:
        yield group.name, group


# ---- what is taken


def _imports(config: Config) -> Iterator[Rule]:
    """The daemon asks for local paths, too. What of the rest is installed is another question."""
    yield Rule(accept=True, source=Source.LOCAL)
    if not config.accept.default_route:
        yield Rule(accept=False, prefixes=DEFAULT_ROUTES)
    alike: dict[PeerPolicy, set[str]] = {}
    for key, _ in _neighbours(config):
        alike.setdefault(config.policies.get(key, _NONE), set()).add(key)
    for policy, keys in alike.items():
        yield from _taken(policy, frozenset(keys))
    yield Rule(accept=True)


def _taken(policy: PeerPolicy, peers: frozenset[str]) -> Iterator[Rule]:
    only = policy.import_only
    if policy.import_reject:
        yield Rule(accept=False, peers=peers, prefixes=policy.import_reject)
    if only is not None or policy.import_local_pref is not None:
        yield Rule(accept=True, peers=peers, prefixes=only, local_pref=policy.import_local_pref)
    if only is not None:
        yield Rule(accept=False, peers=peers)


# ---- what is told


@dataclass(frozen=True, slots=True)
class _Audience:
    """All that makes a difference to what a peer is told. `hidden` are announcements that it must not hear of."""

    policy: PeerPolicy
    external: bool
    hidden: frozenset[str]


def _exports(config: Config) -> Iterator[Rule]:
    """Whoever hears something else than a plain eBGP peer is named, and comes first."""
    plain = tuple(_told(config, _Audience(_NONE, True, _hidden_from(config, ""))))
    audiences: dict[_Audience, set[str]] = {}
    for key, neighbour in _neighbours(config):
        audiences.setdefault(_audience(config, key, neighbour), set()).add(key)
    alike: dict[tuple[Rule, ...], set[str]] = {}
    for audience, keys in audiences.items():
        rules = tuple(_told(config, audience))
        if rules != plain:
            alike.setdefault(rules, set()).update(keys)
    for rules, keys in alike.items():
        peers = frozenset(keys)
        yield from (replace(rule, peers=peers) for rule in rules)
        yield Rule(accept=False, peers=peers)
    yield from plain


def _audience(config: Config, key: str, neighbour: Peer | DynamicPeers) -> _Audience:
    options = neighbour.options
    external = options.asn != (options.local_asn or config.bgp.asn)
    return _Audience(config.policies.get(key, _NONE), external, _hidden_from(config, key))


def _hidden_from(config: Config, key: str) -> frozenset[str]:
    return frozenset(
        one.name for one in _announcements(config) if one.peers is not None and key not in one.peers
    )


def _announcements(config: Config) -> tuple[Announcement, ...]:
    pools = (pool.announcement for pool in config.anycast.pools)
    return (config.announce.subnets, *config.announce.others, *pools, config.announce.hosts)


def _told(config: Config, audience: _Audience) -> Iterator[Rule]:
    policy = audience.policy
    if policy.export_reject:
        yield Rule(accept=False, prefixes=policy.export_reject)
    for way in _ways(config, audience.external):
        if way.name in audience.hidden:
            yield Rule(accept=False, prefixes=way.prefixes, source=Source.LOCAL)
            continue
        only = policy.export_only
        told = way.prefixes if only is None else common(way.prefixes, only)
        if told:
            yield from _accepted(audience, replace(way, prefixes=told), config.anycast.drain_prepend)
    only, announced = policy.export_only, _announced(config)
    announced = announced if only is None else common(announced, only)
    if announced:
        yield _accepting(audience, Source.LOCAL, announced)
    sources = _passed_on(config, audience)
    if sources:
        for source in (Source.INTERNAL, Source.EXTERNAL):
            yield Rule(accept=False, source=source, carries=NO_EXPORT if audience.external else NO_ADVERTISE)
    for source in sources:
        yield _accepting(audience, source, only)


def _announced(config: Config) -> frozenset[PrefixMatch]:
    """What this node tells besides single addresses. Local paths that others add are told to nobody."""
    announcements = (config.announce.subnets, *config.announce.others)
    return frozenset(exactly(prefix) for one in announcements for prefix in one.prefixes)


@dataclass(frozen=True, slots=True)
class _Way:
    """How an announcement is told that needs rules of its own, in place of the one that tells all the rest.

    `local_pref` is what iBGP peers are told, for the path's own may say nothing of it (speaker.anycast.paths). None:
    that one.
    """

    name: str
    prefixes: frozenset[PrefixMatch]
    prepend: int
    local_pref: int | None = None


def _ways(config: Config, external: bool) -> Iterator[_Way]:
    """The first that fits counts. Single addresses come last: one that is announced by name is one as well.

    Those with a name need no rule unless some prefixes have a longer path, or they are single addresses themselves;
    pools need none where they are told as addresses outside of them.
    """
    hosts = config.announce.hosts
    prepends = external and any(one.prepend for one in _announcements(config))
    for one in (config.announce.subnets, *config.announce.others):
        needed = one.prefixes if prepends or one.peers is not None else tuple(filter(is_host, one.prefixes))
        if needed:
            yield _Way(one.name, frozenset(map(exactly, needed)), one.prepend)
    last = _Way(hosts.name, HOSTS, hosts.prepend, _preference(hosts))
    for pool in config.anycast.pools:
        one = pool.announcement
        way = _Way(one.name, frozenset(map(hosts_in, one.prefixes)), one.prepend, _preference(one))
        if one.peers is not None or replace(way, name=last.name, prefixes=last.prefixes) != last:
            yield way
    yield last


def _preference(announcement: Announcement) -> int:
    """What iBGP peers are told. RFC 4277, 11: without a word it is 100."""
    preference = announcement.attributes.local_pref
    return USUAL_PREFERENCE if preference is None else preference


def _accepted(audience: _Audience, way: _Way, longer: int) -> Iterator[Rule]:
    """What is about to go is told as worse than all others, whatever is said of it or of the peer.

    The rules are the same for iBGP peers and others: what is prepended is the AS that BGP put in front, and for
    iBGP peers it puts none; and no others are told a local preference.
    """
    rule = _accepting(audience, Source.LOCAL, way.prefixes, way.prepend)
    if way.local_pref is None:
        yield rule
        return
    yield replace(
        rule,
        carries=frozenset({GRACEFUL_SHUTDOWN}),
        local_pref=LEAST_PREFERENCE,
        med=LAST_MED,
        prepend=rule.prepend + longer,
    )
    yield rule if rule.local_pref else replace(rule, local_pref=way.local_pref)


def _passed_on(config: Config, audience: _Audience) -> tuple[Source, ...]:
    """Paths of peers are told others in transit only, or from one iBGP peer to another by a reflector."""
    if config.announce.transit:
        return (Source.INTERNAL, Source.EXTERNAL)
    reflects = any(neighbour.options.reflector_client for _, neighbour in _neighbours(config))
    return (Source.INTERNAL,) if reflects and not audience.external else ()


def _accepting(
    audience: _Audience, source: Source, prefixes: frozenset[PrefixMatch] | None, prepend: int = 0
) -> Rule:
    """Local preference means nothing to an eBGP peer, and the own AS in the path means a loop to an iBGP one."""
    policy, external = audience.policy, audience.external
    return Rule(
        accept=True,
        prefixes=prefixes,
        source=source,
        communities=policy.export_communities,
        large_communities=policy.export_large_communities,
        local_pref=None if external else policy.export_local_pref,
        med=policy.export_med,
        prepend=prepend + policy.export_prepend if external else 0,
    )
