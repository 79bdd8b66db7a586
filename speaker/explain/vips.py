"""The chain of a virtual IP: annotation, pool, allocation, health, desired, gobgpd, peer, kernel. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cni.errors import ADDRESS_CONFLICT, VIP_REFUSED
from cni.network import packed
from cni.pools import load as load_pools
from speaker.commands.output import clean
from speaker.explain.pods import link_of, refused
from speaker.explain.routing import announced, in_gobgpd, learned, vip_in_kernel
from speaker.explain.values import ERROR, OK, SKIPPED, UNKNOWN, WARNING, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cni.allocation import Allocation
    from cni.pools import Anycast
    from speaker.bgp import Prefix
    from speaker.explain.values import Seen

ANNOTATION = "anypod.dev/anycast"
SHOWN = 5


def chain(seen: Seen, prefix: Prefix) -> Iterator[Step]:
    """All of it, for an address that is a virtual IP here, or that a pod asked for."""
    vip = str(prefix.network_address)
    askers, refusals = asking(seen, vip), refusals_of(seen, vip)
    about = seen.about.get(str(prefix))
    known = about["virtual_ips"][0] if about and about["virtual_ips"] else None
    if not askers and known is None:
        yield from _nobody(seen, prefix, refusals)
        return
    if askers:
        yield Step("annotation", OK, f"asked for by {_names(askers)}")
        yield from _pool(seen, vip, about)
        yield from _allocation(askers, vip)
        yield from _links(seen, askers)
    for one in refusals:
        yield _mild(refused(seen, one, "pool"))
    yield from _served(seen, prefix, known)


def _mild(step: Step) -> Step:
    """Others serve it: that one more was refused breaks nothing."""
    return Step(step.step, WARNING, step.what, step.fix)


def asking(seen: Seen, vip: str) -> list[Allocation]:
    """Attachments that were granted a VIP, whether it is served by now or not."""
    if isinstance(seen.state, str):
        return []
    return [one for one in seen.state.allocations if vip in granted(one)]


def granted(one: Allocation) -> set[str]:
    """The VIPs of an attachment: those that it serves, and those that its ADD was granted."""
    listed = one.detail.get("vips")
    return {held.ip for held in one.vips} | set(map(str, listed if isinstance(listed, list) else ()))


def refusals_of(seen: Seen, vip: str) -> list[Mapping[str, Any]]:
    """Refused ADDs that asked for it and have nothing since."""
    found = re.compile(rf"(?<![0-9A-Fa-f:.]){re.escape(vip)}(?![0-9A-Fa-f:.]*[0-9A-Fa-f])")
    held = (
        set()
        if isinstance(seen.state, str)
        else {(one.container, one.ifname) for one in seen.state.allocations}
    )
    return [
        one
        for one in reversed(seen.refusals)
        # In the netconf itself, a virtual IP that no pool has is a mistake of the netconf.
        if (one["code"] in (VIP_REFUSED, ADDRESS_CONFLICT) or one["message"].startswith("anycast.vips"))
        and found.search(one["message"])
        and (one["container"], one["ifname"]) not in held
    ]


def pools(seen: Seen) -> list[tuple[str, Anycast]]:
    """The pools of each network, as the state file remembers them."""
    if isinstance(seen.state, str):
        return []
    return [(net.name, load_pools(net.anycast)) for net in seen.state.networks if net.anycast is not None]


def is_vip(seen: Seen, prefix: Prefix) -> bool:
    """Whether an address is a virtual IP of this node, or might become one."""
    vip = str(prefix.network_address)
    about = seen.about.get(str(prefix)) or {}
    return bool(
        about.get("virtual_ips")
        or about.get("pool")
        or asking(seen, vip)
        or refusals_of(seen, vip)
        or any(each.pool_of(packed(vip)) for _, each in pools(seen))
    )


def _nobody(seen: Seen, prefix: Prefix, refusals: Sequence[Mapping[str, Any]]) -> Iterator[Step]:
    """No pod of this node has it: refused, or other nodes serve it, or nobody."""
    vip = str(prefix.network_address)
    if refusals:
        yield Step("annotation", OK, f"asked for by {clean(refusals[0]['pod'] or refusals[0]['container'])}")
        yield refused(seen, refusals[0], "pool")
        return
    about = seen.about.get(str(prefix))
    if about and any(entry["prefix"] == str(prefix) for entry in about["learned"]):
        yield Step("annotation", SKIPPED, "no pod of this node asks for it; other nodes serve it")
        yield from learned(seen, prefix)
        return
    fix = f'annotate a pod: {ANNOTATION}: "{vip}"; the runtime has to hand annotations on (docs/anycast.md)'
    yield Step(
        "annotation", ERROR, f"no pod of this node asks for {vip}, and no other node announces it", fix
    )
    yield from _pool(seen, vip, about)


def _pool(seen: Seen, vip: str, about: Mapping[str, Any] | None) -> Iterator[Step]:
    theirs = {one.network for one in asking(seen, vip)}
    networks = sorted(pools(seen), key=lambda one: one[0] not in theirs)
    granting = [
        f"{pool.name} of network {name}" for name, each in networks if (pool := each.pool_of(packed(vip)))
    ]
    # What was granted stands, whatever the pools are by now, and also where no network is remembered.
    recorded = [held.pool for one in asking(seen, vip) for held in one.vips if held.ip == vip and held.pool]
    spoken = f"; {about['pool']['name']} in speaker.toml" if about and about["pool"] else ""
    if granting or recorded:
        yield Step("pool", OK, f"{[*granting, *recorded][0]}{spoken}")
    elif networks:
        there = ", ".join(str(pool) for _, each in networks for pool in each.pools)
        what = f"{vip} is in no pool of this node's networks: {there}"
        yield Step(
            "pool", ERROR, what, "ask for an address of a pool, or add it to anycast.pools in the netconf"
        )
    elif not isinstance(seen.state, str):
        what = "no network of this node has pools of virtual IPs"
        yield Step("pool", ERROR, what, "set anycast.pools in the netconf")


def _allocation(askers: Sequence[Allocation], vip: str) -> Iterator[Step]:
    serving = [one for one in askers if vip in {held.ip for held in one.vips}]
    if serving:
        ways = ", ".join(held.via for one in serving for held in one.vips if held.ip == vip)
        yield Step("allocation", OK, f"recorded, led to {ways}")
    else:
        what = "granted and not recorded: the ADD is under way, or was cut off"
        yield Step("allocation", ERROR, what, "if it stays so, end the pod, so that it is made anew")


def _links(seen: Seen, askers: Sequence[Allocation]) -> Iterator[Step]:
    """Those that lead nowhere: all that comes after follows from it. Where other pods' stand, it breaks nothing."""
    steps = [(one, link_of(seen, one)) for one in askers if one.host_ifname]
    broken = [(one, step) for one, step in steps if step.state == ERROR]
    state = ERROR if len(broken) == len(askers) else WARNING
    for one, step in broken[:SHOWN]:
        yield Step(step.step, state, f"{clean(one.pod or one.container)}: {step.what}", step.fix)


