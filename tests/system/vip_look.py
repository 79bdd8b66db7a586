"""What the kernel holds of virtual IPs, and what it tells of them, as others see it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cni.netlink import NetlinkSocket
from cni.nexthop import RTM_DELNEXTHOP, RTM_NEWNEXTHOP
from cni.rtnl import RTM_DELROUTE, RTM_NEWROUTE, parse_route
from speaker.kernel.vipwatch import GROUPS
from tests.system.gobgp_rig import run
from tests.system.vip_rig import routed

if TYPE_CHECKING:
    from collections.abc import Callable

    from speaker.kernel.vipgroups import VipRoute
    from speaker.kernel.vips import VipTable
    from tests.system.vip_rig import VipNode

WANTED = {**routed({1: 1, 2: 7}, 4), **routed({1: 1, 3: 0}, 6, unreachable=True)}


def sync(rig: VipNode, table: VipTable, wanted: dict[Any, VipRoute] = WANTED) -> dict[int, str]:
    return dict(rig.inside(lambda: table.sync(wanted, rig.hops)))


def objects(rig: VipNode) -> dict[int, dict[str, Any]]:
    return {one["id"]: one for one in json.loads(run("ip", "-n", rig.node.ns, "-d", "-j", "-N", "nexthop"))}


def everything(rig: VipNode) -> str:
    """What the kernel holds of ours, and nothing that counts on."""
    words = ("route", "show", "proto", "178")
    return rig.node.ip("nexthop") + rig.node.ip(*words) + rig.node.ip("-6", *words)


def is_about_us(kind: int, payload: bytes) -> bool:
    if kind in {RTM_NEWROUTE, RTM_DELROUTE}:
        return parse_route(payload).protocol == 178
    return kind in {RTM_NEWNEXTHOP, RTM_DELNEXTHOP}


def told(rig: VipNode, work: Callable[[], object]) -> list[int]:
    """Kinds of the messages by which the kernel tells what happened meanwhile to objects, groups and routes of ours."""
    listening = rig.inside(lambda: NetlinkSocket(GROUPS, timeout=0.2))
    try:
        work()
        kinds: list[int] = []
        try:
            while True:
                kinds += [kind for kind, payload in listening.receive() if is_about_us(kind, payload)]
        except TimeoutError:
            return kinds
    finally:
        listening.close()
