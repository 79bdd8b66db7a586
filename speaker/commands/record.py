"""The plugin's state file as operators look at it: who has which addresses, and how full the ranges are."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cni.allocation import fetch, fetch_vips
from cni.jsonio import parse
from cni.network import load, to_bytes
from cni.reader import VIPS_SINCE, StateError, StateReader
from cni.statefile import FILE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni.allocation import Allocation
    from cni.network import Network, Range
    from cni.sqlite import Connection

# The form of the state file that first had names of pods.
PODS_SINCE = 2


@dataclass(frozen=True, slots=True)
class Usage:
    """How many of a range's addresses pods have, of those that they can have."""

    network: str
    range: str
    used: int
    size: int


@dataclass(slots=True)
class State:
    """What the file says. `networks` are as the plugin remembers them, the last one of each name."""

    allocations: list[Allocation]
    created: dict[tuple[str, str], int]
    networks: list[Network]
    usage: list[Usage]

    def age(self, one: Allocation) -> float | None:
        """Seconds since its ADD; None where that is not known."""
        at = self.created.get((one.container, one.ifname), 0)
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - at / 1e9) if at else None


def read(state_dir: str) -> State | None:
    """What the file says now, None where there is none; StateError where it can't be read."""
    return StateReader(state_dir).look(_read)


def is_there(state_dir: str) -> bool:
    """Whether there is a state file; what may not be looked at may be there."""
    try:
        os.stat(f"{state_dir}/{FILE}")
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def read_or_why(state_dir: str) -> State | str:
    """The same; in words why it can't be read or is not there."""
    try:
        found = read(state_dir)
    except StateError as error:
        return str(error)
    return found if found is not None else f"there is no state file in {state_dir}"


def _read(db: Connection, version: int) -> State:
    allocations = fetch(db)
    if version >= VIPS_SINCE:
        fetch_vips(db, allocations)
    created: dict[tuple[str, str], int] = {}
    if version >= PODS_SINCE:
        by_owner = {(one.container, one.ifname): one for one in allocations}
        query = "SELECT container, ifname, pod, created, ipam, netns_inode, detail FROM attachment"
        for container, ifname, pod, at, ipam, inode, detail in db.execute(query).fetchall():
            created[container, ifname] = at
            one = by_owner.get((container, ifname))
            if one is not None:
                # A runtime without namespaces, as Podman is, gives a name alone.
                one.pod, one.ipam, one.netns_inode = str(pod).removeprefix("/"), ipam, inode
                found = parse(detail) if detail else None
                one.detail = found if isinstance(found, dict) else {}
    networks = _networks(row[0] for row in db.execute("SELECT compiled FROM network").fetchall())
    return State(
        allocations, created, networks, [_usage(db, net, one) for net in networks for one in net.ranges()]
    )


def _networks(compiled: Iterable[str]) -> list[Network]:
    """Each configuration that was ever seen is remembered; of alike ones one is shown."""
    found: dict[tuple[str, str, tuple[str, ...]], Network] = {}
    for text in compiled:
        net = load(parse(text))
        found[net.name, net.bridge, tuple(map(str, net.ranges()))] = net
    return sorted(found.values(), key=lambda net: net.name)


def _usage(db: Connection, net: Network, one: Range) -> Usage:
    first, last = to_bytes(one.first, one.family), to_bytes(one.last, one.family)
    query = (
        "SELECT count(*) FROM address WHERE network = ? AND family = ? AND ip BETWEEN ? AND ?"
        " AND container IS NOT NULL"
    )
    used = db.execute(query, (net.name, one.family, first, last)).fetchone()[0]
    size = one.last - one.first + 1 - (one.first <= one.gateway <= one.last)
    return Usage(net.name, str(one), used, size)
