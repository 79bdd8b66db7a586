"""What state file, refused pods, conflists, permissions and leftovers mean. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cni.owned import owned_links
from speaker.commands.output import clean, count, duration
from speaker.doctor.values import Conflist, Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from speaker.doctor.values import Facts, Place

# Seconds: a pod that was refused is tried again every minute or so; what is older has ended otherwise.
RECENT = 600
# And not told any more: nobody asks for that pod.
HISTORY = 3600
FULL = 0.9
WORLD, GROUP = 0o002, 0o020
SHOWN = 10


def findings(facts: Facts) -> Iterator[Finding]:
    """Everything about the plugin's side."""
    yield from _state(facts)
    yield from _refused(facts)
    yield from _ranges(facts)
    yield from _conflists(facts)
    yield from _places(facts.places)
    yield from _leftovers(facts)


def _state(facts: Facts) -> Iterator[Finding]:
    pods = [link for link in facts.links if link.kind == "veth" and link.alias.startswith("anypod ")]
    if not facts.has_state:
        if pods:
            yield Finding(
                Level.ERROR,
                f"the state file {facts.state_dir}/state.db is gone while {count(len(pods), 'pod')} of this node"
                " run; the speaker goes on with what it knew of them",
                "anypod gc makes it anew from the pods' links, as the next ADD or DEL does",
                "state-file",
            )
        else:
            yield Finding(
                Level.OK, f"there is no state file in {facts.state_dir}, and no pod", about="state-file"
            )
    elif isinstance(facts.state, str):
        yield Finding(Level.ERROR, facts.state, "the next ADD or DEL sets a damaged file aside", "state-file")
    else:
        what = f"the state file has {count(len(facts.state.allocations), 'attachment')}"
        yield Finding(Level.OK, what, about="state-file")
    if facts.set_aside:
        yield Finding(
            Level.WARNING,
            f"damaged state files were set aside: {', '.join(facts.set_aside)}",
            f"look at them, then remove them: rm {facts.state_dir}/state.db.damaged-*",
            "state-file",
        )


def open_refusals(facts: Facts) -> list[Mapping[str, Any]]:
    """Refused ADDs of pods that have nothing since."""
    if isinstance(facts.state, str):
        return list(facts.refusals)
    held = {(one.container, one.ifname) for one in facts.state.allocations}
    pods = {one.pod for one in facts.state.allocations if one.pod}
    return [
        one
        for one in facts.refusals
        if (one["container"], one["ifname"]) not in held and one["pod"] not in pods
    ]


def _refused(facts: Facts) -> Iterator[Finding]:
    """Of pods that are refused alike one is named."""
    groups: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for one in reversed(open_refusals(facts)):
        groups.setdefault((one["code"], one["message"]), []).append(one)
    for (_, message), alike in list(groups.items())[:SHOWN]:
        age = max(0.0, facts.now - alike[0]["at"] / 1e9)
        if age > HISTORY:
            continue
        who = clean(alike[0]["pod"] or alike[0]["container"])
        rest = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        what, _, fix = clean(message).rpartition("; ")
        yield Finding(
            Level.ERROR if age < RECENT else Level.WARNING,
            f"pod {who}{rest} was refused {duration(age)} ago: {what or message}",
            fix if what else "see that reason",
            "refused",
        )


def _ranges(facts: Facts) -> Iterator[Finding]:
    if isinstance(facts.state, str):
        return
    # Earlier ranges are remembered, too; where a conflist says which they are now, these count.
    listed = (
        [] if isinstance(facts.conflists, str) else [one.compiled for one in facts.conflists if one.compiled]
    )
    current = {net.name: {str(one) for one in net.ranges()} for net in listed}
    for one in facts.state.usage:
        if one.range not in current.get(one.network, {one.range}):
            continue
        if one.size and one.used >= one.size:
            what = (
                f"range {one.range} of network {one.network} is exhausted: pods have all {one.size} addresses"
            )
            yield Finding(
                Level.ERROR,
                what,
                "widen ipam.ranges, or delete pods; anypod gc, if some are gone",
                "addresses",
            )
        elif one.size and one.used >= FULL * one.size:
            what = f"range {one.range} of network {one.network} is nearly exhausted: {one.used} of {one.size} addresses"
            yield Finding(Level.WARNING, what, "widen ipam.ranges", "addresses")


