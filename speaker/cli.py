"""The `anypod` command. Loads only what the called sub-command needs: `anypod --help` is quick."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import click

# Sub-commands that live elsewhere: name -> (module, attribute, what --help says).
ELSEWHERE = {
    "lab": ("lab.cli", "lab", "A lab of nodes, racks and clients in network namespaces; the demo."),
}


class LazyGroup(click.Group):
    """Lists the sub-commands of ELSEWHERE without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, attribute, _ = ELSEWHERE[cmd_name]
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{attribute} is no click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        own = [(name, command.get_short_help_str(80)) for name, command in self.commands.items()]
        rows = sorted([*own, *((name, text) for name, (_, _, text) in ELSEWHERE.items())])
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _version() -> str:
    try:
        return version("anypod")
    except PackageNotFoundError:
        return "unknown (not installed)"


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"anypod {_version()}")
        ctx.exit()


@click.group(cls=LazyGroup)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Pods and anycast addresses by plain routing: a CNI plugin and its BGP speaker."""


@main.group()
def speaker() -> None:
    """The BGP speaker of this node."""


_config = click.option(
    "--config",
    "path",
    default="/etc/anypod/speaker.toml",
    show_default=True,
    metavar="FILE",
    help="The configuration file.",
)


@speaker.command()
@_config
def check(path: str) -> None:
    """Validate a configuration file and do nothing else."""
    from speaker.config import ConfigError, load

    try:
        config = load(path)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    count = len(config.peers)
    click.echo(f"{path}: ok: AS {config.bgp.asn}, {count} peer{'' if count == 1 else 's'}")


@speaker.command()
@_config
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Write lines of this level and above to stderr.",
)
def run(path: str, log_level: str) -> None:
    """Announce this node's addresses and install what peers announce, until SIGTERM.

    When it stops, paths and routes stay: the next start adopts them.
    """
    from speaker.config import ConfigError, load

    try:
        config = load(path)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    from speaker.run import run_speaker

    sys.exit(run_speaker(config, log_level))


if __name__ == "__main__":
    main()
