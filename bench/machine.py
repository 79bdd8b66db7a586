"""What it was measured on, for the page: the machine, and the versions of those that are compared."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path

PACKAGES = ("containernetworking-plugins", "gobgpd", "bird2", "frr", "iproute2", "iperf3")


def describe() -> dict[str, object]:
    """As it is now. What the machine does not tell is left out."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processors": os.cpu_count() or 0,
        "processor": _field("/proc/cpuinfo", "model name"),
        "memory-gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release().split("-")[0],
        "distribution": _field("/etc/os-release", "PRETTY_NAME", "=").strip('"'),
        "python": _output(["/usr/bin/python3", "--version"]).removeprefix("Python "),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _field(path: str, name: str, separator: str = ":") -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(separator)
        if key.strip() == name:
            return value.strip()
    return ""


def _version(package: str) -> str:
    return _output(["dpkg-query", "-W", "-f=${Version}", package])


def _output(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
