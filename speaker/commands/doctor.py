"""`anypod doctor`: what this node needs, and what of it is missing."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from speaker.commands import output as out
from speaker.commands.common import common


@click.command()
@common
def doctor(state_dir: str, output: str) -> None:
    """Look at what this node needs, and say what is missing and how to mend it. Changes nothing.

    Exit status: 0 all is well, or only warnings; 1 there are errors.
    """
    from speaker.doctor.facts import look
    from speaker.doctor.findings import Level, diagnose

    found = list(diagnose(look(state_dir)))
    if not out.structured([{**asdict(one), "level": one.level.value} for one in found], output):
        for one in found:
            out.marked(one.level.value, one.what)
            if one.fix:
                click.echo(f"    {one.fix}")
    sys.exit(any(one.level is Level.ERROR for one in found))
