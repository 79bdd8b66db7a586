"""What virtual IPs do, measured in labs with FRR as racks and spine.

    sudo python -m bench.anycast [--runs 100] [--quick] [--json FILE] [ITEM…]

Times are this machine's and this hour's. Each item brings up a lab of its own and takes it down.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.anycast import draining, failover, flows, numbers, reach, sharing
from bench.anycast.rows import rows
from bench.anycast.stage import standing
from bench.results import keep
from lab.installed import PLUGIN, Installation
from lab.topology import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.anycast.numbers import Row
    from bench.anycast.stage import Stage

ITEMS: dict[str, tuple[str, Layout, Callable[[Stage, argparse.Namespace], list[Row]]]] = {
    "sharing": (
        "TCP connections of 64 clients over two nodes with 1 and 3 pods, with link bandwidth (shared) and without",
        Layout.ANYCAST_RACK,
        lambda stage, given: sharing.share(stage, given.connections),
    ),
    "scaling": (
        "Connections that stay while the pods of a node become fewer and more",
        Layout.ANYCAST_RACK,
        lambda stage, given: [*flows.scale(stage, given.held), *flows.scale_plain(stage, given.held)],
    ),
    "rolling": (
        "All four pods of a node replaced one by one, with connections of at most 3 s, drains of 10 s",
        Layout.ANYCAST_RACK,
        lambda stage, given: [*flows.roll(stage, given.live), *flows.roll_plain(stage, given.live)],
    ),
    "table": (
        "A pod is added, deleted, hangs: until the rack's table follows, both families (ms)",
        Layout.ANYCAST,
        lambda stage, given: failover.table(stage, given.runs),
    ),
    "traffic": (
        "A node is gone: until requests are answered by the other, 200 a second (ms)",
        Layout.ANYCAST,
        lambda stage, given: failover.traffic(stage, given.runs),
    ),
    "drain": (
        "A cluster is drained and taken back, with 200 requests a second",
        Layout.ANYCAST,
        lambda stage, given: draining.drain(stage, min(given.runs, 10)),
    ),
    "protocols": (
        "From the client's 64 addresses",
        Layout.ANYCAST,
        lambda stage, _: reach.clients(stage),
    ),
    "pods": ("From pods, with an endpoint on node1 only", Layout.ANYCAST, lambda stage, _: reach.pods(stage)),
}


def main() -> None:
    """Measures what was asked for and prints each table when it is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("items", nargs="*", metavar="ITEM", help=f"of {', '.join(ITEMS)}; none: all")
    prefix = Path(os.environ.get("ANYPOD_PREFIX", "/"))
    parser.add_argument("--prefix", type=Path, default=prefix, help="where anypod is installed")
    parser.add_argument("--runs", type=int, default=100, help="of each failure")
    parser.add_argument("--connections", type=int, default=10_000, help="that are shared")
    parser.add_argument("--held", type=int, default=1_000, help="connections that stay")
    parser.add_argument("--live", type=int, default=100, help="connections at a time in a rolling update")
    parser.add_argument("--quick", action="store_true", help="3 runs, for trying")
    parser.add_argument("--json", default="", help="the file that keeps the results")
    given = parser.parse_args()
    if given.quick:
        given.runs = 3
    if unknown := [item for item in given.items if item not in ITEMS]:
        parser.error(f"no such item: {', '.join(unknown)}; there are {', '.join(ITEMS)}")
    installed = Installation(given.prefix / PLUGIN, (str(given.prefix / "usr/local/bin/anypod"),))
    for item in given.items or ITEMS:
        title, layout, measure = ITEMS[item]
        began = time.monotonic()
        with standing(installed, layout, f"b{os.getpid()}{item[:4]}") as stage:
            found = measure(stage, given)
        print(f"\n### {item}: {title} ({time.monotonic() - began:.0f} s)\n")
        print("\n".join(numbers.table(found)), flush=True)
        keep(given.json, rows(item, found))


if __name__ == "__main__":
    main()
