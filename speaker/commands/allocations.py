"""`anypod allocations`: which pod has which addresses, and how full the ranges are."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import TYPE_CHECKING, Any

import click

from speaker.commands import output as out
from speaker.commands.common import Failure, common, finish

if TYPE_CHECKING:
    from cni.allocation import Allocation
    from speaker.commands.record import State

COLUMNS = ("pod", "container", "ifname", "network", "addresses", "vips", "link", "age")
RANGES = ("network", "range", "used", "free", "size")
# Of a container's id; more is in JSON.
SHORT = 12


@click.command()
@click.argument("which", metavar="[POD|ADDRESS]", default="")
@click.option(
    "--ranges", is_flag=True, help="How full the ranges of addresses are, in place of who has them."
)
@common
def allocations(which: str, ranges: bool, state_dir: str, output: str) -> None:
    """Show which pod has which addresses, from the plugin's state file. Needs neither speaker nor gobgpd.

    With POD (NAMESPACE/NAME or a container's id, also the beginning of one) or ADDRESS only what fits.

    Example: anypod allocations default/web

    Exit status: 0 shown; 1 nothing fits, or the state file can't be read; 2 a mistake in the call.
    """
    from cni.reader import StateError
    from speaker.commands.record import read

    try:
        state = read(state_dir)
    except StateError as error:
        raise Failure(str(error)) from None
    if ranges:
        rows = usage(state) if state else []
        if not out.structured(rows, output):
            out.table(rows, RANGES)
        finish(True)
    rows = [row(one, state) for one in state.allocations if not which or fits(one, which)] if state else []
    if which and not rows:
        raise Failure(f"nothing here has {which}; all is shown by: anypod allocations")
    if not out.structured(rows, output):
        out.table((_short(one) for one in rows), COLUMNS)
    finish(True)


def row(one: Allocation, state: State) -> dict[str, Any]:
    """An attachment in values that JSON has."""
    return {
        "pod": one.pod,
        "container": one.container,
        "ifname": one.ifname,
        "network": one.network,
        "addresses": list(one.addresses),
        "vips": [vip.ip for vip in one.vips],
        "link": one.host_ifname,
        "netns": one.netns,
        "ipam": one.ipam,
        "age": state.age(one),
    }


def fits(one: Allocation, which: str) -> bool:
    """Whether an attachment is meant by a pod's name, a container's id or its beginning, or an address."""
    addresses = {str(ip_interface(text).ip) for text in one.addresses} | {vip.ip for vip in one.vips}
    try:
        which = str(ip_interface(which).ip)
    except ValueError:
        name = one.pod.partition("/")[2]
        return bool(which) and (which in {one.pod, name} or one.container.startswith(which))
    return which in addresses


def usage(state: State) -> list[dict[str, Any]]:
    """The ranges, and how many of their addresses pods have."""
    return [
        {
            "network": one.network,
            "range": one.range,
            "used": one.used,
            "free": max(0, one.size - one.used),
            "size": one.size,
        }
        for one in state.usage
    ]


def _short(found: dict[str, Any]) -> dict[str, Any]:
    age = found["age"]
    return {
        **found,
        "container": found["container"][:SHORT],
        "age": None if age is None else out.duration(age),
    }
