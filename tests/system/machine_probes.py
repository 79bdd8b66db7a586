"""Probes under the speaker's unit on a booted systemd: the same user, capabilities and bounds, another program."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

from tests.system.gobgp_rig import ROOT
from tests.system.machine_rig import SOURCE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.machine_rig import Machine

UNIT = "probes.service"
KEYS, COMMAND = "/srv/keys", "/srv/check"
# Tells who it is, what it may do, and whether it could become more.
CHECK = """#!/bin/bash
echo $(id -u) $(sed -n 's/CapEff:.//p; s/NoNewPrivs:.//p' /proc/self/status)
exit 7
"""
# What belongs to the speaker as a program.
_OF_THE_PROGRAM = re.compile(r"^(?:Exec|Restart|Type|Watchdog|RuntimeDirectory|Condition).*\n", re.MULTILINE)


def verdicts_under_the_unit(machine: Machine, prefix: Path, directory: Path) -> dict[str, str]:
    """What one probe of each kind said, by kind and address."""
    new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout key -out certificate"
    subprocess.run(["openssl", *new.split()], cwd=directory, check=True, capture_output=True, timeout=30)
    machine.write(KEYS, (directory / "key").read_text() + (directory / "certificate").read_text(), 0o644)
    machine.write(COMMAND, CHECK, 0o755)
    unit = _OF_THE_PROGRAM.sub("", (ROOT / "examples/systemd/anypod-speaker.service").read_text())
    assert "NoNewPrivileges=yes" in unit
    python = f"{prefix}/opt/anypod/current/bin/python"
    program = (
        f"[Service]\nType=oneshot\nBindReadOnlyPaths={prefix}\nEnvironment=PYTHONPATH={SOURCE}\n"
        f"ExecStart={python} -m tests.system.unit_probes {KEYS} {COMMAND}\n"
    )
    machine.write(f"/etc/systemd/system/{UNIT}", unit.replace("[Service]\n", program), 0o644)
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "start", UNIT, check=False)
    journal = machine.journal(UNIT)
    lines = [line for line in journal.splitlines() if line.startswith("{")]
    assert lines, journal
    found: dict[str, str] = json.loads(lines[-1])
    return found
