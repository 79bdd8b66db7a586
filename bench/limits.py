"""A pod with bandwidth limits and a port mapping: anypod in one call beside bridge + bandwidth + portmap in three.

sudo python -m bench.limits
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.attach import measure, walls
from bench.node import node
from bench.options import parser
from bench.results import compared, keep, show
from bench.side import OURS, VERSION, Side, ours, theirs

if TYPE_CHECKING:
    import argparse

COMMAND = "sudo bench/run.sh limits"
PEER = "bridge + bandwidth + portmap"
BANDWIDTH = {
    "ingressRate": 100_000_000,
    "ingressBurst": 8_000_000,
    "egressRate": 50_000_000,
    "egressBurst": 8_000_000,
}


def asked(host_port: int) -> dict[str, Any]:
    """What the runtime hands over. Each side has a port of the node of its own."""
    port = {"hostPort": host_port, "containerPort": 80, "protocol": "tcp"}
    return {"runtimeConfig": {"bandwidth": BANDWIDTH, "portMappings": [port]}}


def chain(arguments: argparse.Namespace, directory: Path) -> Side:
    """The reference conflist. A runtime hands each plugin what it declares, and all one name."""
    config = asked(8082)["runtimeConfig"]
    bridge = theirs(arguments, directory, {}).plugins[0]
    name = bridge[1]["name"]
    plugins = [bridge]
    for plugin, key in (("bandwidth", "bandwidth"), ("portmap", "portMappings")):
        conf = {"cniVersion": VERSION, "name": name, "type": plugin, "runtimeConfig": {key: config[key]}}
        plugins.append((Path(arguments.reference, plugin), conf))
    return Side(PEER, plugins)


def main() -> None:
    """Measures in namespaces of its own and removes them."""
    arguments = parser(__doc__, rounds=50, quick=4).parse_args()
    with node("limits") as place:
        sides = [ours(arguments, place.directory, asked(8081)), chain(arguments, place.directory)]
        costs = measure(sides, arguments.rounds, place)
    found = []
    for verb, bound in (("ADD", 0.5), ("DEL", None)):
        what = f"{verb} with bandwidth and a port mapping"
        mine, other = walls(costs[verb, OURS]), walls(costs[verb, PEER])
        key = f"{verb.lower()}-limits"
        found.append(compared(key, what, mine, other, peer_name=PEER, bound=bound, command=COMMAND))
    show(found)
    keep(arguments.json, found)


if __name__ == "__main__":
    main()
