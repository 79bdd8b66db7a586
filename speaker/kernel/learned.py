"""Which routes the daemon's table calls for: what is accepted, over which next hops. No I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import TYPE_CHECKING

from speaker.desired import KernelRoute, NextHop
from speaker.kernel.resolve import NOWHERE, Offers, Ways, union
from speaker.prefixes import NEVER_ROUTED, Nets, PrefixSet, everything_in, hosts_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from speaker.bgp import Destination, LearnedPath, Prefix
    from speaker.desired import Held, RouteKey
    from speaker.kernel.resolve import NextHops
    from speaker.settings import Config


# Paths whose next hops are kept at hand.
PATHS = 1 << 16


@dataclass(frozen=True, slots=True)
class Verdict:
    """Routes that should be; next hops that can't be reached, with how many prefixes need them; what was too much.

    `off_link`: next hops that other programs' routes have a say in. `changed`: keys of routes that differ from the
    verdict before; None: any may.
    """

    routes: Mapping[RouteKey, KernelRoute] = field(default_factory=dict)
    unresolved: Mapping[NextHop, int] = field(default_factory=dict)
    beyond_maximum: int = 0
    off_link: frozenset[NextHop] = frozenset()
    changed: Collection[RouteKey] | None = None


class Acceptance:
    """Whether a learned prefix may be installed: the [accept] table and virtual IPs, and nothing of our subnets."""

    def __init__(self, config: Config) -> None:
        self._accept = config.accept
        pools = (prefix for pool in config.anycast.pools for prefix in pool.announcement.prefixes)
        self._listed = PrefixSet([*config.accept.prefixes, *map(hosts_in, pools)])
        own = map(everything_in, config.announce.subnets.prefixes)
        self._kept_out = PrefixSet([*NEVER_ROUTED, *own])

    def __contains__(self, prefix: Prefix) -> bool:
        if prefix.prefixlen == 0:
            return self._accept.default_route
        if prefix in self._kept_out:
            return False
        return not self._accept.prefixes or prefix in self._listed


class Learned:
    """Decides for one configuration. It remembers what each destination offers: most of a table stays as it is."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._accepted = Acceptance(config)
        self._peers = frozenset(peer.address for peer in config.peers if peer.address is not None)
        self._fresh = True  # nothing was looked at yet
        self._of_path: dict[int, tuple[LearnedPath, NextHops]] = {}
        self._ours: tuple[Collection[Prefix], ...] = ((), (), ())  # announced, of links, fallbacks
        self._offers = Offers()
        self._held: Held | None = None
        self._reached: dict[NextHops, NextHops] = {}
        self._unresolved: dict[NextHop, int] = {}
        self._off_link: frozenset[NextHop] = frozenset()
        self._routes: dict[RouteKey, KernelRoute] = {}
        self._hiding: set[Prefix] = set()
        self._beyond = 0

    def judge(
        self,
        table: Mapping[Prefix, Destination],
        held: Held,
        announced: Collection[Prefix] = (),
        stale: Collection[RouteKey] = (),
        fallbacks: Collection[Prefix] = (),
        changed: Collection[Prefix] | None = None,
    ) -> Verdict:
        """The routes that the table calls for.

        `changed` are the prefixes whose entries may be others than the last time; None: any may.

        `announced` are prefixes of ours, for which there are none, but for `fallbacks`: these are virtual IPs, whose
        learned routes stand behind those to pods here. `stale` are routes that stay besides and count for the maximum.
        """
        if not self._config.kernel.install:
            return Verdict()
        touched = self._look(table, changed, (announced, held.connected, fallbacks))
        if touched or held is not self._held:
            touched |= self._resolve(held)
        metric = self._config.kernel.metric
        self._rewrite(touched, metric)
        routes = self._limited(held.ours, stale)
        beyond, before = len(self._routes) - len(routes), self._beyond
        self._beyond = beyond
        differ = None if beyond or before else {(prefix, metric) for prefix in touched}
        return Verdict(routes, self._unresolved, beyond, self._off_link, differ)

    def _resolve(self, held: Held) -> set[Prefix]:
        """Finds the way to all next hops anew; the prefixes for which it is another one."""
        self._held = held
        kernel, accept = self._config.kernel, self._config.accept
        asked = frozenset[NextHop]().union(*self._offers.sets)
        found = Ways(held, self._offers, kernel.metric, accept.default_route).neighbours(asked)
        self._off_link = frozenset(hop for hop in asked if found.get(hop) != frozenset({hop}))
        unresolved: Counter[NextHop] = Counter()
        for hops, count in self._offers.sets.items():
            unresolved.update({hop: count for hop in hops if hop not in found})
        self._unresolved = dict(unresolved)
        return self._reach(found) | self._hide(asked - self._off_link, held.connected)

    def _look(
        self,
        table: Mapping[Prefix, Destination],
        changed: Collection[Prefix] | None,
        ours: tuple[Collection[Prefix], ...],
    ) -> set[Prefix]:
        """Brings the wanted next hops in step with the table; the prefixes for which they differ."""
        offers = self._offers
        if changed is None or self._fresh:
            again = dict.fromkeys((*table, *offers.hops))
            self._fresh = False
        else:
            again = dict.fromkeys(changed)
        if ours != self._ours:  # some became ours, or are no longer
            for now, before in zip(ours, self._ours, strict=True):
                again.update(dict.fromkeys({*now} ^ {*before}))
            self._ours = ours
        touched = set()
        for prefix in again:
            destination = table.get(prefix)
            if offers.put(prefix, NOWHERE if destination is None else self._decide(destination)):
                touched.add(prefix)
        return touched

    def _decide(self, destination: Destination) -> NextHops:
        """The next hops of a destination that may be installed, none of others."""
        announced, connected, fallbacks = self._ours
        prefix = destination.prefix
        ours = destination.ours is not None or prefix in announced
        if destination.foreign or (ours and prefix not in fallbacks):
            return NOWHERE
        if prefix in connected or prefix not in self._accepted:
            return NOWHERE
        learned = destination.learned
        if len(learned) != 1:
            return next_hops_of(destination)
        # Many prefixes share one path.
        known = self._of_path.get(id(learned[0]))
        if known is None:
            if len(self._of_path) >= PATHS:
                self._of_path.clear()
            known = self._of_path[id(learned[0])] = learned[0], next_hops_of(destination)
        return known[1]

    def _reach(self, found: Mapping[NextHop, NextHops]) -> set[Prefix]:
        """Notes over which neighbours each set of next hops leads; the prefixes for which that differs."""
        reached = {hops: union(found, hops) for hops in self._offers.sets}
        moved = {hops for hops, over in reached.items() if self._reached.get(hops, over) != over}
        self._reached = reached
        return {prefix for prefix, hops in self._offers.hops.items() if hops in moved} if moved else set()

    def _hide(self, neighbours: Iterable[NextHop], connected: Collection[Prefix]) -> set[Prefix]:
        """Notes which prefixes would hide a neighbour on a link, being a part of that link's subnet; what differs."""
        before, subnets = self._hiding, Nets(connected)
        hiding: set[Prefix] = set()
        for address in {*self._peers, *(hop.address for hop in neighbours)}:
            subnet = next(subnets.around(address), None)
            if subnet is not None:
                nets = self._offers.nets.around(address)
                hiding.update(net for net in nets if net.prefixlen > subnet.prefixlen)
        self._hiding = hiding
        return before ^ hiding

    def _rewrite(self, prefixes: Iterable[Prefix], metric: int) -> None:
        for prefix in prefixes:
            over = self._reached.get(self._offers.hops.get(prefix, NOWHERE))
            if over and prefix not in self._hiding:
                self._routes[prefix, metric] = KernelRoute(prefix, metric, over)
            else:
                self._routes.pop((prefix, metric), None)

    def _limited(
        self, ours: Collection[RouteKey], stale: Collection[RouteKey]
    ) -> dict[RouteKey, KernelRoute]:
        """Not more than the maximum: what is installed stays, and of the others the lowest prefixes come first."""
        maximum, routes = self._config.accept.maximum, self._routes
        room = maximum - sum(key not in routes for key in stale)
        if not maximum or len(routes) <= room:
            return dict(routes)
        there = [key for key in routes if key in ours]
        more = (key for key in routes if key not in ours)
        kept = [*nsmallest(room, there, key=_place), *nsmallest(room - len(there), more, key=_place)]
        return {key: routes[key] for key in kept}


def _place(key: RouteKey) -> tuple[int, int, int]:
    return key[0].version, int(key[0].network_address), key[0].prefixlen


def equal_paths(learned: tuple[LearnedPath, ...]) -> tuple[LearnedPath, ...]:
    """The best path and those that are as good (RFC 4271, 9.1.2.2 a to d).

    The daemon's first path is the best one. What remains as tie-breakers (router id, age, address)
    says nothing about the way and is ignored; so is which AS the neighbour is in ("multipath relax").
    """
    if len(learned) < 2:
        return learned
    best = _rank(learned[0])
    return tuple(path for path in learned if _rank(path) == best)


def _rank(path: LearnedPath) -> tuple[int, int, int, int, bool]:
    return path.local_pref, path.as_path_length, path.origin, path.med, path.external


def next_hops_of(destination: Destination) -> NextHops:
    """Those of its best paths."""
    return frozenset(
        NextHop(path.next_hop, path.interface if path.next_hop.is_link_local else "")
        for path in equal_paths(destination.learned)
        if not path.next_hop.is_unspecified
    )
