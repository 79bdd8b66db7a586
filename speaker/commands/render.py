"""`anypod render`: the files of one node, made from the cluster's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from speaker.commands.common import debug_option

FILES = {"speaker": "speaker.toml", "conflist": "10-anypod.conflist"}


@click.command()
@click.argument("what", type=click.Choice([*FILES, "all"]))
@click.option(
    "--cluster",
    "path",
    default="/etc/anypod/cluster.toml",
    show_default=True,
    metavar="FILE",
    help="The cluster's configuration.",
)
@click.option("--node", default="", metavar="NAME", help="Which of its nodes; by default this machine.")
@click.option("--output", metavar="DIR", help="Write the files there; by default to standard output.")
@debug_option
def render(what: str, path: str, node: str, output: str | None) -> None:
    """Make a node's speaker.toml, conflist, or both from the cluster's configuration.

    Example: anypod render all --node node1 --output /etc/anypod/new

    Exit status: 0 done; 1 a file could not be written; 2 a mistake in the call or the configuration.
    """
    if what == "all" and output is None:
        raise click.UsageError("all is more than one file; give --output DIR, or render one of them")
    from speaker.config import cluster as clusters
    from speaker.config import render as made
    from speaker.config.checks import ChecksWithoutFiles, ConfigError

    texts = {"speaker": made.speaker_toml, "conflist": made.conflist}
    wanted = list(FILES) if what == "all" else [what]
    try:
        cluster = clusters.load(path, ChecksWithoutFiles())
        chosen = clusters.find(cluster, node)
        if what == "all" and not chosen.subnets:  # a reflector without pods
            wanted = ["speaker"]
        files = {FILES[one]: texts[one](cluster, chosen) for one in wanted}
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    for name, text in files.items():
        if output is None:
            click.echo(text, nl=False)
        else:
            _put(Path(output) / name, text)


def _put(path: Path, text: str) -> None:
    """Writes a file whole or not at all; one that says the same already is left alone, so nothing is reloaded."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.is_file() and path.read_bytes() == text.encode():
            click.echo(f"{path}: unchanged", err=True)
            return
        try:
            with new.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        click.echo(f"{path}: not written: {error.strerror}; name another --output", err=True)
        sys.exit(1)
    click.echo(f"{path}: written", err=True)
