"""What the daemon takes from its peers and tells them, as rules. Pure.

Peers that are treated alike share rules, and those that nothing is said of need none that name them: then one peer
more or less changes no policy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from speaker.bgp import Policies, Rule, Source
from speaker.prefixes import common, exactly, hosts_in
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
    """Single addresses come last: a prefix that is announced by name may be one as well."""
    return (config.announce.subnets, *config.announce.others, config.announce.hosts)


def _told(config: Config, audience: _Audience) -> Iterator[Rule]:
    policy = audience.policy
    if policy.export_reject:
        yield Rule(accept=False, prefixes=policy.export_reject)
    yield from _told_differently(config, audience)
    sources = _sources(config, audience)
    if sources != (Source.LOCAL,):
        for source in (Source.INTERNAL, Source.EXTERNAL):
            yield Rule(accept=False, source=source, carries=NO_EXPORT if audience.external else NO_ADVERTISE)
    for source in sources:
        yield _accepted(audience, source, policy.export_only, 0)


def _told_differently(config: Config, audience: _Audience) -> Iterator[Rule]:
    """Announcements that are hidden from these peers, or have a longer path for them."""
    announcements = _announcements(config)
    prepends = audience.external and any(one.prepend for one in announcements)
    for one in announcements:
        prefixes = HOSTS if one is config.announce.hosts else frozenset(map(exactly, one.prefixes))
        if one.name in audience.hidden:
            yield Rule(accept=False, prefixes=prefixes, source=Source.LOCAL)
        elif prepends:
            only = audience.policy.export_only
            told = prefixes if only is None else common(prefixes, only)
            if told:
                yield _accepted(audience, Source.LOCAL, told, one.prepend)


def _sources(config: Config, audience: _Audience) -> tuple[Source, ...]:
    """Paths of this node; of others only in transit, or from one iBGP peer to another by a reflector."""
    if config.announce.transit:
        return (Source.ANY,)
    reflects = any(neighbour.options.reflector_client for _, neighbour in _neighbours(config))
    return (Source.LOCAL, Source.INTERNAL) if reflects and not audience.external else (Source.LOCAL,)


def _accepted(
    audience: _Audience, source: Source, prefixes: frozenset[PrefixMatch] | None, prepend: int
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
