"""The pod's part of a chain: is it attached, was it refused, and does its link stand. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speaker.commands.output import clean, count, duration
from speaker.explain.values import ERROR, OK, UNKNOWN, WARNING, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from cni.allocation import Allocation
    from cni.network import Network
    from speaker.explain.values import Seen


def refused(seen: Seen, one: Mapping[str, Any], step: str = "allocation") -> Step:
    """An ADD that was refused; its message ends with what to do."""
    who = clean(one["pod"] or one["container"])
    what, _, fix = clean(one["message"]).rpartition("; ")
    age = duration(max(0.0, seen.now - one["at"] / 1e9))
    return Step(
        step,
        ERROR,
        f"the ADD of {who} was refused {age} ago: {what or fix}",
        fix if what else "see that reason",
    )


def state_file(seen: Seen) -> Iterator[Step]:
    """What is wrong with the state file, if anything is."""
    pods = [link for link in seen.links if link.kind == "veth" and link.alias.startswith("anypod ")]
    if not seen.has_state and pods:
        yield Step(
            "state file",
            ERROR,
            f"{seen.state_dir}/state.db is gone while {count(len(pods), 'pod')} of this node run",
            "anypod gc makes it anew from the pods' links, as the next ADD or DEL does",
        )
    elif seen.has_state and isinstance(seen.state, str):
        yield Step(
            "state file", ERROR, seen.state, "the next ADD or DEL sets a damaged file aside; anypod doctor"
        )


def attached(seen: Seen, one: Allocation) -> Iterator[Step]:
    """The record, and what the kernel has of it."""
    age = None if isinstance(seen.state, str) else seen.state.age(one)
    since = f" for {duration(age)}" if age is not None else ""
    name = clean(one.pod or one.container)
    held = ", ".join(one.addresses) or "no address"
    yield Step("allocation", OK, f"{name} has {held} in network {one.network}{since}")
    if one.netns in seen.ended:
        what = f"its namespace {one.netns} is gone: the pod ended, and no DEL came"
        yield Step("pod", ERROR, what, "anypod gc takes its record and its addresses back")
        return
    if one.host_ifname:
        yield link_of(seen, one)


def link_of(seen: Seen, one: Allocation) -> Step:
    """The pod's link and its bridge."""
    by_name = {link.name: link for link in seen.links}
    link, net = by_name.get(one.host_ifname), network_of(seen, one)
    bridge = by_name.get(net.bridge) if net is not None else None
    # A state file that was made anew remembers no network; but each pod's link is on some bridge.
    if (net is not None and bridge is None) or (net is None and link is not None and not link.master):
        name = f"{net.bridge} " if net is not None else ""
        what = f"the bridge {name}of network {one.network} is gone: the pod is connected to nothing"
        return Step(
            "link", ERROR, what, "end the pod, so that it is made anew: the next pod makes the bridge"
        )
    if link is None:
        what = f"its link {one.host_ifname} is gone: the pod has no network"
        return Step("link", ERROR, what, "end the pod, so that it is made anew")
    if bridge is not None and link.master != bridge.index:
        what = f"its link {link.name} is not on the bridge {bridge.name}"
        return Step("link", ERROR, what, f"ip link set {link.name} master {bridge.name}")
    for each in filter(None, (bridge, link)):
        if not each.up:
            return Step("link", ERROR, f"the link {each.name} is down", f"ip link set {each.name} up")
    where = f" on bridge {bridge.name}" if bridge is not None else ""
    if link.carrier:
        return Step("link", OK, f"{link.name}{where} is up")
    return Step("link", WARNING, f"the pod has its end of {link.name} down", f"see `ip link` in {one.netns}")


def network_of(seen: Seen, one: Allocation) -> Network | None:
    """The bridged network that an attachment is in, as the state file remembers it."""
    if isinstance(seen.state, str):
        return None
    return next((net for net in seen.state.networks if net.name == one.network and not net.chained), None)


def free_address(seen: Seen, ip: bytes, text: str) -> Iterator[Step]:
    """An address inside one of this node's ranges, that no pod has; nothing for one of none."""
    if isinstance(seen.state, str):
        return
    number = int.from_bytes(ip, "big")
    for net in seen.state.networks:
        for one in net.ranges():
            size = 4 if one.family == 4 else 16
            if len(ip) == size and one.first <= number <= one.last:
                yield Step("range", OK, f"it is in {one} of network {net.name}")
                what = f"no pod of this node has {text}"
                yield Step(
                    "allocation",
                    ERROR,
                    what,
                    "look for the pod: anypod allocations; if it should have it, see its ADD",
                )
                return


def unknown_pod(seen: Seen, name: str) -> Iterator[Step]:
    """A pod of which there is no trace."""
    yield from state_file(seen)
    if isinstance(seen.state, str):
        yield Step(
            "allocation", UNKNOWN, f"whether {name} is attached can't be told: {seen.state}", "anypod doctor"
        )
        return
    what = f"no pod {name} is attached to this node, and none was refused lately"
    fix = "see whether it runs here (crictl pods, podman ps), and whether anypod's conflist comes first (anypod doctor)"
    nameless = sum(not one.pod for one in seen.state.allocations)
    if nameless:
        what += f"; {count(nameless, 'pod')} here without a name, as after the state file was lost"
        fix = f"explain it by its container's id or its address: anypod allocations; or {fix}"
    yield Step("allocation", ERROR, what, fix)
