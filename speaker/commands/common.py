"""What all commands have in common: their options, their exit statuses, and errors as one line with the fix."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., None]")

# Exit statuses. Well; something is not well, or was not found; a mistake in the call.
WELL, NOT_WELL, MISTAKEN = 0, 1, 2

STATE_DIR = "/run/anypod"
CONFIG = "/etc/anypod/speaker.toml"
CONFLISTS = "/etc/cni/net.d"
DEBUG = "anypod.debug"


class Failure(click.ClickException):
    """Ends a command with status 1; the message is one line that says what to do."""

    exit_code = NOT_WELL

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's signature
        click.echo(self.message, err=True)


def _note_debug(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().meta[DEBUG] = True


debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    envvar="ANYPOD_DEBUG",
    callback=_note_debug,
    help="After an error, show where in the program it came from.",
)
state_dir_option = click.option(
    "--state-dir",
    default=STATE_DIR,
    show_default=True,
    metavar="DIR",
    envvar="ANYPOD_STATE_DIR",
    help="The node's state directory.",
)
config_option = click.option(
    "--config",
    default=CONFIG,
    show_default=True,
    metavar="FILE",
    envvar="ANYPOD_CONFIG",
    help="The speaker's configuration, for what a speaker that does not answer can't tell.",
)
conflists_option = click.option(
    "--conflists",
    default=CONFLISTS,
    show_default=True,
    metavar="DIR",
    envvar="ANYPOD_CONFLISTS",
    help="Where the runtime finds its networks.",
)
output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "yaml"]),
    default="text",
    show_default=True,
    help="How to write it: for people, or for programs.",
)


def common(command: F) -> F:
    """The options of every command that shows something."""
    for option in (debug_option, output_option, state_dir_option):
        command = option(command)
    return command


def finish(well: bool) -> NoReturn:
    """Ends the command with the status that goes with what was found."""
    sys.exit(WELL if well else NOT_WELL)


def report(ctx: click.Context, error: Exception) -> NoReturn:
    """The end of a command by an error that nobody foresaw: one line, or with --debug all of it."""
    if ctx.find_root().meta.get(DEBUG):
        traceback.print_exception(error, file=sys.stderr)
    else:
        words = f"{type(error).__name__}: {error}".splitlines()[0]
        click.echo(f"anypod: {words}; run it again with --debug, and report that", err=True)
    sys.exit(NOT_WELL)
