"""What is measured of one case, and the rows that it becomes."""

from __future__ import annotations

import json
import time
from statistics import median
from typing import TYPE_CHECKING

from bench.results import Row
from bench.scale import designs
from bench.scale.stage import standing, watch
from lab.errors import LabError
from speaker.ask import ask

if TYPE_CHECKING:
    from pathlib import Path

    from bench.scale.designs import Case
    from bench.scale.stage import Crowd, Stage
    from lab.load.drive import Routes

IDLE = float(
    designs.RESYNC
)  # seconds: one comparison of everything, three keepalives of each peer and to each
SETTLE = 4.0
CHANGES = 10
# What is measured: its key, its unit, what it is.
WHAT = {
    "established": ("s", "from the node's start until all sessions are established"),
    "routes": ("s", "from the node's start until the last kernel route stands"),
    "heard": ("s", "from the node's start until each peer has heard all that it is told"),
    "gobgpd-memory": ("MiB", "resident memory of gobgpd"),
    "speaker-memory": ("MiB", "resident memory of the speaker"),
    "gobgpd-start-cpu": ("s", "CPU time of gobgpd until then"),
    "speaker-start-cpu": ("s", "CPU time of the speaker until then"),
    "gobgpd-idle": ("%", "of a core, gobgpd with nothing but keepalives every 3 s"),
    "speaker-idle": ("%", "of a core, the speaker with a comparison of everything every 10 s"),
    "withdrawn": ("ms", "from a peer's withdrawal to the kernel, median"),
    "announced": ("ms", "from a peer's announcement to the kernel, median"),
    "updates-heard": ("messages", "UPDATEs that the peers have received, all together"),
    "check": ("s", "CPU time of `anypod speaker check`"),
    "check-memory": ("MiB", "peak memory of that"),
    "status": ("ms", "until the status is answered"),
    "status-size": ("KiB", "size of the status"),
    "metrics": ("ms", "until the metrics are answered"),
    "metrics-size": ("KiB", "size of the metrics"),
}


def measure(case: Case, anypod: str, directory: Path, patience: float) -> dict[str, float]:
    """Starts the node among its peers and looks at it; by the keys of WHAT."""
    with standing(case, anypod, directory) as (stage, crowd):
        check = stage.check()
        began = time.monotonic()
        stage.gobgpd.start()
        stage.speaker.start()
        up = crowd.event("established", patience)["at"]
        routes = stage.await_routes(case.prefixes + 2, patience)
        heard = crowd.event("heard", patience)["at"]
        started = {name: stage.used(name) for name in ("gobgpd", "speaker")}
        found = {"established": up - began, "routes": routes - began, "heard": heard - began}
        found |= {f"{name}-start-cpu": used.cpu for name, used in started.items()}
        found |= {"check": check.cpu, "check-memory": check.memory}
        time.sleep(SETTLE)
        found |= idle(stage)
        found |= changes(stage, crowd)
        found |= answers(stage)
        found["updates-heard"] = float(_settled(crowd, case)["updates_in"])
        return found


def idle(stage: Stage) -> dict[str, float]:
    """CPU and memory while nothing changes."""
    before = {name: stage.used(name) for name in ("gobgpd", "speaker")}
    time.sleep(IDLE)
    found = {}
    for name, earlier in before.items():
        now = stage.used(name)
        found[f"{name}-idle"] = 100 * (now.cpu - earlier.cpu) / IDLE
        found[f"{name}-memory"] = now.memory
    return found


def changes(stage: Stage, crowd: Crowd) -> dict[str, float]:
    """Nodes withdrawn and announced again one by one, by all peers that tell them."""
    times: dict[str, list[float]] = {"withdraw": [], "announce": []}
    with watch(stage) as routes:
        for turn in range(CHANGES):
            number = 1 + turn * (stage.case.nodes - 1) // CHANGES
            for word, event in (("withdraw", "gone"), ("announce", "new")):
                begun = crowd.change(word, number)
                times[word].append(_seen(routes, designs.told(number, 0)[0], event, begun, stage.case))
                time.sleep(0.2)
    return {"withdrawn": 1000 * median(times["withdraw"]), "announced": 1000 * median(times["announce"])}


def _seen(routes: Routes, prefix: str, event: str, since: float, case: Case) -> float:
    """Seconds until the kernel told it; with several routers, until all their next hops are there."""
    hops = len(designs.ROUTERS) if case.design == designs.RACK else 1
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for one in routes.prefix(prefix, since):
            if one["event"] == event and (event == "gone" or len(one["gateways"]) == hops):
                return float(one["at"] - since)
        time.sleep(0.005)
    raise LabError(f"{prefix} was not {event} in the kernel within 10 s")


def answers(stage: Stage) -> dict[str, float]:
    """What the status socket and the metrics say, and how soon."""
    start = time.monotonic()
    status = ask(str(stage.directory / "state"))
    took = time.monotonic() - start
    size, seconds = stage.scrape()
    return {
        "status": 1000 * took,
        "status-size": len(json.dumps(status)) / 1024,
        "metrics": 1000 * seconds,
        "metrics-size": size / 1024,
    }


def _settled(crowd: Crowd, case: Case) -> dict[str, int]:
    """What the peers have counted; refuses a case in which sessions were lost."""
    counted: dict[str, int] = crowd.ask("count", "counted")
    if counted["up"] != case.sessions or counted["notifications"]:
        raise LabError(f"{case.key}: {counted['up']} of {case.sessions} sessions are up: {counted}")
    return counted


def rows(case: Case, found: dict[str, list[float]], command: str) -> list[Row]:
    """A row for each thing that was measured, the median of the runs."""
    where = f"{case.design}, {case.nodes} other nodes" + (f", {case.vips} VIPs each" if case.vips else "")
    return [
        Row(
            f"scale-{case.key}-{key}",
            f"{where}: {what}",
            unit,
            round(median(found[key]), 4),
            runs=len(found[key]),
            command=command,
            samples={"anypod": [round(one, 4) for one in found[key]]},
        )
        for key, (unit, what) in WHAT.items()
    ]
