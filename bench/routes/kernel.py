"""From a list of routes that should be there to the kernel's last answer: the speaker's code, and `ip -batch`.

`inside` runs in a namespace of its own, made for each turn, and prints seconds.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from bench.routes import counter, sender
from lab import netns
from speaker.desired import KernelRoute, NextHop
from speaker.kernel.fib import Fib
from speaker.plan import plan_routes
from speaker.settings import Kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speaker.desired import RouteKey

LINK = IPv4Interface("192.0.2.2/24")
METRIC, PROTOCOL = 1190, 177


def wanted(count: int) -> dict[RouteKey, KernelRoute]:
    """What the speaker wants once it has judged so many paths."""
    over = frozenset({NextHop(IPv4Address(sender.ADDRESS))})
    prefixes: list[IPv4Network] = [sender.prefix(number) for number in range(count)]
    return {(prefix, METRIC): KernelRoute(prefix, METRIC, over) for prefix in prefixes}


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def ours(count: int) -> dict[str, float]:
    """Compares, writes, and waits for the last answer; then the same with nothing wanted."""
    routes = wanted(count)
    fib = Fib(Kernel(protocol=PROTOCOL, metric=METRIC))
    fib.read()
    start, before = time.monotonic(), _processor()
    refused = fib.apply(plan_routes(routes, fib.known.ours))
    added, after = time.monotonic(), _processor()
    if refused or counter.routes() < count:
        raise SystemExit(f"not all routes were taken: {len(refused)} refused, {counter.routes()} there")
    gone = time.monotonic()
    fib.apply(plan_routes({}, fib.known.ours))
    return {"add": added - start, "cpu": after - before, "remove": time.monotonic() - gone}


def theirs(count: int) -> dict[str, float]:
    """`ip -batch` with a file that is ready."""
    with tempfile.TemporaryDirectory(prefix="anypod-routes-") as directory:
        found = {}
        for verb in ("add", "del"):
            file = Path(directory) / verb
            rest = f"via {sender.ADDRESS} metric {METRIC} proto {PROTOCOL}"
            file.write_text("".join(f"route {verb} {sender.prefix(n)} {rest}\n" for n in range(count)))
            start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(["ip", "-batch", str(file)], check=True)
            found[verb] = time.monotonic() - start
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if verb == "add":
                found["cpu"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"add": found["add"], "cpu": found["cpu"], "remove": found["del"]}


def turn(who: str, count: int, namespace: str) -> dict[str, float]:
    """One measurement in a namespace of its own."""
    netns.add(namespace)
    try:
        subprocess.run(
            ["ip", "-n", namespace, "link", "add", "wire", "type", "veth", "peer", "name", "far"], check=True
        )
        subprocess.run(["ip", "-n", namespace, "address", "add", str(LINK), "dev", "wire"], check=True)
        for device in ("wire", "far"):
            subprocess.run(["ip", "-n", namespace, "link", "set", device, "up"], check=True)
        command = [sys.executable, "-m", "bench.routes.kernel", who, str(count)]
        done = subprocess.run(netns.inside(namespace, command), check=True, capture_output=True, text=True)
        return {key: float(value) for key, value in json.loads(done.stdout).items()}
    finally:
        netns.delete(namespace)


def inside(arguments: Sequence[str]) -> None:
    """`ours` or `theirs`, and how many."""
    who, count = arguments[0], int(arguments[1])
    print(json.dumps(ours(count) if who == "ours" else theirs(count)))


if __name__ == "__main__":
    inside(sys.argv[1:])
