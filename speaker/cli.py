"""The `anypod` command. Loads only what the called sub-command needs: `anypod --help` is quick."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, TypeVar

import click

from speaker.commands.common import debug_option, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from speaker.config.source import Source

F = TypeVar("F", bound="Callable[..., None]")

# Sub-commands that live elsewhere: name -> (module, attribute, what --help says).
ELSEWHERE = {
    "status": ("speaker.commands.status", "status", "How this node is, at a glance."),
    "peers": ("speaker.commands.peers", "peers", "The BGP peers, and how their sessions are."),
    "routes": ("speaker.commands.routes", "routes", "Routes that are announced, learned, in the kernel."),
    "allocations": ("speaker.commands.allocations", "allocations", "Which pod has which addresses."),
    "vips": ("speaker.commands.vips", "vips", "Virtual IPs, and who serves them."),
    "explain": (
        "speaker.commands.explain",
        "explain",
        "Why an address, a prefix or a pod is reached, or not.",
    ),
    "doctor": ("speaker.commands.doctor", "doctor", "What this node needs, and what of it is missing."),
    "gc": ("speaker.commands.gc", "gc", "Take away what pods that are gone have left."),
    "top": ("speaker.commands.top", "top", "Watch peers and virtual IPs, and what changes of them."),
    "drain": (
        "speaker.commands.drain",
        "drain",
        "Move traffic for virtual IPs away from this node or a pod.",
    ),
    "undrain": ("speaker.commands.drain", "undrain", "Take a drain back."),
    "render": (
        "speaker.commands.render",
        "render",
        "A node's files from the configuration of the whole cluster.",
    ),
    "lab": ("lab.cli", "lab", "A lab of nodes, racks and clients in network namespaces; the demo."),
}
# What it does for good is for the journal, with its traceback.
DAEMON = "speaker"


class LazyGroup(click.Group):
    """Lists the sub-commands of ELSEWHERE without importing them, and ends with one line whatever happens in them."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.invoked_subcommand == DAEMON:
                raise
            report(ctx, error)

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
@debug_option
def main() -> None:
    """Pods and anycast addresses by plain routing: a CNI plugin and its BGP speaker.

    Where to begin: anypod status, then anypod doctor, and anypod explain for an address or a pod.

    Exit status of all commands: 0 well, 1 not well or not found, 2 a mistake in the call.
    """


@main.group()
def speaker() -> None:
    """The BGP speaker of this node."""


CONFIG = "/etc/anypod/speaker.toml"
CLUSTER = "/etc/anypod/cluster.toml"


def _sources(command: F) -> F:
    """The options that say which configuration is meant; `_source` puts them together."""
    for option in (
        click.option("--node", metavar="NAME", help="Which node of --cluster; by default this machine."),
        click.option("--cluster", metavar="FILE", help="The cluster's configuration, in place of --config."),
        click.option("--config", metavar="FILE", help=f"The node's configuration.  [default: {CONFIG}]"),
    ):
        command = option(command)
    return command


def _source(config: str | None, cluster: str | None, node: str | None) -> Source:
    if config and cluster:
        raise click.UsageError("--config and --cluster exclude each other; give one")
    if node and not cluster:
        raise click.UsageError("--node chooses a node of a cluster; give --cluster FILE, too")
    from speaker.config.source import Source

    return Source(cluster, cluster=True, node=node or "") if cluster else Source(config or CONFIG)


@speaker.command()
@_sources
def check(config: str | None, cluster: str | None, node: str | None) -> None:
    """Validate a configuration file and do nothing else.

    Example: anypod speaker check --config new.toml

    Exit status: 0 it is right; 2 it is not, each mistake with its fix on a line, or a mistake in the call.
    """
    from speaker.config.checks import ConfigError

    source = _source(config, cluster, node)
    try:
        found = source.load()
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    count = len(found.peers)
    groups = f", {len(found.dynamic)} dynamic" if found.dynamic else ""
    click.echo(f"{source.path}: ok: AS {found.bgp.asn}, {count} peer{'' if count == 1 else 's'}{groups}")


@speaker.command()
@_sources
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Write lines of this level and above to stderr.",
)
def run(config: str | None, cluster: str | None, node: str | None, log_level: str) -> None:
    """Announce this node's addresses and install what peers announce, until SIGTERM.

    The configuration is read again on SIGHUP and when its file changes. What stays when the speaker stops is for
    speaker.on-stop to say.

    Example: anypod speaker run --log-level debug

    Exit status: 0 ended by SIGTERM or SIGINT; 1 it failed; 2 a mistake in the call or the configuration.
    """
    # Its default would end the process; the speaker lets it through as soon as it can reload.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    source = _source(config, cluster, node)
    from speaker.run import run_speaker

    sys.exit(run_speaker(source.load, log_level))


if __name__ == "__main__":
    main()
