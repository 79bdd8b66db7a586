"""The network's part of a chain: who is told of a prefix of ours, and how others' prefixes come here. Pure."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from speaker.commands.kernel import VIPS, related
from speaker.doctor.peers import cause
from speaker.explain.values import ERROR, OK, SKIPPED, UNKNOWN, WARNING, Step
from speaker.prefixes import inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from speaker.bgp import Prefix
    from speaker.doctor.values import PeerFacts
    from speaker.explain.values import Seen

START_SPEAKER = "systemctl start anypod-speaker; journalctl -u anypod-speaker"
START_GOBGPD = "systemctl restart anypod-gobgpd; journalctl -u anypod-gobgpd"
SHOWN = 5


def silent_speaker(seen: Seen) -> Iterator[Step]:
    """That the speaker does not answer, if so."""
    if isinstance(seen.speaker, str):
        yield Step("speaker", ERROR, f"it does not answer: {seen.speaker}", START_SPEAKER)


# ---- what this node announces


def announced(seen: Seen, prefix: Prefix) -> Iterator[Step]:
    """Desired, gobgpd, peers."""
    about = seen.about.get(str(prefix))
    if about is None:
        yield from _by_gobgpd(seen, prefix)
        return
    if not about["announced"]:
        what = "this node does not announce it: it is in no subnet or prefix of speaker.toml, and no pod's address"
        yield Step("desired", ERROR, what, "see [announce] in speaker.toml, and that state.follow is true")
        return
    path = about["announced"][0]
    same = path["prefix"] == str(prefix)
    yield Step(
        "desired",
        OK,
        f"announced {'by itself' if same else 'as part of ' + path['prefix']} ({path['announcement']})",
    )
    yield from in_gobgpd(seen, path)


def in_gobgpd(seen: Seen, path: Mapping[str, Any]) -> Iterator[Step]:
    """Whether gobgpd has a path of ours, and which peers may hear of it."""
    if isinstance(seen.speaker, str):
        return
    gobgpd = seen.speaker["gobgpd"]
    if not gobgpd["connected"]:
        yield Step(
            "gobgpd", ERROR, f"it does not answer at {gobgpd['api']}: {gobgpd['trouble']}", START_GOBGPD
        )
        yield Step("peer", SKIPPED, "nobody is told anything by a gobgpd that does not answer")
        return
    if not path["in_gobgpd"]:
        what = (
            f"it does not have {path['prefix']}: {gobgpd['trouble'] or 'the speaker is just at work on it'}"
        )
        yield Step("gobgpd", ERROR, what, "journalctl -u anypod-speaker -u anypod-gobgpd")
        return
    if seen.speaker.get("late"):
        what = f"it had {path['prefix']}, and does not answer within 2 s now: what follows may be old"
        yield Step("gobgpd", WARNING, what, "look again in 15 s")
    else:
        yield Step("gobgpd", OK, f"it has {path['prefix']}")
    yield from told(seen, path["told"], ip_network(path["prefix"]).version)


def told(seen: Seen, peers: Sequence[Mapping[str, Any]], version: int) -> Iterator[Step]:
    """Which peers hear of it; of those that could and are down, why."""
    hear = [one["peer"] for one in peers if one["allowed"] and one["established"]]
    down = [one["peer"] for one in peers if one["allowed"] and not one["established"]]
    if hear:
        yield Step("peer", OK, f"told {_some(hear)}")
    elif not down and any(one["established"] for one in peers):
        what = f"no peer may hear of it: none has a session for IPv{version}, or export rules hold it back"
        yield Step(
            "peer", ERROR, what, "see peer.families, peer.export and announcement.peers in speaker.toml"
        )
    elif not peers:
        yield Step("peer", ERROR, "there is no peer to tell", "add a [[peer]] to speaker.toml; anypod peers")
    yield from _down(seen, down, WARNING if hear else ERROR)


def _down(seen: Seen, names: Sequence[str], state: str) -> Iterator[Step]:
    for one in _named(seen, names)[:SHOWN]:
        what, fix = cause(one)
        yield Step("peer", state, f"{one.name} is down: {what}", fix)


def _named(seen: Seen, names: Sequence[str]) -> list[PeerFacts]:
    return [one for one in seen.peers if one.row["peer"] in names or one.row.get("address") in names]


def _by_gobgpd(seen: Seen, prefix: Prefix) -> Iterator[Step]:
    """Without a speaker: what gobgpd has of its own."""
    found = seen.gobgpd
    if found is None:
        yield Step("desired", UNKNOWN, "only the speaker knows what is to be announced", START_SPEAKER)
        return
    if found.trouble:
        yield Step("gobgpd", ERROR, f"it does not answer at {found.api}: {found.trouble}", START_GOBGPD)
        return
    ours = [one.prefix for one in found.table if one.ours and inside(prefix, (one.prefix,))]
    if not ours:
        yield Step("gobgpd", ERROR, "it has nothing of this node for it", START_SPEAKER)
        return
    best = max(ours, key=lambda one: one.prefixlen)
    yield Step("gobgpd", OK, f"it has {best}, and keeps it while the speaker is away")
    up = [one.peer.key for one in found.peers if one.established]
    if up:
        yield Step("peer", OK, f"established: {_some(up)}")
    yield from _down(
        seen, [one.peer.key for one in found.peers if not one.established], WARNING if up else ERROR
    )


# ---- what others announce


def learned(seen: Seen, prefix: Prefix) -> Iterator[Step]:
    """Peers, gobgpd, what is accepted, the kernel's route."""
    about = seen.about.get(str(prefix))
    version = prefix.version
    peers = [one for one in seen.peers if _speaks(one, version)] or list(seen.peers)
    up = [one for one in peers if one.row["state"] == "established"]
    gobgpd = _answers(seen)
    if gobgpd is not None:
        yield gobgpd
    else:
        yield from _sessions(peers, up)
    entries = about["learned"] if about else _heard(seen, prefix)
    if not entries:
        yield _untold(seen, prefix, gobgpd is None)
    else:
        best = entries[0]
        via = ", ".join(sorted({f"{path['next_hop']} (told by {path['peer']})" for path in best["paths"]}))
        yield Step("gobgpd", OK, f"{best['prefix']} via {via}")
        yield _fate(best)
    yield from in_kernel(seen, prefix)


