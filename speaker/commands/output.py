"""How commands show things: tables for people, JSON and YAML for programs.

On a terminal rich draws the tables: in colour, and folded where the terminal is narrower. Elsewhere each row is one
line with two spaces between columns, however long it is: nothing is cut off, and a line is a record for grep and awk.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table

    Row = Mapping[str, object]

NOTHING = "-"
# Characters that a folded column keeps.
NARROWEST = 8
# Between two columns.
GAP = 2
SIGNS = {"ok": "✓", "warning": "!", "error": "✗", "unknown": "?", "skipped": "·"}
PLAIN_SIGNS = {"✓": "ok", "✗": "error", "·": "."}
_STYLES = {
    "green": ("ok", "established", "up", "announced", "installed", "yes", "serving", "adopted", "✓"),
    "red": ("error", "withdrawn", "down", "refused", "missing", "unreachable", "no", "✗"),
    "yellow": (
        "warning",
        "depreferred",
        "leaving",
        "unknown",
        "active",
        "connect",
        "idle",
        "opensent",
        "openconfirm",
        "!",
    ),
    "dim": ("gone", "left-out", "skipped", "·", NOTHING),
}
STYLES = {word: style for style, words in _STYLES.items() for word in words}


def structured(value: object, output: str) -> bool:
    """Writes a value as `output` says, json or yaml; False for text, which is the caller's to write."""
    if output == "json":
        click.echo(json.dumps(value, indent=1))
    elif output == "yaml":
        from speaker.commands.yaml import dump

        click.echo(dump(value), nl=False)
    else:
        return False
    return True


def clean(text: str) -> str:
    """Without what a terminal takes for more than a sign: names come from whoever made the pod."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in text)


def cell(value: object) -> str:
    """A value as it stands in a table."""
    if value is None or value in ("", [], ()):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(map(cell, value))
    return clean(str(value))


def head(column: str) -> str:
    """The title of a column: its name in JSON in capitals, in one word."""
    return column.upper().replace("_", "-")


def table(rows: Iterable[Row], columns: Sequence[str], title: str = "") -> None:
    """Writes rows with these columns, and nothing but `title` where there are none."""
    cells = [[cell(row.get(column)) for column in columns] for row in rows]
    if title:
        click.echo(title)
    if not cells:
        click.echo("none")
    elif sys.stdout.isatty():
        draw(rich_table(cells, columns))
    else:
        for line in aligned(cells, columns):
            click.echo(line)


def aligned(cells: Sequence[Sequence[str]], columns: Sequence[str]) -> list[str]:
    """The rows as lines, each column as wide as its widest cell."""
    lines = [[head(column) for column in columns], *cells]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def console(**options: Any) -> Console:
    """Where rich writes; it knows NO_COLOR and terminals that can't do colours."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, **options)


def draw(thing: object) -> None:
    """Writes something of rich's to the terminal."""
    console().print(thing)


def rich_table(cells: Sequence[Sequence[str]], columns: Sequence[str], width: int = 0) -> Table:
    """The rows as rich draws them: a cell that is too wide goes on in the next line. Width 0: the terminal's."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column, wide in zip(columns, fitted(cells, columns, width or console().width), strict=True):
        made.add_column(head(column), overflow="fold", width=wide)
    for line in cells:
        made.add_row(*(Text(text, style=STYLES.get(text, "")) for text in line))
    return made


def fitted(cells: Sequence[Sequence[str]], columns: Sequence[str], room: int) -> list[int]:
    """How wide each column is: none narrower than it must be, then the first has what it needs, then words before
    sentences and narrow ones before wide ones, as far as there is room. Pure.
    """
    every = range(len(columns))
    widths = [max(map(len, (head(columns[one]), *column_of(cells, one)))) for one in every]
    sentences = [any(" " in text for text in column_of(cells, one)) for one in every]
    found = [min(width, NARROWEST) for width in widths]
    left = max(0, room - sum(found) - GAP * (len(columns) - 1))
    for one in sorted(every, key=lambda one: (sentences[one], one != 0, widths[one])):
        more = min(left, widths[one] - found[one])
        found[one] += more
        left -= more
    return found


def column_of(cells: Sequence[Sequence[str]], index: int) -> Iterator[str]:
    """The cells of a column."""
    return (line[index] for line in cells)


def marked(state: str, text: str) -> None:
    """A line with a sign in front that says how things are: ok, warning, error, unknown, skipped."""
    sign = SIGNS[state]
    if sys.stdout.isatty():
        from rich.text import Text

        console(soft_wrap=True).print(Text.assemble((sign, STYLES[sign]), " ", clean(text)))
        return
    try:
        sign.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        sign = PLAIN_SIGNS[sign]
    click.echo(f"{sign} {clean(text)}")


def duration(seconds: float) -> str:
    """A time as people say it, in two units at most: 45s, 3m12s, 5h02m, 12d4h."""
    whole = int(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d{hours % 24}h"
    if hours:
        return f"{hours}h{minutes % 60:02}m"
    return f"{minutes}m{whole % 60:02}s" if minutes else f"{whole}s"


def count(number: int, thing: str, things: str = "") -> str:
    """`1 peer`, `2 peers`."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"
