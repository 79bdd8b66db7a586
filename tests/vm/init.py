"""Process 1 of the virtual machine: mounts, loads modules, runs one command, switches the machine off.

Runs before anything else does, without packages: only the standard library.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

MOUNTS = (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"))
FOLDERS = ("/run", "/tmp")  # noqa: S108 - of a machine that nobody else is in
PLAN = "/plan.json"
# Seen from outside as a file.
REPORT = "/dev/ttyS1"
INIT_MODULE = 175
RB_POWER_OFF = 0x4321FEDC
LIBC = ctypes.CDLL(None, use_errno=True)


def must(what: str, result: int) -> None:
    """OSError where a call of the C library failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(kind: str, path: str) -> None:
    os.makedirs(path, exist_ok=True)
    must(f"mount of {path}", LIBC.mount(b"none", path.encode(), kind.encode(), 0, None))


def load(path: str) -> None:
    """Loads a kernel module."""
    data = Path(path).read_bytes()
    arguments = (ctypes.c_long(INIT_MODULE), data, ctypes.c_ulong(len(data)), b"")
    must(path, LIBC.syscall(*arguments))


def main() -> None:
    for kind, path in MOUNTS:
        mount(kind, path)
    for path in FOLDERS:
        os.makedirs(path, exist_ok=True)
    plan = json.loads(Path(PLAN).read_bytes())
    for module in plan["modules"]:
        load(module)
    subprocess.run(["ip", "link", "set", "lo", "up"], env=plan["env"], check=True)
    done = subprocess.run(plan["argv"], env=plan["env"], cwd=plan["cwd"], check=False)
    Path(REPORT).write_text(json.dumps({"exit": done.returncode}) + "\n")


if __name__ == "__main__":
    try:
        main()
    except BaseException as error:
        print("init failed:", repr(error), flush=True)
        raise
    finally:
        # Process 1 must not end: that is a panic of the kernel.
        sys.stdout.flush()
        LIBC.sync()
        LIBC.reboot(RB_POWER_OFF)
