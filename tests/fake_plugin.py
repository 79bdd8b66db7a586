"""Fake plugins: shell scripts that do one thing which no real plugin does on demand."""

from __future__ import annotations

import time
from pathlib import Path


def fake_plugin(directory: Path, name: str, script: str) -> str:
    """An executable of that name; its path."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def ended(pid_file: Path) -> bool:
    """Whether the process whose number the fake wrote there is gone, after at most ten seconds."""
    process = Path("/proc") / pid_file.read_text().strip()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False
