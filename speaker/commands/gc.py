"""`anypod gc`: takes away what pods that are gone have left on this node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from speaker.commands import output as out
from speaker.commands.common import Failure, common, finish

if TYPE_CHECKING:
    from speaker.commands.stale import Stale

COLUMNS = ("what", "name", "network", "why")


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@common
def gc(dry_run: bool, state_dir: str, output: str) -> None:
    """Take away what pods that are gone have left: attachments, links, nftables elements. Needs root.

    Only what is proved to be nobody's goes; what a running pod might use stays, and is named. A state file that was
    lost while pods run is made anew from their links.

    Example: anypod gc --dry-run

    Exit status: 0 done, or nothing to do; 1 it could not be done; 2 a mistake in the call.
    """
    from cni.errors import CniError
    from cni.reader import StateError
    from speaker.commands import stale

    try:
        found = stale.look(state_dir) if dry_run else stale.remove(state_dir)
    except CniError as error:
        raise Failure(error.message) from error
    except StateError as error:
        raise Failure(str(error)) from error
    except PermissionError as error:
        raise Failure(f"{error.strerror}; run this as root") from error
    rows = listed(found)
    kept = [{"link": link.name, "alias": link.alias, "network": link.network()} for link in found.kept]
    document = {"dry_run": dry_run, "removed": rows, "kept": kept, "made_anew": found.anew}
    if not out.structured(document, output):
        _tell(rows, dry_run, found.anew)
        for one in kept:
            click.echo(
                f"{one['link']} stays: no record explains it, and a pod may use it ({out.clean(one['alias'])});"
                " end that pod, then run this again"
            )
    finish(True)


def _tell(rows: list[dict[str, Any]], dry_run: bool, anew: int) -> None:
    if anew:
        click.echo(f"the state file was gone; it is made anew, with {out.count(anew, 'attachment')}")
    if not rows:
        click.echo("nothing is left over")
        return
    click.echo("would be removed:" if dry_run else "removed:")
    out.table(rows, COLUMNS)


def listed(found: Stale) -> list[dict[str, Any]]:
    """A row for each thing. Pure."""
    rows = [
        {
            "what": "attachment",
            "name": f"{container}/{ifname}",
            "network": network,
            "why": "its pod's namespace and its link are gone" if host else "its pod's namespace is gone",
        }
        for container, ifname, network, _, _, _, _, host in found.attachments
    ]
    rows += [
        {
            "what": "link",
            "name": link.name,
            "network": link.network(),
            "why": "its pod was deleted" if link.network() else "its ADD was cut off",
        }
        for link in found.links
    ]
    rows += [
        {"what": "element", "name": f"{one.set_name} {one}", "network": "", "why": "no pod has it"}
        for one in found.elements
    ]
    return rows
