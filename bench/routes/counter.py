"""Counts the IPv4 routes of its namespace, and disturbs little: a look may take a twentieth of the time.

Run by bench.routes: reads how many routes to wait for, and answers when they were there.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

STATISTICS = Path("/proc/self/net/fib_triestat")
REST = 19  # times as long as a look takes
SECONDS = 120.0


def routes() -> int:
    """Prefixes in the main table: the kernel's own count, which needs no listing."""
    table = STATISTICS.read_text().partition("Main:")[2].partition("\nLocal:")[0]
    return sum(int(line.split(":")[1]) for line in table.splitlines() if "Prefixes:" in line)


def wait(wanted: int) -> float | None:
    """When there were so many (CLOCK_MONOTONIC); None: not within the time."""
    deadline = time.monotonic() + SECONDS
    while True:
        before = time.monotonic()
        found = routes()
        now = time.monotonic()
        if found == wanted:
            return before
        if now > deadline:
            return None
        time.sleep(max(0.002, REST * (now - before)))


def main() -> None:
    """Until stdin ends."""
    print(json.dumps(routes()), flush=True)
    for line in sys.stdin:
        print(json.dumps(wait(int(line))), flush=True)


if __name__ == "__main__":
    main()