def _untold(seen: Seen, prefix: Prefix, answers: bool) -> Step:
    what = f"no peer has told a route to {prefix}"
    fix = "see that the node that has it announces it (anypod explain there), and that the racks pass it on"
    if seen.ways.get(str(prefix.network_address), {}).get("kind") == "unicast":
        return Step("gobgpd", WARNING, f"{what}; a route that is not ours takes its packets", fix)
    return Step("gobgpd", ERROR if answers else SKIPPED, what, fix)


def _speaks(one: PeerFacts, version: int) -> bool:
    """A session carries the family of its addresses, where nothing else is said."""
    return (":" in str(one.row.get("address") or one.row["peer"])) == (version == 6)


def _sessions(peers: Sequence[PeerFacts], up: Sequence[PeerFacts]) -> Iterator[Step]:
    if up:
        yield Step("peer", OK, f"established: {_some([one.name for one in up])}")
    elif not peers:
        yield Step(
            "peer",
            ERROR,
            "there is no peer that could tell of it",
            "add a [[peer]] to speaker.toml; anypod peers",
        )
    for one in [one for one in peers if one not in up][:SHOWN]:
        what, fix = cause(one)
        yield Step("peer", WARNING if up else ERROR, f"{one.name} is down: {what}", fix)


def _answers(seen: Seen) -> Step | None:
    """The step that says that gobgpd does not answer; None where it does."""
    if isinstance(seen.speaker, str):
        found = seen.gobgpd
        trouble, api = (found.trouble, found.api) if found else ("", "")
    else:
        gobgpd = seen.speaker["gobgpd"]
        trouble, api = ("" if gobgpd["connected"] else gobgpd["trouble"] or "not connected"), gobgpd["api"]
    if not trouble:
        return None
    return Step("gobgpd", ERROR, f"it does not answer at {api}: {trouble}", START_GOBGPD)


def _heard(seen: Seen, prefix: Prefix) -> list[dict[str, Any]]:
    if seen.gobgpd is None:
        return []
    from speaker.commands.routes import learned as rows

    around = [one for one in seen.gobgpd.table if one.learned and inside(prefix, (one.prefix,))]
    return rows(sorted(around, key=lambda one: -one.prefix.prefixlen))


def _fate(entry: Mapping[str, Any]) -> Step:
    if entry["state"] == "installed":
        return Step("desired", OK, f"{entry['prefix']} is accepted, and its next hop is reached")
    if entry["state"] == "unknown":
        return Step("desired", UNKNOWN, "only the speaker knows whether it is accepted", START_SPEAKER)
    return Step("desired", ERROR, f"{entry['prefix']} is {entry['state']}: {entry['reason']}", entry["fix"])


# ---- the kernel


def in_kernel(seen: Seen, prefix: Prefix) -> Iterator[Step]:
    """Where packets go in the end."""
    text = str(prefix.network_address)
    way = seen.ways.get(text, {})
    kind = way.get("kind")
    if kind == "unicast":
        via = f"via {way['via']} " if way["via"] else ""
        yield Step("kernel", OK, f"packets to {text} leave {via}by {way['dev']}")
    elif kind == "local":
        yield Step("kernel", OK, f"{text} is an address of this node itself")
    elif kind:
        what = f"packets to {text} end here: {way.get('error') or kind}"
        yield Step("kernel", ERROR, what, f"ip route get {text}; anypod routes kernel {text}")


def vip_in_kernel(seen: Seen, prefix: Prefix) -> Iterator[Step]:
    """The route to a VIP's pods of this node."""
    if isinstance(seen.routes, str):
        yield Step("kernel", UNKNOWN, seen.routes, "run this as root")
        return
    rows = [
        row
        for row in seen.routes
        if row["protocol"] == VIPS and row["prefix"] == str(prefix) and row["kind"] == "unicast"
    ]
    if rows:
        ways = [f"{row['via']} by {row['dev']}" for row in rows]
        yield Step("kernel", OK, f"led to {_some(ways)}")
        return
    what = "no route leads to a pod of this node"
    yield Step("kernel", ERROR, what, "see the steps before; journalctl -u anypod-speaker")


def around(seen: Seen, prefix: Prefix) -> list[Mapping[str, Any]]:
    """Our routes in the kernel that have to do with a prefix."""
    if isinstance(seen.routes, str):
        return []
    return [row for row in seen.routes if related(ip_network(row["prefix"]), prefix)]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
