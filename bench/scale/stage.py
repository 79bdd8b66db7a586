"""A real node in one namespace and the simulated peers in another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.scale import designs
from lab import netns
from lab.commands import run
from lab.errors import LabError
from lab.load.drive import Routes, Running
from lab.processes import Program, end_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.scale.designs import Case

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
KIBI = 1024
METRICS = (
    "import time, urllib.request as u; t = time.monotonic(); "
    "n = len(u.urlopen('http://127.0.0.1:9179/metrics').read()); print(n, time.monotonic() - t)"
)


@dataclass(frozen=True)
class Used:
    """What a process has used: seconds of CPU, and MiB of its own (RSS without what is shared from files)."""

    cpu: float
    memory: float


class Stage:
    """The node's programs, and the crowd."""

    def __init__(self, case: Case, directory: Path, anypod: str) -> None:
        self.case, self.directory = case, directory
        name = f"scale{os.getpid()}"
        self.node, self.peers = f"{name}-node", f"{name}-peers"
        self.api = f"unix://{directory}/gobgpd.sock"
        self.cluster = directory / "cluster.toml"
        gobgpd = ("gobgpd", "--api-hosts", self.api, "--pprof-disable", "--log-plain")
        speaker = (anypod, "speaker", "run", "--cluster", str(self.cluster), "--node", designs.NODE)
        self.gobgpd = Program("gobgpd", self.node, gobgpd, directory)
        self.speaker = Program("speaker", self.node, speaker, directory)
        self.anypod = anypod
        self._processes: dict[str, int] = {}

    def build(self) -> None:
        """Namespaces, link, addresses, files."""
        state = self.directory / "state"
        state.mkdir(mode=0o700)
        self.cluster.write_text(designs.cluster_toml(self.case, self.api, str(state)))
        crowd = designs.crowd(self.case)
        (self.directory / "crowd.json").write_text(json.dumps(crowd))
        for namespace in (self.node, self.peers):
            netns.add(namespace)
            netns.configure(namespace)
        netns.set_forwarding(self.node, "1")
        pair = ["link", "add", "uplink", "type", "veth", "peer", "name", "uplink", "netns", self.peers]
        run(["ip", "-n", self.node, *pair])
        addresses = [one["address"] for one in crowd["peers"]]
        batch = "".join(f"address add {one}/16 dev uplink\n" for one in addresses)
        run(["ip", "-n", self.peers, "-batch", "-"], stdin=batch)
        run(["ip", "-n", self.node, "address", "add", f"{designs.NODE_ADDRESS}/16", "dev", "uplink"])
        for namespace in (self.node, self.peers):
            netns.set_link(namespace, "uplink", "up")
        # The kernel keeps at most 1,024 neighbours that it found itself, all namespaces together (gc_thresh3).
        link = json.loads(run(["ip", "-n", self.peers, "-j", "link", "show", "uplink"]))[0]
        every = [designs.address(number) for number in range(1, self.case.nodes + 1)] + list(designs.ROUTERS)
        known = "".join(f"neigh add {one} lladdr {link['address']} dev uplink\n" for one in every)
        run(["ip", "-n", self.node, "-batch", "-"], stdin=known)

    def pid(self, name: str) -> int:
        """The process itself, not what started it."""
        if name not in self._processes:
            for pid in netns.processes(self.node):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if any(name.encode() == Path(os.fsdecode(word)).name.encode() for word in words[:3]):
                    self._processes[name] = pid
        return self._processes[name]

    def used(self, name: str) -> Used:
        """What "gobgpd" or "speaker" has used until now."""
        pid = self.pid(name)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return Used((int(fields[11]) + int(fields[12])) / TICKS, int(status["VmRSS"].split()[0]) / KIBI)

    def routes(self) -> int:
        """Entries of the node's main table."""
        with Path(f"/proc/{self.pid('gobgpd')}/net/route").open("rb") as table:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: table.read(1 << 20), b"")) - 1

    def await_routes(self, wanted: int, seconds: float) -> float:
        """When the node's main table had so many entries."""
        end = time.monotonic() + seconds
        while True:
            before = time.monotonic()
            found = self.routes()
            now = time.monotonic()
            if found >= wanted:
                return now
            if now > end:
                raise LabError(f"{found} of {wanted} routes after {seconds:g} s; see {self.directory}")
            time.sleep(max(0.02, 10 * (now - before)))

    def scrape(self) -> tuple[float, float]:
        """Bytes and seconds of one answer with all metrics."""
        size, seconds = run(
            netns.inside(self.node, [sys.executable, "-I", "-c", METRICS]), seconds=60
        ).split()
        return float(size), float(seconds)

    def check(self) -> Used:
        """CPU and peak memory of `anypod speaker check` for this cluster."""
        argv = [self.anypod, "speaker", "check", "--cluster", str(self.cluster), "--node", designs.NODE]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise LabError(f"{' '.join(argv)}: exit status {process.returncode}")
        return Used(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / KIBI)

    def remove(self) -> None:
        """Everything, half made ones too."""
        end_all([self.node, self.peers])
        for namespace in (self.node, self.peers):
            netns.delete(namespace)


class Crowd(Running):
    """The simulated peers."""

    def __init__(self, stage: Stage) -> None:
        program = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); from bench.scale.simulated import main; main()"
        )
        file = str(stage.directory / "crowd.json")
        super().__init__(netns.inside(stage.peers, [sys.executable, "-I", "-c", program, file]))

    def event(self, name: str, seconds: float) -> dict[str, Any]:
        """Waits for an event that is said once."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.of(name):
                return found[0]
            time.sleep(0.02)
        raise LabError(
            f"the simulated peers did not say {name!r} within {seconds:g} s; they said {self.events[-3:]}"
        )

    def change(self, word: str, number: int) -> float:
        """Has node `number` withdrawn or announced by whoever tells it; when that began."""
        return float(self.ask(f"{word} {number}", "done")["begun"])


@contextmanager
def standing(case: Case, anypod: str, directory: Path) -> Iterator[tuple[Stage, Crowd]]:
    """Namespaces and the crowd, which dials already; the node's programs are to be started."""
    stage = Stage(case, directory, anypod)
    with ExitStack() as stack:
        stack.callback(stage.remove)
        stage.build()
        crowd = stack.enter_context(Crowd(stage))
        yield stage, crowd


def watch(stage: Stage) -> Routes:
    """The node's kernel routes as they change."""
    return Routes(stage.node)
