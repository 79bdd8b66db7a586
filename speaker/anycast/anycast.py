"""Keeps the VIPs of this node: looks at endpoints, health and drains, and sees to the kernel's side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from speaker import log
from speaker.anycast.drain import Drains, next_change
from speaker.anycast.health import Health, Target
from speaker.anycast.judge import Refusals, Standing, judge, next_hops
from speaker.anycast.paths import Damper, path_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from speaker.anycast.drain import Drain
    from speaker.anycast.endpoints import Endpoint, Key
    from speaker.anycast.health import Detail
    from speaker.anycast.judge import Verdict
    from speaker.bgp import Address, LocalPath, Prefix
    from speaker.kernel.vipgroups import VipRoute
    from speaker.settings import Announcement, Config, Pool


class Kernel(Protocol):
    """The part of speaker.kernel.vips.VipTable that is used here."""

    def adopt(self) -> Mapping[Prefix, frozenset[int]]:
        """Next hops in the group of each VIP, as an earlier process left them."""

    @property
    def refused(self) -> Mapping[Prefix, str]:
        """VIPs whose group or route it does not take, and why."""

    def sync(self, wanted: Mapping[Prefix, VipRoute], hops: Mapping[int, Address]) -> Mapping[int, str]:
        """Writes what differs; the next hops that can't be made, and why."""

    def reload(self, config: Config) -> None:
        """Another configuration."""

    def clear(self) -> None:
        """Takes everything out."""


class Checks(Protocol):
    """The part of speaker.anycast.checker.Checker that is used here."""

    def follow(self, targets: Mapping[Key, Target], adopted: Collection[Key]) -> None:
        """Probes these from now on, and no others."""

    def health(self, key: Key) -> Health:
        """What is known of one of them."""

    def detail(self, key: Key) -> Detail:
        """Since when, and why."""


