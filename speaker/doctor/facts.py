"""Looks at this node; changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys

from cni import sysctl
from speaker.ask import SilentError, ask
from speaker.doctor.findings import Facts, Groups

# Seconds.
PATIENCE = 20.0
KEYS = (
    "ipv4/fib_multipath_hash_policy",
    "ipv6/fib_multipath_hash_policy",
    "ipv4/fib_multipath_hash_fields",
    "ipv6/fib_multipath_hash_fields",
    "ipv4/ip_forward",
    "ipv6/conf/all/forwarding",
)


def look(state_dir: str) -> Facts:
    """Everything that a finding is made of."""
    return Facts(_groups(), _sysctls(), _speaker(state_dir))


def _groups() -> Groups:
    """By trying, in a network namespace that is gone afterwards."""
    command = ["unshare", "--net", sys.executable, "-I", "-m", "speaker.doctor.groups"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        return Groups(done.stdout.strip())
    except (OSError, subprocess.SubprocessError, ValueError):
        return Groups.UNTRIED


def _sysctls() -> dict[str, str | None]:
    found = {key: sysctl.read(key) for key in KEYS}
    try:
        names = os.listdir(f"{sysctl.ROOT}/ipv4/conf")
    except OSError:
        names = []
    return found | {key: sysctl.read(key) for key in (f"ipv4/conf/{name}/rp_filter" for name in names)}


def _speaker(state_dir: str) -> dict[str, object] | str:
    try:
        return ask(state_dir)
    except SilentError as error:
        return str(error)
