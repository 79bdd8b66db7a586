"""`anypod routes`: what this node announces, what it has learned, and what of that is in the kernel."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import click

from speaker.commands import output as out
from speaker.commands.common import common, config_option, finish

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.bgp import Destination, Prefix

WHICH = ("announced", "learned", "kernel")
COLUMNS = {
    "announced": (
        "prefix",
        "next_hop",
        "announcement",
        "in_gobgpd",
        "local_pref",
        "med",
        "link_bandwidth",
        "communities",
    ),
    "learned": ("prefix", "next_hop", "peer", "as_path_length", "local_pref", "med", "state", "reason"),
    "kernel": ("prefix", "kind", "via", "dev", "weight", "metric", "table", "protocol"),
}


@click.command()
@click.argument("which", type=click.Choice(WHICH), required=False)
@click.argument("prefix", default="")
@common
@config_option
def routes(which: str | None, prefix: str, state_dir: str, config: str, output: str) -> None:
    """Show the routes that are announced, learned, or in the kernel; without a word all three.

    With PREFIX (or an address) only those inside it or around it. kernel needs no speaker.

    Example: anypod routes learned 10.244.0.0/16

    Exit status: 0 shown; 1 a PREFIX has none, or they can't be read; 2 a mistake in the call.
    """
    within = parsed(prefix) if prefix else None
    lists: dict[str, list[dict[str, Any]]] = {}
    notes: list[str] = []
    for name in [which] if which else WHICH:
        rows, note = _kernel(within) if name == "kernel" else _bgp(name, within, state_dir, config)
        lists[name] = sorted(rows, key=_order)
        notes += [note] if note and note not in notes else []
    if not out.structured(lists[which] if which else lists, output):
        for name, rows in lists.items():
            title = f"{'' if name == next(iter(lists)) else chr(10)}{name}:" if which is None else ""
            out.table(paths(rows) if name == "learned" else rows, COLUMNS[name], title)
    for note in notes:
        click.echo(note, err=True)
    finish(not notes and (within is None or any(lists.values())))


def parsed(text: str) -> Prefix:
    """A prefix, or an address as one."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise click.UsageError(f"{text}: is no prefix or address; write it like 10.244.1.0/24") from None


def _order(row: dict[str, Any]) -> tuple[int, int, int, int]:
    prefix = ip_network(row["prefix"])
    return prefix.version, int(prefix.network_address), prefix.prefixlen, row.get("metric", 0)


def paths(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each path of the learned prefixes. Pure."""
    return [{**row, **path} for row in rows for path in row["paths"]]


def _kernel(within: Prefix | None) -> tuple[list[dict[str, Any]], str]:
    from speaker.commands.kernel import all_routes

    rows = all_routes(within)
    return ([], rows) if isinstance(rows, str) else (rows, "")


def _bgp(name: str, within: Prefix | None, state_dir: str, config: str) -> tuple[list[dict[str, Any]], str]:
    """As the speaker tells it; without one as gobgpd does, with a note."""
    from speaker.ask import DeafError, SilentError, ask_about, ask_all

    try:
        found = ask_all(state_dir, name, str(within) if within else "")
        if within is not None:
            inside = {row["prefix"] for row in found}
            around = ask_about(state_dir, str(within))[name]
            found = [row for row in around if row["prefix"] not in inside] + found
        return found, ""
    except DeafError as error:
        return [], str(error)
    except SilentError as error:
        return _without_speaker(name, within, config, str(error))


def _without_speaker(
    name: str, within: Prefix | None, config: str, silence: str
) -> tuple[list[dict[str, Any]], str]:
    from speaker.commands.direct import api_of, configuration, look
    from speaker.commands.kernel import related

    found = look(api_of(configuration(config)), None)
    if found.trouble:
        return [], f"the speaker does not answer: {silence}; nor does gobgpd at {found.api}: {found.trouble}"
    table = [entry for entry in found.table if within is None or related(entry.prefix, within)]
    rows = [_ours(entry) for entry in table if entry.ours] if name == "announced" else learned(table)
    return rows, f"the speaker does not answer: {silence}; this is what gobgpd says"


def _ours(entry: Destination) -> dict[str, Any]:
    path = entry.ours
    assert path is not None  # noqa: S101 - of those that the caller chose
    given = path.attributes
    return {
        "prefix": str(entry.prefix),
        "next_hop": "" if path.next_hop.is_unspecified else str(path.next_hop),
        "announcement": "",
        "in_gobgpd": True,
        "local_pref": given.local_pref,
        "med": given.med,
        "link_bandwidth": given.link_bandwidth,
        "communities": [f"{number >> 16}:{number & 0xFFFF}" for number in sorted(given.communities)],
    }


def learned(table: Iterable[Destination]) -> list[dict[str, Any]]:
    """Learned prefixes as gobgpd has them; whether they are in the kernel only the speaker knows. Pure."""
    return [
        {
            "prefix": str(entry.prefix),
            "state": "unknown",
            "reason": "",
            "fix": "",
            "paths": [
                {
                    "next_hop": str(path.next_hop),
                    "interface": path.interface,
                    "peer": path.peer,
                    "local_pref": path.local_pref,
                    "as_path_length": path.as_path_length,
                    "med": path.med,
                    "external": path.external,
                    "stale": path.stale,
                }
                for path in entry.learned
            ],
        }
        for entry in table
        if entry.learned
    ]
