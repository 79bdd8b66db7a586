"""ADD and DEL against the number of allocations held: anypod's state file beside host-local's directory, in turn.

    sudo python -m bench.held

Each size has a network of its own on both sides, which holds that many addresses of pods that are not there.
"""

from __future__ import annotations

from collections import defaultdict
from ipaddress import ip_network
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from bench.node import node
from bench.options import parser
from bench.results import compared, keep, show
from bench.side import OURS, REFERENCE, VERSION, ours, shuffled, theirs
from cni.allocate import allocate
from cni.allocation import Allocation
from cni.prepared import remembered
from cni.statefile import now
from cni.store import Store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from bench.node import Node
    from bench.results import Row
    from bench.side import Side

COMMAND = "sudo bench/run.sh held"
SIZES = (0, 10, 100, 1000, 10000)
FEW, MANY = 10, 10000
Times = dict[tuple[str, str, int], list[float]]


def networks(arguments: argparse.Namespace, directory: Path, size: int) -> list[Side]:
    """Both sides' network of one size, with room for more than the largest."""
    index = SIZES.index(size)
    mine = {"name": f"ours{size}", "bridge": f"ours{size}", "stateDir": f"{directory}/anypod{size}"}
    other = {"name": f"theirs{size}", "bridge": f"theirs{size}"}
    ipam = {"type": "host-local", "dataDir": f"{directory}/host-local"}
    return [
        ours(arguments, directory, mine | {"ipam": ipam | {"subnet": f"10.{16 + index}.0.0/16"}}),
        theirs(arguments, directory, other | {"ipam": ipam | {"subnet": f"10.{32 + index}.0.0/16"}}),
    ]


def fill_ours(side: Side, size: int) -> None:
    """By the plugin's own allocator; the network has had an ADD."""
    conf = side.plugins[0][1]
    store = Store(conf["stateDir"])
    network = remembered(store, conf, VERSION).network
    store.begin()
    for number in range(size):
        owner = (f"held{number}", "eth0")
        pod = Allocation(network.name, *owner, f"/run/netns/held{number}", f"held{number}", ())
        store.attach(pod, now())
        allocate(store, network, (), owner)
    store.commit()
    store.close()


def fill_theirs(side: Side, size: int) -> None:
    """One file for each reservation, and one for the last, as host-local writes them (pkg backend/disk)."""
    conf = side.plugins[0][1]
    directory = Path(conf["ipam"]["dataDir"], conf["name"])
    hosts = islice(ip_network(conf["ipam"]["subnet"]).hosts(), 10, 10 + size)
    for number, address in enumerate(hosts):
        (directory / str(address)).write_bytes(f"held{number}\r\neth0".encode())
        (directory / "last_reserved_ip.0").write_text(str(address))


def measure(sides: Mapping[int, Sequence[Side]], rounds: int, place: Node) -> Times:
    """Milliseconds of each verb, side and size; all of them in each round."""
    times: Times = defaultdict(list)
    for number, order in shuffled([(size, side) for size in sides for side in sides[size]], rounds):
        for (size, side), pod in zip(order, place.pods(len(order)), strict=True):
            add, delete = side.add(f"bench{number}", pod), side.delete(f"bench{number}", pod)
            if number >= 0:
                times["ADD", side.name, size].append(add.wall)
                times["DEL", side.name, size].append(delete.wall)
    return times


def rows(times: Times) -> list[Row]:
    """For each size both sides beside each other, and ours with many beside ours with few."""
    found = []
    for verb in ("ADD", "DEL"):
        for size in SIZES:
            bound = 0.15 if (verb, size) == ("ADD", MANY) else None
            what = f"{verb} with {size:,} allocations held"
            mine, other = (times[verb, name, size] for name in (OURS, REFERENCE))
            key = f"{verb.lower()}-held-{size}"
            found.append(compared(key, what, mine, other, bound=bound, command=COMMAND))
        bound = 1.1 if verb == "ADD" else None
        what = f"{verb} with {MANY:,} allocations held, beside our own with {FEW}"
        many, few = (times[verb, OURS, size] for size in (MANY, FEW))
        name = f"anypod with {FEW}"
        key = f"{verb.lower()}-held-flat"
        found.append(compared(key, what, many, few, peer_name=name, bound=bound, command=COMMAND))
    return found


def main() -> None:
    """Measures in namespaces of its own and removes them."""
    arguments = parser(__doc__, rounds=40, quick=3).parse_args()
    with node("held") as place:
        sides = {size: networks(arguments, place.directory, size) for size in SIZES}
        for size, (mine, other) in sides.items():
            for side, pod in zip((mine, other), place.pods(2), strict=True):
                side.add("first", pod)
                side.delete("first", pod)
            fill_ours(mine, size)
            fill_theirs(other, size)
        times = measure(sides, arguments.rounds, place)
    found = rows(times)
    show(found)
    keep(arguments.json, found)


if __name__ == "__main__":
    main()
