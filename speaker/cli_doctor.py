"""`anypod doctor`: what this node needs, and what of it is missing."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

SIGNS = {"ok": "✓", "warning": "!", "error": "✗"}


@click.command()
@click.option(
    "--state-dir", default="/run/anypod", show_default=True, help="Where the speaker keeps its files."
)
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True)
def doctor(state_dir: str, output: str) -> None:
    """Look at what this node needs, and say what is missing and how to mend it. Changes nothing.

    Exit status: 0 all is well, or only warnings; 1 there are errors.
    """
    from speaker.doctor.facts import look
    from speaker.doctor.findings import Level, diagnose

    found = list(diagnose(look(state_dir)))
    if output == "json":
        click.echo(json.dumps([{**asdict(one), "level": one.level.value} for one in found], indent=1))
    else:
        for one in found:
            click.echo(f"{SIGNS[one.level.value]} {one.what}")
            if one.fix:
                click.echo(f"    {one.fix}")
    sys.exit(any(one.level is Level.ERROR for one in found))
