"""`anypod status`: how this node is, at a glance."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from speaker.commands import output as out
from speaker.commands.common import common, config_option, finish

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from speaker.commands.direct import Gobgpd
    from speaker.commands.record import State


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the node; `state` is ok, warning, error or unknown."""

    part: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen. `speaker` is its document, or in words why there is none; `gobgpd` was asked in that case only.

    `kernel` is how many routes of ours it has: learned ones, those of virtual IPs.
    """

    speaker: dict[str, Any] | str
    gobgpd: Gobgpd | None
    state: State | str
    kernel: tuple[int, int] | str


@click.command()
@common
@config_option
def status(state_dir: str, config: str, output: str) -> None:
    """Show how this node is: speaker, gobgpd, peers, what is announced, learned and in the kernel, pods, virtual IPs.

    Example: anypod status -o json

    Exit status: 0 all is well; 1 it is not; 2 a mistake in the call.
    """
    parts = list(overview(look(state_dir, config)))
    well = all(one.state != "error" for one in parts)
    if not out.structured({"well": well, "parts": [asdict(one) for one in parts]}, output):
        width = max(len(one.part) for one in parts)
        for one in parts:
            out.marked(one.state, f"{one.part.ljust(width)}  {one.detail}")
        if not well:
            click.echo("anypod doctor says what to do about it", err=True)
    finish(well)


def look(state_dir: str, config: str) -> Facts:
    """Asks the speaker, gobgpd where that is silent, the state file, and the kernel."""
    from speaker.ask import SilentError, ask
    from speaker.commands.kernel import count_routes
    from speaker.commands.record import read_or_why
    from speaker.commands.vips import look as all_vips

    gobgpd = None
    speaker: dict[str, Any] | str
    try:
        speaker = ask(state_dir)
        if speaker["virtual_ips"] > len(speaker["vips"]):
            speaker["vips"], _ = all_vips(state_dir)
    except SilentError as error:
        from speaker.commands.direct import api_of, configuration
        from speaker.commands.direct import look as look_at

        speaker = str(error)
        gobgpd = look_at(api_of(configuration(config)))
    return Facts(speaker, gobgpd, read_or_why(state_dir), count_routes())


# ---- what it means. Pure.


def overview(facts: Facts) -> Iterator[Part]:
    """A line for each part of the node, good ones too."""
    if isinstance(facts.speaker, str):
        yield Part("speaker", "error", f"does not answer: {facts.speaker}")
        if facts.gobgpd is not None:
            yield from _gobgpd_alone(facts.gobgpd)
    else:
        yield from _spoken(facts.speaker)
    yield _kernel(facts)
    yield _pods(facts.state)


def _spoken(document: dict[str, Any]) -> Iterator[Part]:
    refused = document["configuration"]["refused"]
    loaded = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(document["configuration"]["loaded"]))
    who = f"AS {document['asn']}, router id {document['router_id']}"
    if refused:
        yield Part(
            "speaker",
            "error",
            f"{who}; its configuration is refused: {refused}; in force is that of {loaded}",
        )
    elif waiting := document["configuration"].get("waiting"):
        changed = ", ".join(waiting)
        yield Part(
            "speaker", "warning", f"{who}, configuration of {loaded}; {changed} is changed by a restart only"
        )
    else:
        yield Part("speaker", "ok", f"{who}, configuration of {loaded}")
    gobgpd = document["gobgpd"]
    if gobgpd["connected"] and document.get("late"):
        yield Part(
            "gobgpd", "warning", f"{gobgpd['api']}, does not answer within 2 s; what follows may be old"
        )
    elif gobgpd["connected"] and gobgpd["in_step"]:
        yield Part("gobgpd", "ok", f"{gobgpd['api']}, has all it should")
    else:
        trouble = gobgpd["trouble"] or "the speaker is just at work on it"
        yield Part("gobgpd", "error" if gobgpd["trouble"] else "warning", f"{gobgpd['api']}: {trouble}")
    up = [peer for peer in document["peers"] if peer["state"] == "established"]
    down = [peer["peer"] for peer in document["peers"] if peer["state"] != "established"]
    yield _peers(len(up), [*down, *document["missing_peers"]])
    yield _announced(document)
    yield _vips(document)
    yield _learned(document)
    if document["drains"]:
        yield Part("drains", "warning", ", ".join(_drain(one) for one in document["drains"]))


def _peers(up: int, down: Sequence[str]) -> Part:
    total = up + len(down)
    if not total:
        return Part("peers", "warning", "none is configured")
    detail = f"{up} of {total} established"
    return Part(
        "peers", "error" if down else "ok", f"{detail}; down: {', '.join(down[:10])}" if down else detail
    )


def _announced(document: dict[str, Any]) -> Part:
    return Part("announced", "ok", out.count(document["announced"], "prefix", "prefixes"))


def _vips(document: dict[str, Any]) -> Part:
    from speaker.commands.vips import is_well

    shown = document["vips"]
    bad = [one["vip"] for one in shown if not is_well(one)]
    states: dict[str, int] = {}
    for one in shown:
        states[one["state"]] = states.get(one["state"], 0) + 1
    words = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    detail = f"{len(shown)}: {words}" if shown else "none"
    if bad:
        return Part("virtual IPs", "error", f"{detail}; not served: {', '.join(bad[:10])}")
    return Part("virtual IPs", "ok", detail)


def _learned(document: dict[str, Any]) -> Part:
    routes = document["routes"]
    detail = f"{out.count(document['learned'], 'prefix', 'prefixes')}, {routes['installed']} installed"
    wrong = [
        f"{routes[key]} {words}"
        for key, words in (
            ("refused", "refused by the kernel"),
            ("unreachable", "next hops unreachable"),
            ("beyond_maximum", "beyond accept.maximum"),
            ("stale", "stale"),
        )
        if routes[key]
    ]
    return Part("learned", "warning" if wrong else "ok", ", ".join([detail, *wrong]))


def _drain(one: dict[str, Any]) -> str:
    what = "this node" if one["scope"] == "node" else f"{one['scope']} {one['name']}"
    return f"{what} {'drained' if one['done'] else one['phase']}"


def _gobgpd_alone(found: Gobgpd) -> Iterator[Part]:
    if found.trouble:
        yield Part("gobgpd", "error", f"{found.api}: {found.trouble}")
        return
    if found.identity is None:
        yield Part("gobgpd", "error", f"{found.api} answers and was not started: a speaker has to do that")
        return
    yield Part("gobgpd", "ok", f"{found.api} answers, AS {found.identity.asn}; it keeps what it has")
    up = [one for one in found.peers if one.established]
    yield _peers(len(up), [one.peer.key for one in found.peers if not one.established])


def _kernel(facts: Facts) -> Part:
    if isinstance(facts.kernel, str):
        return Part("kernel", "unknown", facts.kernel)
    learned, vips = facts.kernel
    return Part("kernel", "ok", f"{out.count(learned, 'learned route')}, {vips} of virtual IPs")


def _pods(state: State | str) -> Part:
    if isinstance(state, str):
        missing = state.startswith("there is no state file")
        return Part("pods", "ok" if missing else "error", f"none: {state}" if missing else state)
    full = [f"{one.network} {one.range}" for one in state.usage if one.used >= one.size]
    detail = out.count(len(state.allocations), "attachment")
    return Part(
        "pods", "warning" if full else "ok", f"{detail}; full: {', '.join(full[:5])}" if full else detail
    )
