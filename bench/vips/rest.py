"""A speaker with nothing to do: what its comparisons cost, and what it takes with health checks."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median
from typing import TYPE_CHECKING

from bench.checks import GRPC_PORT, HTTP_PORT
from lab import netns
from lab.errors import LabError

if TYPE_CHECKING:
    from bench.vips.crowd import Crowd

CHECKS = (f"tcp://:{HTTP_PORT}", f"http://:{HTTP_PORT}/", f"grpc://:{GRPC_PORT}")
SETTLE = 8.0


def unchanged(stage: Crowd, seconds: int) -> list[float]:
    """Milliseconds of processor time for each comparison, of which there is one a second, over that without."""
    found = []
    for resync in (86400, 1):
        stage.configure(resync)
        time.sleep(SETTLE)
        samples = []
        for _ in range(seconds):
            before = stage.cpu()
            time.sleep(1.0)
            samples.append(1000 * (stage.cpu() - before))
        found.append(samples)
    idle = median(found[0])
    return [sample - idle for sample in found[1]]


def resting(stage: Crowd, pods: int, seconds: float) -> tuple[float, float, float]:
    """Percent of a core; MiB resident and of those the share that is the speaker's own."""
    serve = [sys.executable, "-m", "bench.checks", "--address", "0.0.0.0", "--inside", "serve"]  # noqa: S104
    with subprocess.Popen(netns.inside(stage.pods, serve), stdout=subprocess.PIPE) as server:
        if server.stdout is None or not server.stdout.readline():
            raise LabError("the pods' servers did not start")
        try:
            stage.fill(pods, CHECKS)
            stage.configure()
            stage.start()
            time.sleep(SETTLE)
            before, began = stage.cpu(), time.monotonic()
            time.sleep(seconds)
            used = 100 * (stage.cpu() - before) / (time.monotonic() - began)
            return used, *stage.memory()
        finally:
            server.kill()
