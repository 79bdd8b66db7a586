"""`anypod doctor`: what this node needs, and what of it is missing."""

from __future__ import annotations

from dataclasses import asdict

import click

from speaker.commands import output as out
from speaker.commands.common import common, config_option, conflists_option, finish


@click.command()
@click.option("--problems", is_flag=True, help="Only what is wrong.")
@common
@config_option
@conflists_option
def doctor(problems: bool, state_dir: str, config: str, conflists: str, output: str) -> None:
    """Look at what this node needs, and say what is missing and how to mend it. Changes nothing.

    Peers that are down are dialled once, and a large packet is sent to the others.

    Example: anypod doctor --problems

    Exit status: 0 all is well, or only warnings; 1 there are errors; 2 a mistake in the call.
    """
    from speaker.doctor.facts import look
    from speaker.doctor.findings import diagnose
    from speaker.doctor.values import Level

    found = list(diagnose(look(state_dir, config, conflists)))
    shown = [one for one in found if not problems or one.level is not Level.OK]
    if not out.structured([{**asdict(one), "level": one.level.value} for one in shown], output):
        for one in shown:
            out.marked(one.level.value, one.what)
            if one.fix:
                click.echo(f"    {one.fix}")
        if not shown:
            click.echo("nothing is wrong")
    finish(all(one.level is not Level.ERROR for one in found))
