"""`anypod top`: a node as it lives: peers, virtual IPs, and what changed while one looks."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import click

from speaker.commands import output as out
from speaker.commands.common import NOT_WELL, debug_option, state_dir_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

PEERS = ("peer", "asn", "state", "uptime", "received", "accepted", "advertised", "flaps", "trouble")
VIPS = ("vip", "pool", "state", "serving", "endpoints", "reason")
# Changes that are kept, and lines that are left for anything but the tables.
KEPT = 200
FRAME = 8


@click.command()
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--count", type=click.IntRange(min=1), help="End after so many looks; by default with Ctrl-C.")
@state_dir_option
@debug_option
def top(interval: float, count: int | None, state_dir: str) -> None:
    """Watch peers, virtual IPs and routes, and what changes of them. Ends with Ctrl-C.

    Where the output is no terminal, each look is written below the one before.

    Example: anypod top --interval 5

    Exit status: 0 the speaker answered at the last look; 1 it did not; 2 a mistake in the call.
    """
    looks = _looks(state_dir, interval, count)
    try:
        answered = _live(looks) if sys.stdout.isatty() else _plain(looks)
    except KeyboardInterrupt:
        return
    sys.exit(0 if answered else NOT_WELL)


def _looks(
    state_dir: str, interval: float, count: int | None
) -> Iterator[tuple[dict[str, Any] | str, list[str]]]:
    """What the speaker says each time, or why it says nothing, with the changes so far, the last one first."""
    from speaker.ask import SilentError, ask

    before: dict[str, Any] | str | None = None
    changes: deque[str] = deque(maxlen=KEPT)
    done = 0
    while True:
        now: dict[str, Any] | str
        try:
            now = ask(state_dir)
        except SilentError as error:
            now = str(error)
        if before is not None:
            at = time.strftime("%H:%M:%S")
            changes.extendleft(f"{at}  {one}" for one in differences(before, now))
        before = now
        yield now, list(changes)
        done += 1
        if count is not None and done >= count:
            return
        time.sleep(interval)


def _plain(looks: Iterator[tuple[dict[str, Any] | str, list[str]]]) -> bool:
    answered = False
    for now, changes in looks:
        answered = not isinstance(now, str)
        click.echo(f"{time.strftime('%H:%M:%S')}  {heading(now)}")
        if not isinstance(now, str):
            for rows, columns in ((peer_rows(now), PEERS), (vip_rows(now), VIPS)):
                click.echo("\n".join(out.aligned(_cells(rows, columns), columns)))
        for one in changes:
            click.echo(one)
        click.echo()
    return answered


def _live(looks: Iterator[tuple[dict[str, Any] | str, list[str]]]) -> bool:
    from rich.live import Live

    answered = False
    console = out.console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for now, changes in looks:
            answered = not isinstance(now, str)
            live.update(screen(now, changes, console.width, console.height), refresh=True)
    return answered


def screen(now: dict[str, Any] | str, changes: Sequence[str], width: int, height: int) -> RenderableType:
    """One screenful: what does not fit is counted."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(heading(now), style="bold"), Text("")]
    if not isinstance(now, str):
        room = max(2, (height - FRAME) // 3)
        for rows, columns in ((peer_rows(now), PEERS), (vip_rows(now), VIPS)):
            parts.append(out.rich_table(_cells(rows[:room], columns), columns, width))
            if len(rows) > room:
                parts.append(Text(f"and {len(rows) - room} more", style="dim"))
            parts.append(Text(""))
    room = max(1, height // 4)
    parts.append(Text("changes", style="bold"))
    parts += [Text(out.clean(one)) for one in changes[:room]]
    return Group(*parts)


def _cells(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[list[str]]:
    return [[out.cell(row.get(column)) for column in columns] for row in rows]


# ---- what is shown. Pure.


def heading(now: dict[str, Any] | str) -> str:
    """The node in a line."""
    if isinstance(now, str):
        return f"the speaker does not answer: {now}"
    gobgpd, routes = now["gobgpd"], now["routes"]
    state = "in step" if gobgpd["in_step"] else gobgpd["trouble"] or "at work"
    return (
        f"AS {now['asn']}  gobgpd {state}  announced {now['announced']}  learned {now['learned']}"
        f"  installed {routes['installed']}  refused {routes['refused']}  virtual IPs {now['virtual_ips']}"
    )


def peer_rows(now: dict[str, Any]) -> list[dict[str, Any]]:
    """The peers, those that are down first."""
    from speaker.commands.peers import is_well, rows_of

    rows = sorted(rows_of(now), key=lambda row: (is_well(row), str(row["peer"])))
    return [{**row, "uptime": out.duration(row["uptime"]) if is_well(row) else ""} for row in rows]


def vip_rows(now: dict[str, Any]) -> list[dict[str, Any]]:
    """The virtual IPs, those that are not announced first."""
    from speaker.commands.vips import is_well

    rows = sorted(now["vips"], key=lambda row: (is_well(row), str(row["vip"])))
    return [{**row, "endpoints": len(row["endpoints"])} for row in rows]


def differences(before: dict[str, Any] | str, now: dict[str, Any] | str) -> list[str]:
    """What changed between two looks, in words."""
    if isinstance(before, str) or isinstance(now, str):
        if isinstance(before, str) and isinstance(now, str):
            return []
        return ["the speaker does not answer" if isinstance(now, str) else "the speaker answers"]
    return [
        *_changed("peer", _peers(before), _peers(now)),
        *_changed("virtual IP", _vips(before), _vips(now)),
        *_changed("endpoint", _endpoints(before), _endpoints(now)),
        *_numbers(before, now),
    ]


def _changed(what: str, before: dict[str, str], now: dict[str, str]) -> list[str]:
    found = [
        f"{what} {name}: {before[name]} → {now[name]}"
        for name in now
        if before.get(name, now[name]) != now[name]
    ]
    found += [f"{what} {name}: {now[name]} (new)" for name in now if name not in before]
    return found + [f"{what} {name}: gone" for name in before if name not in now]


def _peers(document: dict[str, Any]) -> dict[str, str]:
    return {str(one["address"] or one["peer"]): str(one["state"]) for one in document["peers"]}


def _vips(document: dict[str, Any]) -> dict[str, str]:
    return {str(one["vip"]): _because(one["state"], one["reason"]) for one in document["vips"]}


def _endpoints(document: dict[str, Any]) -> dict[str, str]:
    return {
        f"{vip['vip']} {one['pod']}": _because(one["health"], one["error"])
        for vip in document["vips"]
        for one in vip["endpoints"]
    }


def _because(state: str, why: str) -> str:
    return f"{state} ({why})" if why else state


def _numbers(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        f"{key}: {before[key]} → {now[key]} prefixes"
        for key in ("announced", "learned")
        if before[key] != now[key]
    ]
