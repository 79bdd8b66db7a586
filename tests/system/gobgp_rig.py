"""A node with gobgpd and speaker, and racks of plain gobgpds beside it, in network namespaces of their own."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 30.0
NUMBERS = itertools.count()


def run(*command: str | Path, check: bool = True, stdin: str = "", seconds: float = 30) -> str:
    """A command's output; its complaints are the error's message."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.stderr or done.stdout}")
    return done.stdout


def wait(what: str, probe: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Asks until the answer is true."""
    end = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


class Member:
    """One namespace and the processes in it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.ns = f"anypod-t{os.getpid()}-{next(NUMBERS)}-{name}"
        self.directory = directory / name
        self.directory.mkdir()
        self.socket = self.directory / "api.sock"
        self.config = self.directory / "speaker.toml"
        self.log = self.directory / "speaker.log"
        self.gobgpd = os.environ.get("ANYPOD_GOBGPD", "gobgpd")  # its client is the gobgp beside it
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        run("ip", "netns", "add", self.ns)
        self.ip("link", "set", "lo", "up")

    def ip(self, *words: str) -> str:
        return run("ip", "-n", self.ns, *words)

    def routes(self, prefix: str, protocol: int = 177) -> list[dict[str, Any]]:
        """Kernel routes for exactly this prefix, of one protocol."""
        version = "-6" if ":" in prefix else "-4"
        found = json.loads(
            run(
                "ip",
                "-n",
                self.ns,
                version,
                "-j",
                "-N",
                "route",
                "show",
                "exact",
                prefix,
                "proto",
                str(protocol),
            )
            or "[]"
        )
        return [dict(entry) for entry in found]

    def gateways(self, prefix: str) -> set[str]:
        """Next hops of our routes for this prefix."""
        found = set()
        for route in self.routes(prefix):
            for hop in [route, *route.get("nexthops", [])]:
                if "gateway" in hop:
                    found.add(str(hop["gateway"]))
        return found

    def start(self, name: str, command: Sequence[str | Path], log: Path) -> None:
        words = ["ip", "netns", "exec", self.ns, *map(str, command)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with log.open("ab") as stream:
            self.processes[name] = subprocess.Popen(words, stdout=stream, stderr=stream, env=environment)

    def start_gobgpd(self, *more: str) -> None:
        self.socket.unlink(missing_ok=True)
        options = ["--api-hosts", f"unix://{self.socket}", "--pprof-disable", "--log-plain", *more]
        self.start("gobgpd", [self.gobgpd, *options], self.directory / "gobgpd.log")
        wait("gobgpd listens", self.socket.exists)

    def start_speaker(self) -> None:
        command = [sys.executable, "-m", "speaker.cli", "speaker", "run", "--config", str(self.config)]
        self.start("speaker", command, self.log)

    def kill(self, name: str, number: int = 9) -> int:
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(10)

    def gobgp(self, *words: str, check: bool = True) -> str:
        client = Path(self.gobgpd).with_name("gobgp")
        return run(client, "--target", f"unix://{self.socket}", *words, check=check)

    def neighbours(self) -> list[dict[str, Any]]:
        found = self.gobgp("-j", "neighbor", check=False)
        return [dict(entry) for entry in json.loads(found)] if found.startswith("[") else []

    def updates(self) -> int:
        """UPDATE messages that came from all neighbours so far."""
        return sum(peer["state"]["messages"]["received"].get("update", 0) for peer in self.neighbours())

    def established(self) -> int:
        return sum(peer["state"]["session_state"] == 6 for peer in self.neighbours())

    def table(self, family: str = "ipv4") -> set[str]:
        """Prefixes in the daemon's table; none while it has not been started."""
        found = self.gobgp("-j", "global", "rib", "-a", family, check=False)
        return set(json.loads(found)) - {"error"} if found.startswith("{") else set()

    def logged(self, text: str) -> int:
        return self.log.read_text().count(text)

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)
        run("ip", "netns", "del", self.ns, check=False)


def neighbour(address: str, family: str) -> str:
    """The node in a rack's gobgpd.toml. The rack waits: two gobgpd that both dial turn each other away."""
    return (
        f'[[neighbors]]\n[neighbors.config]\nneighbor-address = "{address}"\npeer-as = 65001\n'
        "[neighbors.transport.config]\npassive-mode = true\n"
        f'[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = "{family}-unicast"\n'
    )


class Rig:
    """Members joined by veth pairs: rack number i is 10.99.i.2 and fd99:i::2, the node .1 and ::1."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.members: list[Member] = []
        self.node = self.member("node")

    def member(self, name: str) -> Member:
        made = Member(name, self.directory)
        self.members.append(made)
        return made

    def rack(self, number: int) -> Member:
        """A rack of AS 6510<number> with a running gobgpd that waits for the node."""
        rack = self.member(f"rack{number}")
        link = f"r{number}"
        self.node.ip("link", "add", link, "type", "veth", "peer", "name", "node", "netns", rack.ns)
        for member, name, host in ((self.node, link, 1), (rack, "node", 2)):
            member.ip("address", "add", f"10.99.{number}.{host}/24", "dev", name)
            member.ip("address", "add", f"fd99:{number}::{host}/64", "dev", name, "nodad")
            member.ip("link", "set", name, "up")
        config = rack.directory / "gobgpd.toml"
        neighbours = neighbour(f"10.99.{number}.1", "ipv4") + neighbour(f"fd99:{number}::1", "ipv6")
        config.write_text(f'[global.config]\nas = 6510{number}\nrouter-id = "10.99.{number}.2"\n{neighbours}')
        rack.start_gobgpd("--config-file", str(config))
        wait("the rack's neighbours", lambda: len(rack.neighbours()) == 2)
        return rack

    def configure(self, racks: Sequence[int], more: str = "", top: str = "") -> None:
        """Writes the node's speaker.toml, with a peer for each family of each rack."""
        peers = "".join(
            f'[[peer]]\naddress = "{address}"\nasn = 6510{number}\n'
            for number in racks
            for address in (f"10.99.{number}.2", f"fd99:{number}::2")
        )
        self.node.config.write_text(
            f'[bgp]\nasn = 65001\nrouter-id = "10.99.0.1"\n{top}\n'
            f'[gobgpd]\napi = "unix://{self.node.socket}"\n{peers}'
            f'[state]\ndir = "{self.directory / "state"}"\n{more}'
        )

    def close(self) -> None:
        for member in self.members:
            member.close()
