"""Every command has a page that names each of its options and arguments, and the exit statuses."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from speaker.cli import ELSEWHERE, main

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).resolve().parents[2] / "docs"
# Commands with a page of their own; all others are in commands.md.
PAGES = {
    "doctor": "doctor.md",
    "explain": "explain.md",
    "drain": "drain.md",
    "undrain": "drain.md",
    "render": "render.md",
    "lab": "lab.md",
    "speaker": "speaker.md",
}
COMMON = (DOCS / "commands.md").read_text(encoding="utf-8")


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        found = group.get_command(ctx, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))
        else:
            yield (*path, name), found


ALL = dict(commands(main))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_stands_on_its_own(path: tuple[str, ...]) -> None:
    found = ALL[path]
    assert found.help
    assert "Exit status: " in found.help
    example = re.search(r"^Example: anypod (.*)$", inspect.cleandoc(found.help), re.MULTILINE)
    assert example
    words = example[1].split()
    assert tuple(words[: len(path)]) == path
    found.make_context(path[-1], words[len(path) :])  # it is a call that is understood
    assert all(option.help for option in found.params if isinstance(option, click.Option))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_is_on_the_commands_page(path: tuple[str, ...]) -> None:
    page = (DOCS / PAGES.get(path[0], "commands.md")).read_text(encoding="utf-8")
    missing = []
    for one in ALL[path].params:
        if isinstance(one, click.Option):
            names = [name for name in (*one.opts, *one.secondary_opts) if name.startswith("--")]
        elif isinstance(one.type, click.Choice):
            names = [str(choice) for choice in one.type.choices]
        else:
            names = [one.make_metavar(click.Context(ALL[path])).strip("[]").split("|")[0].rstrip(".…")]
        # Those that all have are described once.
        missing += [name for name in names if name not in page and f"`{name}" not in COMMON]
    assert missing == []
    assert f"anypod {' '.join(path)}" in page or f"**`{path[-1]}" in page


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_says_what_it_does(path: tuple[str, ...]) -> None:
    assert (ALL[path].help or "").strip().endswith((".", "ip route"))


def test_the_page_lists_every_command() -> None:
    listed = set(re.findall(r"^\| \[?`anypod ([a-z]+)", COMMON, re.MULTILINE))
    assert listed == {path[0] for path in ALL} == {*ELSEWHERE, "speaker"}


def test_the_statuses_that_a_command_names_are_those_of_all() -> None:
    for path, command in ALL.items():
        told = re.findall(r"(?:Exit status:|;)\s+(\d) ", " ".join((command.help or "").split()))
        assert set(told) <= {"0", "1", "2"}, path
