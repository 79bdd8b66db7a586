"""`anypod explain`: the whole chain behind an address, a prefix or a pod, and the first thing that is missing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from speaker.commands import output as out
from speaker.commands.common import common, config_option, finish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speaker.explain.values import Step


@click.command()
@click.argument("target", metavar="ADDRESS|PREFIX|POD")
@common
@config_option
def explain(target: str, state_dir: str, config: str, output: str) -> None:
    """Show why an address, a prefix or a pod is reached, or what is missing first and how to mend it.

    POD is NAMESPACE/NAME, the name alone, or the beginning of the container's id. Changes nothing; peers that are down
    are dialled once.

    Example: anypod explain 10.244.1.5

    Exit status: 0 the chain is whole; 1 something is missing; 2 a mistake in the call.
    """
    from speaker.explain.chains import explain as chain_of
    from speaker.explain.facts import find, look
    from speaker.explain.values import first_missing

    found = find(target, state_dir)
    steps = chain_of(look(found, state_dir, config), found)
    missing = first_missing(steps)
    document = {
        "target": target,
        "well": missing is None,
        "cause": missing.what if missing else "",
        "fix": missing.fix if missing else "",
        "steps": [asdict(one) for one in steps],
    }
    if not out.structured(document, output):
        _tell(target, steps, missing)
    finish(missing is None)


def _tell(target: str, steps: Sequence[Step], missing: Step | None) -> None:
    width = max(len(one.step) for one in steps)
    of = ""
    for one in steps:
        if one.of not in {of, target}:
            click.echo(f"{one.of}:")
        of = one.of
        out.marked(one.state, f"{one.step.ljust(width)}  {one.what}")
    if missing is not None:
        click.echo(f"\ncause: {out.clean(missing.what)}")
        if missing.fix:
            click.echo(f"fix:   {out.clean(missing.fix)}")
