"""`anypod lab`: up, demo, status, exec, down."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import click

from lab import netns, rig
from lab.errors import LabError
from lab.load import drive
from lab.service import Service
from lab.topology import Layout, RackKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from lab.runtime import Attachment

NAME_OPTION = click.option(
    "--name", default="lab", show_default=True, help="Which lab; several may stand at a time."
)
RACKS = [kind.value for kind in RackKind]
LAYOUTS = [layout.value for layout in Layout]
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Ended(BaseException):
    """A signal asked for the end; clean up and go."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _cleaning_up() -> Iterator[None]:
    """Makes the first signal an exception, so that what was begun is taken down; further ones are ignored."""

    def end(number: int, _: FrameType | None) -> NoReturn:
        for each in ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise _Ended(number)

    for each in ENDING:
        signal.signal(each, end)
    try:
        yield
    except _Ended as ended:
        click.echo(f"ended by {signal.Signals(ended.number).name}; the lab was taken down", err=True)
        sys.exit(128 + ended.number)
    except LabError as error:
        fail(error)


def fail(error: LabError) -> NoReturn:
    """The end of a command that could not do its work."""
    click.echo(f"anypod lab: {error}", err=True)
    sys.exit(1)


@click.group()
def lab() -> None:
    """Two nodes, a rack and a client in network namespaces of this machine."""


@lab.command()
@NAME_OPTION
@click.option(
    "--topology", "layout", type=click.Choice(LAYOUTS), default="rack", show_default=True, help="What stands."
)
@click.option("--rack", type=click.Choice(RACKS), help="What routes in the racks; gobgp, for anycast frr.")
@click.option("--pods", type=click.IntRange(0, 50), default=1, show_default=True, help="Pods on each node.")
def up(name: str, layout: str, rack: str | None, pods: int) -> None:
    """Bring a lab up, with pods on both nodes. Needs root.

    Example: anypod lab up --rack frr --pods 3

    Exit status: 0 it stands; 1 it does not, and nothing of it is left; 2 a mistake in the call.
    """
    with _cleaning_up():
        kind = RackKind(rack or ("gobgp" if layout == Layout.RACK.value else "frr"))
        rig.require(kind)
        made = rig.new(name, kind, Layout(layout))
        made.claim()
        done = False
        try:
            made.build()
            if sys.stderr.isatty():
                click.echo(
                    f"{', '.join(made.topology.members)} stand, and their programs are started", err=True
                )
            for node in made.topology.nodes:
                for number in range(1, pods + 1):
                    pod = _pod(made, f"{node.name}-{number}", node.name)
                    click.echo(f"pod {pod.pod}: {', '.join(pod.addresses)}")
            done = True
        finally:
            if not done:
                rig.down(name)
        for line in _hint(made):
            click.echo(line)
        click.echo(f"lab {name} is up; routes need some ten seconds. See: anypod lab status --name {name}")


def _pod(made: rig.Lab, name: str, node: str) -> Attachment:
    """A pod, in a lab for anycast one of the service."""
    return Service(made).add(name, node) if made.topology.pools else made.attach(name, node)


def _hint(made: rig.Lab) -> list[str]:
    if not made.topology.pools:
        return []
    vip, port, name = Service(made).vip(4), drive.HTTP_PORT, made.topology.name
    return [f"all have {vip}: anypod lab exec --name {name} client -- curl http://{vip}:{port}/"]


@lab.command()
@NAME_OPTION
@click.option("--keep", is_flag=True, help="Leave the lab up when every step held.")
def demo(name: str, keep: bool) -> None:
    """Show, step by step, that pods reach each other by plain routing. Needs root.

    Example: anypod lab demo --keep

    Exit status: 0 every step held; 1 one did not; 2 a mistake in the call.
    """
    from lab.demonstrate import demonstrate
    from lab.report import Report

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show ✓ shows ?
    with _cleaning_up():
        held = demonstrate(name, Report(), keep=keep)
    sys.exit(0 if held else 1)


@lab.command()
@NAME_OPTION
def status(name: str) -> None:
    """Show members, programs, BGP sessions, routes and pods of a lab.

    Example: anypod lab status --name lab

    Exit status: 0 shown; 1 there is no such lab; 2 a mistake in the call.
    """
    from lab.status import describe

    try:
        for line in describe(rig.standing(name)):
            click.echo(line)
    except LabError as error:
        fail(error)


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@NAME_OPTION
@click.argument("member")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(name: str, member: str, command: tuple[str, ...]) -> None:
    """Run a command in a node, the rack, the client or a pod.

    Example: anypod lab exec node1 -- ip route

    Exit status: the command's; 1 where there is no such lab or member; 2 a mistake in the call.
    """
    try:
        found = rig.standing(name)
        namespace = found.namespace(member)
    except LabError as error:
        fail(error)
    os.environ.update(_settings(found, member))
    os.execvp("ip", netns.inside(namespace, command))  # noqa: S606


def _settings(found: rig.Lab, member: str) -> dict[str, str]:
    """Where the anypod command, run in a router, finds that router's files."""
    if member not in {router.name for router in found.topology.routers}:
        return {}
    place = found.place(member)
    return {
        "ANYPOD_STATE_DIR": str(place.state),
        "ANYPOD_CONFIG": str(place.speaker_toml),
        "ANYPOD_CONFLISTS": str(place.conflists),
    }


@lab.command()
@NAME_OPTION
def down(name: str) -> None:
    """Take a lab down and remove everything of it.

    Example: anypod lab down --name lab

    Exit status: 0 it is down, or was not up; 1 it could not be taken down; 2 a mistake in the call.
    """
    try:
        existed = rig.down(name)
    except LabError as error:
        fail(error)
    click.echo(f"lab {name} is down" if existed else f"lab {name} was not up")
