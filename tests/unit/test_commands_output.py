"""What commands write: tables that lose nothing at any width, and documents that programs read."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from speaker.commands import output as out
from speaker.commands.yaml import dump

LONG = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128"
ROWS: list[dict[str, object]] = [
    {"prefix": LONG, "next_hop": "fe80::1234:5678:9abc:def0%eth0", "state": "installed"},
    {"prefix": "10.0.0.0/8", "next_hop": None, "state": "left-out"},
]
COLUMNS = ("prefix", "next_hop", "state")
CELLS = [[out.cell(row[column]) for column in COLUMNS] for row in ROWS]


def test_each_row_is_one_line_and_each_cell_a_word() -> None:
    lines = out.aligned(CELLS, COLUMNS)
    assert [line.split() for line in lines] == [["PREFIX", "NEXT-HOP", "STATE"], *CELLS]
    assert CELLS[1] == ["10.0.0.0/8", "-", "left-out"]
    assert lines[0].index("STATE") == lines[1].index("installed") == lines[2].index("left-out")


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_a_narrow_terminal_folds_and_loses_nothing(width: int) -> None:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(out.rich_table(CELLS, COLUMNS, width))
    text = captured.get()
    assert all(len(line) <= width for line in text.splitlines())
    titles, *lines = text.splitlines()
    assert LONG in "".join(line[: titles.index("NEXT")].strip() for line in lines)
    assert "…" not in text


def test_addresses_stay_in_one_line_where_sentences_can_give_way() -> None:
    rows = [["2001:db8:a::10", "10.244.1.2", "withdrawn", "none of its endpoints here is healthy, of 12"]]
    columns = ("vip", "pod", "state", "reason")
    assert out.fitted(rows, columns, 60) == [14, 10, 9, 21]
    assert out.fitted(rows, columns, 200) == [14, 10, 9, len(rows[0][3])]
    assert out.fitted(rows, columns, 46) == [14, 9, 9, 8]
    assert out.fitted(rows, columns, 20) == [8, 8, 8, 8]


def test_what_pods_are_called_does_nothing_to_the_terminal() -> None:
    assert out.cell("\x1b[31mred\u202e\n") == "?[31mred??"
    table = out.rich_table([["[bold]x[/bold]"]], ["pod"])
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        console.print(table)
    assert "[bold]x[/bold]" in captured.get()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}\n"),
        ([], "[]\n"),
        ({"a": 1, "b": [], "c": None, "d": True}, "a: 1\nb: []\nc: null\nd: true\n"),
        ([{"a": "x y", "b": {"c": ["d", "1"]}}], '- a: "x y"\n  b:\n    c:\n      - d\n      - "1"\n'),
        ([[1, 2], "no", "off", "rack1", ""], '- - 1\n  - 2\n- "no"\n- "off"\n- rack1\n- ""\n'),
        ({"10.0.0.1": "fe80::1", "k: v": "- x"}, '"10.0.0.1": "fe80::1"\n"k: v": "- x"\n'),
    ],
)
def test_yaml(value: object, text: str) -> None:
    assert dump(value) == text


def test_json_is_read_back() -> None:
    import click

    @click.command()
    def show() -> None:
        assert out.structured(ROWS, "json")

    assert json.loads(CliRunner().invoke(show).output) == ROWS


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (61.9, "1m01s"), (3600, "1h00m"), (86399, "23h59m"), (90000, "1d1h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert out.duration(seconds) == text
