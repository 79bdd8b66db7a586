"""ADD and DEL of one pod at a time: anypod beside the reference bridge + host-local, call by call in turn.

    sudo python -m bench.attach --plugin /opt/cni/bin/anypod --reference /usr/lib/cni/bridge

Absolute times are this machine's and this hour's; the ratio of medians is what it is for.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import netns

SUBNET = "10.244.1.0/24"
SECONDS = 30


@dataclass
class Side:
    """One plugin, its netconf, and how long its calls took (milliseconds)."""

    name: str
    argv: list[str]
    conf: dict[str, Any]
    add: list[float] = field(default_factory=list)
    delete: list[float] = field(default_factory=list)

    def call(self, verb: str, container: str, pod: str) -> float:
        """One call of the plugin; milliseconds."""
        env = {
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": f"/run/netns/{pod}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(Path(self.argv[-1]).parent),
        }
        start = time.perf_counter()
        subprocess.run(
            self.argv,
            input=json.dumps(self.conf).encode(),
            env=env,
            check=True,
            capture_output=True,
            timeout=SECONDS,
        )
        return (time.perf_counter() - start) * 1000


def sides(arguments: argparse.Namespace, node: str, directory: str) -> list[Side]:
    """Both plugins on a bridge of their own with the same keys."""
    common = {"cniVersion": "1.0.0", "isDefaultGateway": True, "ipMasq": arguments.masquerade}
    ipam = {"type": "host-local", "subnet": SUBNET, "dataDir": f"{directory}/host-local"}
    # nsenter costs each side the same; `ip netns exec` would mount /sys anew for every call.
    enter = ["nsenter", f"--net=/run/netns/{node}", "--"]
    ours = common | {"name": "ours", "type": "anypod", "bridge": "ours0", "stateDir": f"{directory}/anypod"}
    theirs = common | {"name": "theirs", "type": "bridge", "bridge": "theirs0"}
    return [
        Side("anypod", [*enter, arguments.plugin], ours | {"ipam": ipam}),
        Side(
            "bridge + host-local",
            [*enter, arguments.reference],
            theirs | {"ipam": ipam | {"subnet": "10.244.2.0/24"}},
        ),
    ]


def measure(contestants: list[Side], rounds: int, pod: str) -> None:
    """In turn, the order exchanged each round; the first two rounds set up the node and do not count."""
    for number in range(-2, rounds):
        for side in contestants if number % 2 else reversed(contestants):
            netns.add(pod)
            try:
                add = side.call("ADD", f"bench{number}", pod)
                delete = side.call("DEL", f"bench{number}", pod)
            finally:
                netns.delete(pod)
            if number >= 0:
                side.add.append(add)
                side.delete.append(delete)


def report(contestants: list[Side]) -> None:
    """Medians, and how they stand to each other."""
    ours, theirs = contestants
    print(f"{'':22}{'ADD p50':>10}{'p95':>8}{'DEL p50':>10}{'p95':>8}   (ms)")
    for side in contestants:
        numbers = [
            part for times in (side.add, side.delete) for part in (statistics.median(times), p95(times))
        ]
        print(f"{side.name:22}{numbers[0]:10.1f}{numbers[1]:8.1f}{numbers[2]:10.1f}{numbers[3]:8.1f}")
    for verb, mine, other in (("ADD", ours.add, theirs.add), ("DEL", ours.delete, theirs.delete)):
        print(f"ratio of medians, {verb}: {statistics.median(mine) / statistics.median(other):.2f}")


def p95(times: list[float]) -> float:
    """The 95th percentile."""
    return sorted(times)[int(len(times) * 0.95)]


def main() -> None:
    """Measures in namespaces of its own and removes them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plugin", default="/opt/cni/bin/anypod")
    parser.add_argument("--reference", default="/usr/lib/cni/bridge")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--masquerade", action="store_true", help="with ipMasq")
    arguments = parser.parse_args()
    node, pod = f"anypod-bench{os.getpid()}", f"anypod-bench{os.getpid()}-pod"
    with tempfile.TemporaryDirectory(dir="/run", prefix="anypod-bench-") as directory:
        netns.add(node)
        try:
            contestants = sides(arguments, node, directory)
            measure(contestants, max(1, arguments.rounds), pod)
        finally:
            netns.delete(node)
    report(contestants)


if __name__ == "__main__":
    main()
