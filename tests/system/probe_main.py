"""Runs in a namespace: probes what it is told to on its input, line by line, and counts what is left afterwards."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cni.healthcheck import parse_check
from speaker.anycast.checker import Checker
from speaker.anycast.health import Target
from speaker.anycast.probe import probe
from speaker.anycast.probes.errors import NoVerdictError, ProbeFailedError

ENDPOINT = ("c", "eth0", "address")


def standing() -> set[str]:
    """Descriptors, children and tasks of this process."""
    descriptors = {f"descriptor {entry.name}" for entry in Path("/proc/self/fd").iterdir()}
    children = {f"child {pid}" for pid in Path("/proc/thread-self/children").read_text().split()}
    return descriptors | children | {f"task {id(task)}" for task in asyncio.all_tasks()}


def target_of(order: dict[str, Any]) -> Target:
    check = parse_check(order["check"], allow_exec=True)
    return Target(ip_address(order["address"]), check, ip_address(order["vip"]), order["pod"])


async def ask(target: Target, patience: float | None) -> str:
    """The verdict in words; `patience` in seconds, after which the probe is cancelled."""
    try:
        await asyncio.wait_for(probe(target), patience)
    except TimeoutError:
        return "cancelled"
    except ProbeFailedError as error:
        return str(error)
    except NoVerdictError as error:
        return f"no verdict: {error}"
    return "healthy"


async def ask_and_count(order: dict[str, Any]) -> dict[str, Any]:
    before = standing()
    started = time.monotonic()
    crowd = [ask(target_of(order), order.get("patience")) for _ in range(order.get("times", 1))]
    said = await asyncio.gather(*crowd)
    seconds = time.monotonic() - started
    return {"said": sorted(set(said)), "seconds": seconds, "left": sorted(standing() - before)}


async def main() -> None:
    checker = Checker(lambda: None)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        if "follow" in order:
            checker.follow({ENDPOINT: target_of(order)} if order["follow"] else {}, ())
            answer: object = {}
        elif "health" in order:
            answer = checker.health(ENDPOINT).value
        else:
            answer = await ask_and_count(order)
        print(json.dumps(answer), flush=True)
    await checker.close()


if __name__ == "__main__":
    asyncio.run(main())