class Anycast:
    """All VIPs of this node. Times are seconds: `now` of the loop's clock, `boottime` of the one that drains have."""

    def __init__(self, config: Config, kernel: Kernel, checks: Checks) -> None:
        self._config = config
        self._kernel = kernel
        self._checks = checks
        self._damper = Damper()
        # The path of each VIP, and what it was made from.
        self._told: dict[Address, tuple[Verdict, tuple[Announcement, int], LocalPath | None]] = {}
        self._pools: dict[Address, Pool | None] = {}
        # Next hops that served when an earlier speaker ended; each counts until it is known better.
        self._adopted: frozenset[int] = frozenset()
        self._followed: Sequence[Endpoint] | None = None
        self.verdicts: Mapping[Address, Verdict] = {}
        self.paths: frozenset[LocalPath] = frozenset()
        self._fallbacks: frozenset[Prefix] = frozenset()
        self._fallbacks_of: object = None
        self.refusals = Refusals()
        self._unreached: set[int] = set()  # next hops that were told of as such
        self.drains: tuple[Drain, ...] = ()
        # When to look again though nothing happened.
        self.due: float | None = None

    def adopt(self) -> None:
        """Reads what an earlier process left in the kernel; OSError where that can't be read."""
        left = self._kernel.adopt()
        self._adopted = frozenset[int]().union(*left.values())
        if left:
            log.info("virtual IPs adopted", count=len(left))

    def reload(self, config: Config) -> None:
        """Another configuration, from the next look on."""
        self._config = config
        self._pools = {}
        self._kernel.reload(config)

    def clear(self) -> None:
        """Takes everything out of the kernel, for good."""
        self._kernel.clear()

    def fallbacks(self) -> frozenset[Prefix]:
        """VIPs for which a learned route may stand behind the one to this node's pods."""
        if self._fallbacks_of is not self.verdicts:
            found = frozenset(one.route.prefix for one in self.verdicts.values() if not one.route.unreachable)
            self._fallbacks = self._fallbacks if found == self._fallbacks else found
            self._fallbacks_of = self.verdicts
        return self._fallbacks

    # ---- one look

    def look(
        self, endpoints: Sequence[Endpoint], drains: tuple[Drain, ...], now: float, boottime: float
    ) -> None:
        """Judges anew, and writes what differs to the kernel; OSError where that is not possible."""
        self.drains = drains
        self._follow(endpoints)
        seconds = self._config.anycast.drain
        phases = Drains(drains, boottime, seconds)
        before = self.verdicts
        self._judge(endpoints, phases)
        try:
            wanted = {one.route.prefix: one.route for one in self.verdicts.values()}
            next_hops_refused = self._kernel.sync(wanted, next_hops(endpoints))
            refusals = Refusals(dict(next_hops_refused), dict(self._kernel.refused))
            self._tell_unreached(refusals.next_hops)
            if refusals != self.refusals:
                self.refusals = refusals
                self._judge(endpoints, phases)
        finally:
            self._tell(before)
            paths = frozenset(self._paths(now))
            if paths != self.paths:  # what is the same stays the same object: nobody compares it again
                self.paths = paths
            ends = next_change(drains, boottime, seconds)
            self._plan_next(now, None if ends is None else now + ends - boottime)

    def _judge(self, endpoints: Sequence[Endpoint], phases: Drains) -> None:
        self.verdicts = judge(endpoints, self.health, phases, self.pool_of, self.refusals, self.verdicts)

    def _follow(self, endpoints: Sequence[Endpoint]) -> None:
        if endpoints is self._followed:
            return
        self._followed = endpoints
        targets = {
            one.key: Target(one.via, one.check, one.vip, one.name)
            for one in reversed(endpoints)
            if one.check is not None
        }
        adopted = {one.key for one in endpoints if one.nexthop in self._adopted}
        self._checks.follow(targets, adopted)

    def health(self, endpoint: Endpoint) -> Health:
        """What is known of an endpoint; without a check it is well."""
        return Health.UP if endpoint.check is None else self._checks.health(endpoint.key)

    def detail(self, endpoint: Endpoint) -> Detail | None:
        """Since when, and why; None without a check."""
        return None if endpoint.check is None else self._checks.detail(endpoint.key)

    @property
    def drain_seconds(self) -> float:
        """How long the first phase of a drain takes."""
        return self._config.anycast.drain

    def pool_of(self, vip: Address) -> Pool | None:
        """The configured pool that a VIP is in."""
        if vip not in self._pools:
            self._pools[vip] = next(
                (one for one in self._config.anycast.pools if inside_any(vip, one.announcement.prefixes)),
                None,
            )
        return self._pools[vip]

    # ---- what peers are told

    def _paths(self, now: float) -> list[LocalPath]:
        self._damper.keep(self.verdicts)
        before, self._told = self._told, {}
        paths = []
        for vip, verdict in self.verdicts.items():
            pool = verdict.pool
            load = self._damper.load(vip, verdict.load, pool.damping, now) if pool else 0
            announcement = pool.announcement if pool else self._config.announce.hosts
            told = before.get(vip)
            if told is None or told[0] is not verdict or told[1] != (announcement, load):
                told = verdict, (announcement, load), path_of(verdict, announcement, load)
            self._told[vip] = told
            if told[2] is not None:
                paths.append(told[2])
        return paths

    def _plan_next(self, now: float, drain: float | None) -> None:
        pools = {vip: self.verdicts[vip].pool for vip in self._damper.held_back()}
        held_back = [self._damper.until(vip, pool.damping) for vip, pool in pools.items() if pool]
        times = [time for time in (drain, *held_back) if time is not None]
        self.due = max(now, min(times)) if times else None

    # ---- saying so

    def _tell(self, before: Mapping[Address, Verdict]) -> None:
        news = []
        for vip, verdict in self.verdicts.items():
            was = before.get(vip)
            if was is verdict:
                continue
            if was is None or (was.standing, was.reason) != (verdict.standing, verdict.reason):
                news.append(_fields(verdict))
        log.info_each("virtual IP", news)
        gone = (vip for vip in before if vip not in self.verdicts)
        log.info_each("virtual IP", ({"vip": vip, "state": "no endpoint here"} for vip in gone))

    def _tell_unreached(self, refused: Mapping[int, str]) -> None:
        if not refused and not self._unreached:
            return
        # Who is unhealthy or drained is not tried: nothing is known of the way there.
        tried = {member.nexthop for one in self.verdicts.values() for member in one.route.members}
        unreached = self._unreached - (tried - refused.keys())
        # One next hop of a pod stands for all VIPs that it serves.
        ends = {one.nexthop: one for one in self._followed or ()}
        for number, one in ends.items():
            if number in refused and number not in unreached:
                log.warning("endpoint not reached", pod=one.name, address=one.via, reason=refused[number])
            elif number in self._unreached and number not in unreached:
                log.info("endpoint reached again", pod=one.name, address=one.via)
        self._unreached = (unreached | refused.keys()) & ends.keys()


def inside_any(vip: Address, prefixes: Collection[Prefix]) -> bool:
    """Whether the VIP is in one of them."""
    return any(vip.version == one.version and vip in one for one in prefixes)


def _fields(verdict: Verdict) -> dict[str, object]:
    fields: dict[str, object] = {"vip": verdict.vip, "state": verdict.standing.value}
    if verdict.standing is not Standing.WITHDRAWN:
        fields["endpoints"] = len(verdict.serving)
    if verdict.reason:
        fields["reason"] = verdict.reason
    return fields
