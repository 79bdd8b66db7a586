"""Somebody at a shell of a lab's node, with the anypod command."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from lab import netns

if TYPE_CHECKING:
    from lab.rig import Lab


class Operator:
    """Somebody at a shell of a node in a lab."""

    def __init__(self, lab: Lab, node: str) -> None:
        self.lab = lab
        place = lab.place(node)
        self.environment = {
            **os.environ,
            "ANYPOD_STATE_DIR": str(place.state),
            "ANYPOD_CONFIG": str(place.speaker_toml),
            "ANYPOD_CONFLISTS": str(place.conflists),
        }
        self.start = netns.inside(lab.namespace(node), lab.installation.anypod)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.start, *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=self.environment,
        )
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words: str, status: int = 0) -> Any:
        done = self.run(*words, "-o", "json")
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def errors(self) -> list[dict[str, str]]:
        """What doctor finds wrong."""
        found = json.loads(self.run("doctor", "-o", "json").stdout)
        return [one for one in found if one["level"] != "ok"]

    def explained(self, target: str) -> dict[str, Any]:
        """What explain says of a target."""
        found: dict[str, Any] = json.loads(self.run("explain", target, "-o", "json").stdout)
        return found
