"""`anypod peers`: who this node speaks BGP with, and how that goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from speaker.commands import output as out
from speaker.commands.common import Failure, common, config_option, finish

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speaker.bgp import PeerStatus

NOT_THERE = "gobgpd does not have it"
COLUMNS = (
    "peer",
    "asn",
    "state",
    "uptime",
    "received",
    "accepted",
    "advertised",
    "flaps",
    "description",
    "trouble",
)


@click.command()
@click.argument("peer", default="")
@common
@config_option
def peers(peer: str, state_dir: str, config: str, output: str) -> None:
    """Show the BGP peers, or one PEER by its address, interface or description.

    Example: anypod peers 10.0.0.254 -o json

    Exit status: 0 all of them are established; 1 one is not, or there is none of that name; 2 a mistake in the call.
    """
    found, note = look(state_dir, config)
    rows = [row for row in found if not peer or peer in {row["peer"], row["address"], row["description"]}]
    if peer and not rows:
        known = ", ".join(sorted({row["peer"] for row in found})[:20]) or "none at all"
        raise Failure(f"no peer {peer}; there is {known}")
    if not out.structured(rows, output):
        out.table(({**row, "uptime": _uptime(row)} for row in rows), COLUMNS)
        if note:
            click.echo(note, err=True)
    finish(all(is_well(row) for row in rows) and not note)


def look(state_dir: str, config: str) -> tuple[list[dict[str, Any]], str]:
    """The peers as the speaker tells them, else as gobgpd does; a note where it was not the speaker."""
    from speaker.ask import SilentError, ask

    try:
        return rows_of(ask(state_dir)), ""
    except SilentError as error:
        return _without_speaker(config, str(error))


def rows_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The peers of the speaker's document: those that gobgpd has, then those that it lacks. Pure."""
    rows = [{**peer, "trouble": peer["reason"]} for peer in document["peers"]]
    for row in rows:
        row["trouble"] = row["trouble"] or row.get("password", "")
    return rows + [_missing(key, why or NOT_THERE) for key, why in document["missing_peers"].items()]


def _missing(key: str, why: str) -> dict[str, Any]:
    absent = dict.fromkeys(("asn", "uptime", "received", "accepted", "advertised", "flaps"))
    words = {"address": "", "description": "", "reason": why, "trouble": why}
    return {"peer": key, "state": "missing", **absent, **words}


def _without_speaker(config: str, silence: str) -> tuple[list[dict[str, Any]], str]:
    from speaker.commands.direct import api_of, configuration, look

    settings = configuration(config)
    found = look(api_of(settings))
    if found.trouble:
        raise Failure(
            f"the speaker does not answer: {silence}; nor does gobgpd at {found.api}: {found.trouble};"
            " systemctl start anypod-gobgpd anypod-speaker"
        )
    return [
        row_of(status) for status in found.peers
    ], f"the speaker does not answer: {silence}; this is what gobgpd says"


def row_of(status: PeerStatus) -> dict[str, Any]:
    """A peer as gobgpd itself tells it. Pure."""
    return {
        "peer": status.group or status.peer.key,
        "address": status.address,
        "asn": status.peer.options.asn,
        "description": status.peer.description,
        "dynamic": bool(status.group),
        "state": status.state,
        "uptime": int(status.uptime),
        "flaps": None,
        "reason": status.reason,
        "router_id": status.router_id,
        "received": status.received,
        "accepted": status.accepted,
        "advertised": status.advertised,
        "trouble": status.reason,
    }


def is_well(row: Mapping[str, Any]) -> bool:
    """Whether its session is there."""
    return bool(row["state"] == "established")


def _uptime(row: dict[str, Any]) -> str:
    return out.duration(row["uptime"]) if row["state"] == "established" else ""
