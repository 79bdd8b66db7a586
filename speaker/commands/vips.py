"""`anypod vips`: the virtual IPs of this node, who serves them, and what peers are told."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import click

from speaker.commands import output as out
from speaker.commands.common import Failure, common, finish

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cni.allocation import Allocation

COLUMNS = ("vip", "pool", "state", "announced", "serving", "endpoints", "reason")
ENDPOINTS = ("vip", "pod", "address", "weight", "health", "drain", "check", "error")


@click.command()
@click.argument("vip", default="")
@click.option("--endpoints", is_flag=True, help="A line for each pod that serves one.")
@common
def vips(vip: str, endpoints: bool, state_dir: str, output: str) -> None:
    """Show the virtual IPs of this node, or one VIP with its endpoints.

    Example: anypod vips 198.51.100.10

    Exit status: 0 all are announced, or drained on purpose; 1 one is not, is not served here, or the speaker does not
    answer; 2 a mistake in the call.
    """
    wanted = _address(vip) if vip else ""
    rows, note = look(state_dir)
    rows = sorted((row for row in rows if not wanted or row["vip"] == wanted), key=_order)
    if wanted and not rows:
        raise Failure(f"no pod of this node serves {wanted}; anypod explain {wanted} says why")
    if not out.structured(rows, output):
        if endpoints or wanted:
            out.table(each_endpoint(rows), ENDPOINTS)
        else:
            out.table(({**row, "endpoints": len(row["endpoints"])} for row in rows), COLUMNS)
    if note:
        click.echo(note, err=True)
    finish(not note and all(is_well(row) for row in rows))


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise click.UsageError(f"{text}: is no IP address; write it like 198.51.100.10") from None


def _order(row: dict[str, Any]) -> tuple[int, int]:
    vip = ip_address(row["vip"])
    return vip.version, int(vip)


def look(state_dir: str) -> tuple[list[dict[str, Any]], str]:
    """The VIPs as the speaker tells them, else as the state file does, with a note."""
    from speaker.ask import DeafError, SilentError, ask, ask_all

    try:
        try:
            return ask_all(state_dir, "virtual-ips"), ""
        except DeafError:
            return list(ask(state_dir).get("vips", [])), ""
    except SilentError as error:
        silence = f"the speaker does not answer: {error}; this is what the state file says"
    from cni.reader import StateError, StateReader

    try:
        return recorded(StateReader(state_dir).allocations()), silence
    except StateError as error:
        raise Failure(f"{silence}: nothing, for {error}") from None


def recorded(allocations: Iterable[Allocation]) -> list[dict[str, Any]]:
    """The VIPs that the state file has; nothing is known of their health. Pure."""
    found: dict[str, dict[str, Any]] = {}
    for one in allocations:
        for held in one.vips:
            row = found.setdefault(
                held.ip,
                {
                    "vip": held.ip,
                    "pool": held.pool,
                    "state": "unknown",
                    "reason": "",
                    "announced": None,
                    "serving": None,
                    "endpoints": [],
                },
            )
            row["endpoints"].append(
                {
                    "pod": one.pod or one.container,
                    "container": one.container,
                    "address": held.via,
                    "weight": held.weight,
                    "health": "unknown",
                }
            )
    return list(found.values())


def each_endpoint(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each endpoint; a way that the kernel does not have counts as its error."""
    return [
        {"vip": row["vip"], **one, "error": one.get("error") or one.get("unreachable")}
        for row in rows
        for one in row["endpoints"]
    ]


def is_well(row: Mapping[str, Any]) -> bool:
    """Whether it is announced, or was taken back by a drain."""
    drained = row["reason"] in {"drained", "draining", "its last pods are draining"}
    return row["state"] == "announced" or drained
