"""The kernel's side of virtual IPs: next-hop objects, groups and routes, brought in step with what is wanted.

Only objects and routes with the protocol number `anycast.protocol` are ever changed or removed.
"""

from __future__ import annotations

import errno
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from cni import nexthop, rtnl
from cni.netlink import NetlinkError, NetlinkSocket
from speaker import log
from speaker.kernel.multipath import hash_by_ports, heaviest_weight
from speaker.kernel.vipcodec import held_objects, key_of, leads_to
from speaker.kernel.vipgroups import Rules, VipsHeld, fresh_numbers, plan_vips
from speaker.kernel.viphops import NextHops
from speaker.kernel.vipwatch import VipWatch
from speaker.kernel.vipwrite import VipWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from speaker.bgp import Address, Prefix
    from speaker.kernel.vipgroups import VipPlan, VipRoute
    from speaker.settings import Config

# How often a change by somebody else while we write makes us look again at once.
ROUNDS = 3


class VipTable:
    """One table of the network namespace in which this object is made. `learned`: port of the other routes' writer."""

    def __init__(self, config: Config, learned: int = 0) -> None:
        self._rules = Rules(config.anycast, nexthop.HEAVIEST)
        self._table = config.kernel.table
        self._left: list[tuple[int, int]] = []  # protocols and tables that were ours before
        self._socket = NetlinkSocket()
        self._watch = VipWatch(self._socket.port, learned)
        self._writer = VipWriter(self._socket)
        self._hops = NextHops(self._socket, self._writer.send)
        self._stale = True  # what is held has to be read
        self._tried = False  # which groups the kernel takes
        self._last = nexthop.FIRST_GROUP - 1
        self._wanted: dict[Prefix, VipRoute] = {}
        self._addresses: dict[int, Address] = {}
        self._held = VipsHeld()
        # VIPs whose group or route the kernel refuses, with its reason and what to do.
        self.refused: dict[Prefix, str] = {}

    @property
    def plain(self) -> bool:
        """Whether this kernel has no resilient groups, as far as that was tried."""
        return self._rules.plain

    def fileno(self) -> int:
        """Readable when `changed` should be called."""
        return self._watch.fileno()

    def close(self) -> None:
        """Gives the sockets back; what is in the kernel stays."""
        self._socket.close()
        self._watch.close()

    def changed(self) -> bool:
        """Whether somebody else changed what we hold: the next `sync` reads it anew."""
        if self._watch.changed():
            self._stale = True
        return self._stale

    def adopt(self) -> Mapping[Prefix, frozenset[int]]:
        """What an earlier process left: the next hops in the group of each VIP."""
        self._read()
        groups, metric = self._held.groups, self._rules.anycast.metric
        return {
            key[0]: frozenset(member for member, _ in groups[number].members)
            for key, number in self._held.routes.items()
            if key[1] == metric and number in groups
        }

    def reload(self, config: Config) -> None:
        """Another configuration; the next `sync` writes what that changes."""
        before = self._place
        self._rules = replace(self._rules, anycast=config.anycast)
        self._table = config.kernel.table
        self._left = [left for left in (*self._left, before) if left != self._place]
        self._stale = True

    def reread(self) -> None:
        """Lets the next `sync` compare with what the kernel holds then, and try again what was refused."""
        self._stale = True

    def clear(self) -> None:
        """Takes everything out of the kernel."""
        self._stale = True
        self.sync({}, {})

    def sync(self, wanted: Mapping[Prefix, VipRoute], hops: Mapping[int, Address]) -> Mapping[int, str]:
        """Brings the kernel in step; the next hops that can't be made, with the reason and what to do.

        `hops` has the pod's address for each member of a group. Without a change nothing is written.
        """
        for _ in range(ROUNDS):
            if not self._stale and wanted == self._wanted and hops == self._addresses:
                break
            try:
                self._bring(wanted, hops)
            except BaseException:
                self._stale = True
                raise
            self._stale = self._watch.changed()
        return self._hops.failed

    # ---- reading

    @property
    def _place(self) -> tuple[int, int]:
        return self._rules.anycast.protocol, self._table

    def _read(self) -> None:
        protocol, table = self._place
        objects = [nexthop.NextHopObject(payload) for payload in self._dump(nexthop.nexthop_dump())]
        held = held_objects(objects, protocol, {left for left, _ in self._left})
        held.routes = {key_of(route): leads_to(route) for route in self._routes(protocol, table)}
        for left, place in self._left:
            if place == table:
                held.former.update(key_of(route) for route in self._routes(left, place))
        self._held = held
        self._watch.held, self._watch.protocol, self._watch.table = held, protocol, table
        self._writer.protocol, self._writer.table = protocol, table
        self._hops.forget()

    def _routes(self, protocol: int, table: int) -> Iterator[rtnl.Route]:
        for family in (rtnl.AF_INET, rtnl.AF_INET6):
            for payload in self._dump(rtnl.route_dump(family, table, protocol)):
                route = rtnl.parse_route(payload)
                if (route.protocol, route.table) == (protocol, table):
                    yield route

    def _dump(self, message: bytes) -> list[bytes]:
        try:
            return [payload for _, payload in self._socket.dump(message)]
        except NetlinkError as error:
            # No such table yet; a kernel without next-hop objects.
            if error.errno in {errno.ENOENT, errno.EOPNOTSUPP}:
                return []
            raise

    # ---- writing

    def _bring(self, wanted: Mapping[Prefix, VipRoute], hops: Mapping[int, Address]) -> None:
        """Writes what differs: all of it after reading, otherwise of VIPs that changed or whose next hops did."""
        again, self._stale = self._stale, False
        if again:
            self._read()
        members = {member.nexthop for route in wanted.values() for member in route.members}
        needed = {number: hops[number] for number in members if number in hops}
        moved = self._hops.make(needed, self._held, self._rules.anycast.protocol)
        if again:
            self._carry_out(wanted, self._held)
        else:
            changed = self._changed_vips(wanted, moved)
            some = {prefix: wanted[prefix] for prefix in changed if prefix in wanted}
            self._carry_out(some, self._held.part(changed, self._rules.anycast.metric))
        self._writer.drop_hops(
            [number for number in self._held.hops if number not in self._hops.usable], self._held
        )
        self._leave()
        self._wanted, self._addresses = dict(wanted), dict(hops)
        self._watch.failed, self._watch.refused = self._hops.failed, self.refused

    def _changed_vips(self, wanted: Mapping[Prefix, VipRoute], moved: frozenset[int]) -> set[Prefix]:
        before = self._wanted
        changed = {prefix for prefix, route in wanted.items() if before.get(prefix) != route}
        changed.update(prefix for prefix in before if prefix not in wanted)
        if moved:
            over = (
                prefix
                for prefix, route in wanted.items()
                if any(one.nexthop in moved for one in route.members)
            )
            changed.update(over)
        return changed

    def _carry_out(self, wanted: Mapping[Prefix, VipRoute], held: VipsHeld) -> None:
        """Makes the groups and routes of these VIPs those that are wanted; `held` are all that they have."""
        plan = self._plan(wanted, held)
        if plan.groups and not self._tried:
            before = self._rules
            self._try_groups(next(iter(plan.groups.values())).members[0][0])
            if self._rules != before:
                plan = self._plan(wanted, held)
        self._last = max(self._last, *plan.groups, 0)
        touched = {*wanted, *(prefix for prefix, _ in held.routes)}
        kept = {prefix: reason for prefix, reason in self.refused.items() if prefix not in touched}
        refused = self._writer.carry_out(plan, self._held)
        self._tell({prefix: why for prefix, why in refused.items() if self.refused.get(prefix) != why})
        self.refused = {**kept, **refused}

    @staticmethod
    def _tell(refused: Mapping[Prefix, str]) -> None:
        """One line for each VIP that was not refused before, and a count for those beyond the first."""
        for prefix in islice(refused, log.LISTED):
            log.warning(
                "virtual IP refused by the kernel", vip=prefix.network_address, reason=refused[prefix]
            )
        if len(refused) > log.LISTED:
            log.warning("virtual IP refused by the kernel", more=len(refused) - log.LISTED)

    def _plan(self, wanted: Mapping[Prefix, VipRoute], held: VipsHeld) -> VipPlan:
        return plan_vips(wanted.values(), held, self._hops.usable, self._rules, self._fresh())

    def _fresh(self) -> Iterator[int]:
        held = self._held
        return fresh_numbers(
            nexthop.FIRST_GROUP, self._last, (held.groups, held.hops, held.taken, held.former_numbers)
        )

    def _try_groups(self, member: int) -> None:
        """Once, before the first group: which ones this kernel has, and that it looks at ports."""
        heaviest = heaviest_weight(self._socket, next(self._fresh()), member, self._rules.anycast.protocol)
        if heaviest is None:
            return
        self._tried = True
        hash_by_ports()
        self._rules = replace(self._rules, heaviest=heaviest, plain=not heaviest)
        if self._rules.plain:
            log.warning(
                "no resilient next-hop groups",
                effect="when endpoints of a virtual IP come, go or drain, connections to others break, too",
                fix="use Linux 5.13 or later",
            )

    def _leave(self) -> None:
        """Removes what carries protocol numbers, or lies in tables, that were ours before."""
        while self._left:
            protocol, table = self._left.pop()
            self._writer.send([rtnl.route_delete(route) for route in self._routes(protocol, table)])
            if protocol != self._rules.anycast.protocol:
                objects = [nexthop.NextHopObject(payload) for payload in self._dump(nexthop.nexthop_dump())]
                left = sorted((not one.members, one.number) for one in objects if one.protocol == protocol)
                self._writer.remove([number for _, number in left])  # groups come first
            self._held.former.clear()
            self._held.former_numbers.clear()