def _conflists(facts: Facts) -> Iterator[Finding]:
    if isinstance(facts.conflists, str):
        yield Finding(
            Level.WARNING,
            f"conflists can't be looked at: {facts.conflists}",
            "name their folder by --conflists",
            "conflist",
        )
        return
    ours = [one for one in facts.conflists if _position(one) is not None]
    for one in facts.conflists:
        if one.trouble:
            yield Finding(
                Level.ERROR, f"{one.name}: {one.trouble}", "mend that file, or move it away", "conflist"
            )
    if not ours:
        yield Finding(
            Level.WARNING,
            "no conflist has anypod in it: no pod gets its network from it",
            "cp /etc/cni/net.d/10-anypod.conflist.example /etc/cni/net.d/10-anypod.conflist, and set its subnet",
            "conflist",
        )
        return
    first = next(one for one in facts.conflists if not one.trouble)
    if _position(first) is None:
        yield Finding(
            Level.WARNING,
            f"a runtime takes the first conflist by name, which is {first.name} and not {ours[0].name}",
            f"rename one of the two, so that {ours[0].name} comes first",
            "conflist",
        )
    else:
        yield Finding(Level.OK, f"{first.name} comes first, and has anypod", about="conflist")
    for one in ours:
        yield from _order(one)
        yield from _state_dir(one, facts.state_dir)


def _position(one: Conflist) -> int | None:
    return next((at for at, plugin in enumerate(one.plugins) if plugin.get("type") == "anypod"), None)


def _order(one: Conflist) -> Iterator[Finding]:
    at = _position(one)
    assert at is not None  # noqa: S101 - of those that have it
    chained = "anycast" in one.plugins[at] and "ipam" not in one.plugins[at]
    before = ", ".join(str(plugin.get("type")) for plugin in one.plugins[:at])
    if at and not chained:
        what = f"{one.name}: anypod makes the pods' interface and stands behind {before}, which have none to work on"
        yield Finding(Level.ERROR, what, "put anypod first in plugins", "conflist")
    if chained and not at:
        what = (
            f"{one.name}: anypod has anycast and no ipam, and no plugin before it makes the pods' interface"
        )
        yield Finding(Level.ERROR, what, "put it behind the plugin that does, or give it ipam", "conflist")


def _state_dir(one: Conflist, state_dir: str) -> Iterator[Finding]:
    at = _position(one)
    assert at is not None  # noqa: S101 - of those that have it
    theirs = str(one.plugins[at].get("stateDir") or "/run/anypod").rstrip("/")
    if theirs != state_dir.rstrip("/"):
        what = f"{one.name} has stateDir {theirs}, and this looks at {state_dir}: the speaker follows its own state.dir"
        yield Finding(
            Level.WARNING, what, "set stateDir and state.dir alike, or give --state-dir", "conflist"
        )


def _places(places: Sequence[Place]) -> Iterator[Finding]:
    wrong = [one for one in places if one.mode and one.mode & WORLD]
    for one in wrong:
        what = f"{one.path} can be written by everybody: what stands there is done as root, or announced"
        yield Finding(Level.ERROR, what, f"chmod o-w {one.path}", "permissions")
    foreign = [one for one in places if one.mode and one.uid and one.path.endswith(("/state.db", "/anypod"))]
    for one in foreign:
        what = f"{one.path} belongs to user {one.uid}, and root's plugin works there"
        yield Finding(Level.ERROR, what, f"chown root {one.path}", "permissions")
    if places and not wrong and not foreign:
        yield Finding(Level.OK, "nobody else writes where plugin and speaker do", about="permissions")


def _leftovers(facts: Facts) -> Iterator[Finding]:
    if isinstance(facts.stale, str):
        yield Finding(
            Level.WARNING, f"leftovers can't be looked for: {facts.stale}", "run this as root", "leftovers"
        )
        return
    parts = [
        count(len(things), thing)
        for things, thing in (
            (facts.stale.attachments, "attachment"),
            (facts.stale.links, "link"),
            (facts.stale.elements, "nftables element"),
        )
        if things
    ]
    if parts:
        what = f"left over from pods that are gone: {', '.join(parts)}"
        yield Finding(Level.WARNING, what, "anypod gc; what it is: anypod gc --dry-run", "leftovers")
    elif owned_links(facts.stale.kept):
        names = ", ".join(link.name for link in facts.stale.kept[:SHOWN])
        what = f"no record explains the links {names}, and pods may use them"
        yield Finding(
            Level.WARNING, what, "end those pods; anypod gc --dry-run says whose they are", "leftovers"
        )
    else:
        yield Finding(Level.OK, "nothing is left over", about="leftovers")
