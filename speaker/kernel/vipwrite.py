"""Carries out what was planned for virtual IPs, in few large batches, and keeps account of what the kernel holds."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from cni import nexthop, rtnl
from speaker import log
from speaker.kernel.vipcodec import explain_vip, group_body, route_to_kernel

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cni.netlink import NetlinkError, NetlinkSocket
    from speaker.bgp import Prefix
    from speaker.desired import RouteKey
    from speaker.kernel.vipgroups import Group, Hop, VipPlan, VipsHeld

GONE = {errno.ESRCH, errno.ENOENT}


class VipWriter:
    """Writes with this protocol number into this table."""

    def __init__(self, socket: NetlinkSocket) -> None:
        self._socket = socket
        self.protocol = 0
        self.table = 0

    def carry_out(self, plan: VipPlan, held: VipsHeld) -> dict[Prefix, str]:
        """Writes, and notes in `held` what has become of it; why each refused VIP was refused."""
        refused = self._groups(plan.groups, held)
        routes = {key: group for key, group in plan.routes.items() if group not in refused}
        found = {key[0]: refused[group] for key, group in plan.routes.items() if group in refused}
        if refused:  # a group that is refused in another shape stays as it is, and so does the route to it
            found |= {key[0]: refused[group] for key, group in held.routes.items() if group in refused}
        found |= self._routes(routes, held)
        self._drop_routes(plan.drop_routes, held)
        used = set(held.routes.values())
        self._drop([number for number in plan.drop_groups if number not in used], held.groups)
        return found

    def _groups(self, groups: Mapping[int, Group], held: VipsHeld) -> dict[int, str]:
        writes = [
            (nexthop.nexthop_replace if number in held.groups else nexthop.nexthop_add)(
                group_body(number, group, self.protocol)
            )
            for number, group in groups.items()
        ]
        refused: dict[int, str] = {}
        for (number, group), error in zip(groups.items(), self.send(writes), strict=True):
            if error is None:
                held.groups[number] = group
            else:
                refused[number] = explain_vip(error)
        return refused

    def _routes(self, routes: Mapping[RouteKey, int], held: VipsHeld) -> dict[Prefix, str]:
        writes = [
            # "Add" refuses where any route with this prefix and metric stands: one that is not ours stays.
            (rtnl.route_replace if key in held.routes or key in held.former else rtnl.route_add)(
                self._route(key, group)
            )
            for key, group in routes.items()
        ]
        refused: dict[Prefix, str] = {}
        told: list[dict[str, object]] = []
        for (key, group), error in zip(routes.items(), self.send(writes), strict=True):
            if error is not None:
                refused[key[0]] = explain_vip(error)
                continue
            if group and not held.routes.get(key):
                told.append({"vip": key[0].network_address, "next_hops": len(held.groups[group].members)})
            held.routes[key] = group
        log.info_each("virtual IP routed", told)
        return refused

    def _drop_routes(self, keys: Sequence[RouteKey], held: VipsHeld) -> None:
        self._gone(self.send([rtnl.route_delete(self._route(key, held.routes[key])) for key in keys]))
        groups = [held.routes.pop(key) for key in keys]
        gone = [key[0].network_address for key, group in zip(keys, groups, strict=True) if group]
        log.info_each("virtual IP no longer routed", [{"vip": vip} for vip in gone])

    def drop_hops(self, numbers: Collection[int], held: VipsHeld) -> None:
        """Removes next-hop objects that are in no group any more."""
        self._drop(numbers, held.hops)

    def _drop(self, numbers: Collection[int], held: dict[int, Group] | dict[int, Hop]) -> None:
        self.remove(numbers)
        for number in numbers:
            del held[number]

    def remove(self, numbers: Collection[int]) -> None:
        """Removes objects or groups."""
        self._gone(self.send([nexthop.nexthop_delete(number) for number in numbers]))

    @staticmethod
    def _gone(verdicts: Sequence[NetlinkError | None]) -> None:
        """What somebody else removed before is as good."""
        for error in verdicts:
            if error is not None and error.errno not in GONE:
                raise error

    def _route(self, key: RouteKey, group: int) -> rtnl.Route:
        return route_to_kernel(key, group, self.protocol, self.table)

    def send(self, messages: Sequence[bytes]) -> list[NetlinkError | None]:
        """The kernel's verdict on each."""
        return self._socket.request_each(messages) if messages else []
