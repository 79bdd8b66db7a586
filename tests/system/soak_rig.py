"""Three nodes and two racks in namespaces of their own, with everything on them running."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import netns
from tests.system.gobgp_rig import Member
from tests.system.peers_rig import configure, join
from tests.system.scrape import scrape
from tests.system.soak_model import NODES, Settings, address, node_asn
from tests.system.soak_pods import Pods
from tests.system.soak_racks import BirdRack, FrrRack
from tests.system.soak_watch import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

METRICS = "127.0.0.1:9179"
ANSWER_SECONDS = 15
STARTED_SECONDS = 20  # then it answers to whoever asks
ASKED = (0, -signal.SIGTERM, -signal.SIGKILL)  # how a speaker ends that was asked to


@dataclass(slots=True)
class Life:
    """A speaker's process, from its start to its end by our hand; both in seconds since 1970."""

    pid: int
    began: float
    log_began: int  # bytes of the log that are of those before
    ended: float = 0.0
    by: int = 0


class Node:
    """A node: its processes, pods, and what it should be doing."""

    def __init__(self, number: int, directory: Path, plugin: Path) -> None:
        self.number = number
        self.member = Member(f"node{number}", directory)
        self.settings = Settings(number)
        self.pods = Pods(plugin, self.member, self.settings, self.note)
        self.lives: list[Life] = []
        self.freezes: list[tuple[float, float]] = []  # of its gobgpd
        self.touched: list[tuple[float, str]] = []  # prefixes that were to be announced, or not any more
        self._announced: set[str] = set()

    def note(self) -> None:
        """Notes what is to be announced otherwise than before."""
        before, self._announced = self._announced, set(map(str, self.settings.announced()))
        self.touched += [(time.time(), prefix) for prefix in before ^ self._announced]

    def write(self) -> None:
        """Writes its speaker.toml and password files, each whole."""
        self.note()
        for rack, side in self.settings.sides.items():
            file = self.member.directory / f"rack{rack}.password"
            text = f"{side.password or 'none'}\n"
            if not file.exists() or file.read_text() != text:
                new = file.with_suffix(".new")
                new.write_text(text)
                new.chmod(0o600)
                new.rename(file)
        number, body = self.number, self.settings.body(self.member.directory)
        configure(self.member, node_asn(number), f"10.9.0.{number}", "", body, METRICS)

    def start_speaker(self) -> None:
        began, log_began = time.time(), self.member.log.stat().st_size if self.lives else 0
        self.member.start_speaker()
        self.lives.append(Life(self.member.processes["speaker"].pid, began, log_began))

    def end_speaker(self, number: signal.Signals) -> None:
        assert self.member.processes["speaker"].poll() is None, f"node{self.number}'s speaker has ended"
        status = self.member.kill("speaker", number)
        assert status in ASKED, f"node{self.number}'s speaker: {status}"
        self.lives[-1].ended, self.lives[-1].by = time.time(), number

    def has_read(self) -> bool:
        """Whether its speaker runs and has its configuration: with a broken one none starts."""
        last = self.lives[-1]
        return not last.ended and b"speaker started" in self.member.log.read_bytes()[last.log_began :]

    def speaks(self) -> bool:
        """Whether its speaker runs, and has for long enough to answer everybody."""
        last = self.lives[-1]
        return not last.ended and time.time() > last.began + STARTED_SECONDS

    def status(self) -> dict[str, Any]:
        """What the status socket says; empty while there is none."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(ANSWER_SECONDS)
            try:
                client.connect(str(self.member.directory / "state" / "speaker" / "speaker.sock"))
                with client.makefile("rb") as stream:
                    return dict(json.loads(stream.read() or b"{}"))
            except OSError:
                if self.speaks():
                    raise
                return {}

    def metrics(self) -> Mapping[str, float]:
        """Values by name and labels; none while nobody serves them."""
        try:
            return scrape(self.member.ns)
        except OSError:
            if self.speaks():
                raise
            return {}

    def usage(self, name: str) -> tuple[int, int]:
        """Open descriptors of one of its processes, without gobgpd's BGP sessions, and resident KiB."""
        process = Path("/proc", str(self.member.processes[name].pid))
        resident = (process / "status").read_text().partition("VmRSS:")[2].split()[0]
        sessions = self.member.established() if name == "gobgpd" else 0
        return len(list((process / "fd").iterdir())) - sessions, int(resident)

    def close(self) -> None:
        self.pods.close()
        self.member.close()


class Soak:
    """All of them."""

    def __init__(self, directory: Path, plugin: Path) -> None:
        self.nodes: dict[int, Node] = {}
        self.racks: dict[int, FrrRack | BirdRack] = {}
        self.watch: Watch | None = None
        try:
            self._build(directory, plugin)
        except BaseException:
            self.close()
            raise

    def _build(self, directory: Path, plugin: Path) -> None:
        self.racks[1] = self.frr = FrrRack("rack1", directory, 1)
        self.racks[2] = self.bird = BirdRack("rack2", directory, 2)
        for number in NODES:
            self.nodes[number] = Node(number, directory, plugin)
        members: list[Member] = [*self.racks.values(), *(node.member for node in self.nodes.values())]
        for member in members:
            netns.configure(member.ns)  # no duplicate detection, and addresses stay when a link goes down
        for n, node in self.nodes.items():
            for r, rack in self.racks.items():
                join(node.member, f"rack{r}", rack, f"node{n}")
                for member, device, host in ((rack, f"node{n}", 1), (node.member, f"rack{r}", 2)):
                    member.ip("address", "add", f"{address(4, r, n, host)}/24", "dev", device)
                    member.ip("address", "add", f"{address(6, r, n, host)}/64", "dev", device)

    def up(self) -> None:
        self.watch = Watch({number: node.member.ns for number, node in self.nodes.items()})
        for rack in self.racks.values():
            rack.begin()
        for node in self.nodes.values():
            node.write()
            node.member.start_gobgpd()
            node.start_speaker()

    @property
    def settings(self) -> dict[int, Settings]:
        return {number: node.settings for number, node in self.nodes.items()}

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            for member in self.racks.values():
                stack.callback(member.close)
            for node in self.nodes.values():
                stack.callback(node.close)
            if self.watch is not None:
                stack.callback(self.watch.close)