def _served(seen: Seen, prefix: Prefix, known: Mapping[str, Any] | None) -> Iterator[Step]:
    """Health, what follows from it, and who is told."""
    if known is None:
        if isinstance(seen.speaker, str):
            yield Step("health", UNKNOWN, "only the speaker knows", "start the speaker")
            yield from announced(seen, prefix)
        else:
            what = "the speaker does not know of it"
            fix = "see that its state.dir is the plugin's stateDir, and that state.follow is true; anypod doctor"
            yield Step("health", ERROR, what, fix)
        yield from vip_in_kernel(seen, prefix)
        return
    yield from _health(known)
    state, reason = known["state"], known["reason"]
    if state == "withdrawn":
        yield Step("desired", ERROR, f"withdrawn: {reason}", _mend(reason))
        return
    if state == "depreferred":
        yield Step("desired", WARNING, f"announced as worse than all others: {reason}", _mend(reason))
    else:
        yield Step("desired", OK, f"announced, for {known['serving']} pods that serve here")
    path = next((one for one in seen.about[str(prefix)]["announced"] if one["prefix"] == str(prefix)), None)
    if path is not None:
        yield from in_gobgpd(seen, path)
    yield from vip_in_kernel(seen, prefix)


def _health(known: Mapping[str, Any]) -> Iterator[Step]:
    ends = known["endpoints"]
    sick = [one for one in ends if one["health"] == "down" or one["unreachable"]]
    waiting = [one for one in ends if one["health"] == "unknown"]
    well = len(ends) - len(sick) - len(waiting)
    state = WARNING if well else ERROR
    for one in sick[:SHOWN]:
        name = f"{clean(one['pod'])} ({one['address']})"
        if one["unreachable"]:
            yield Step("health", state, f"{name} is not reached: {one['unreachable']}", "see that reason")
        else:
            what = f"{name} fails its check {clean(one['check'])}: {clean(one['error'])}"
            yield Step(
                "health",
                state,
                what,
                "see to the application in that pod, or to its anycast-check annotation",
            )
    for one in waiting[:SHOWN]:
        yield Step(
            "health", state, f"{clean(one['pod'])} has not proved itself yet", "wait for its first checks"
        )
    if well:
        yield Step("health", OK, f"{well} of {len(ends)} pods serve")


def _mend(reason: str) -> str:
    if "drain" in reason:
        return "anypod undrain, if it is to serve again"
    if "min-endpoints" in reason:
        return "start more pods that serve it, or lower min-endpoints of its pool in speaker.toml"
    return "see health, or that reason"


def _names(askers: Sequence[Allocation]) -> str:
    names = [clean(one.pod or one.container) for one in askers]
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
