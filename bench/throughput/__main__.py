"""Throughput from a pod of one node to a pod of another, beside plain routing, a bridge by hand and VXLAN.

    sudo python -m bench.throughput [--prefix /] [--rounds 80] [--json FILE] [--quick] [ITEM…]

Two nodes with gobgpd and speaker, joined by a veth pair; pods of the plugin on each. The sender has the first core,
the receiver the last one. Short bursts in turn over all ways, the order exchanged each round: what is compared is
each round's ratio, so that the machine's own ups and downs drop out.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.results import Row, keep, show
from bench.throughput.ways import ANYPOD, BRIDGE, OVERLAY, PLAIN, Way, Ways, standing
from lab.installed import PLUGIN, Installation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BLAST = str(Path(__file__).with_name("blast.py"))
BURST = 0.05  # seconds
TARGET = 0.97
OTHER_END = {"send": "sink", "bounce": "echo", "stream": "swallow"}
GIGABIT = 1e9 / 8


@dataclass(frozen=True)
class Measure:
    """One thing to measure: `verb` of blast.py, over so many connections, with single packets or with segments."""

    key: str
    what: str
    verb: str
    peers: tuple[str, ...]
    connections: int = 1
    single: bool = False
    netfilter: bool = False
    mtu: int = 1500
    bound: float | None = None

    @property
    def unit(self) -> tuple[str, float]:
        """The unit and what it has of the raw one."""
        return {
            "stream": ("Gbit/s", GIGABIT),
            "send": ("packets/s", 1),
            "bounce": ("round trips/s", 1),
        }[self.verb]


ALL = (PLAIN, BRIDGE, OVERLAY)
MEASURES = (
    Measure("tcp", "TCP, one connection", "stream", ALL, bound=TARGET),
    Measure("tcp-4", "TCP, four connections", "stream", ALL, connections=4, bound=TARGET),
    Measure("tcp-packets", "TCP, each packet by itself", "stream", ALL, single=True),
    Measure("pps", "UDP of 64 bytes", "send", ALL, single=True, bound=TARGET),
    Measure(
        "pps-netfilter", "UDP of 64 bytes, with bridge netfilter", "send", ALL, single=True, netfilter=True
    ),
    Measure("round-trips", "UDP of 64 bytes to and fro", "bounce", ALL),
    Measure("tcp-jumbo", "TCP, one connection, MTU 9000", "stream", ALL, mtu=9000),
    Measure(
        "tcp-packets-jumbo",
        "TCP, each packet by itself, MTU 9000",
        "stream",
        ALL,
        single=True,
        mtu=9000,
    ),
)


class Told:
    """A blast.py in a namespace, which answers lines."""

    def __init__(self, namespace: str, verb: str, address: str, connections: int) -> None:
        argv = ["nsenter", f"--net=/run/netns/{namespace}", "--", sys.executable, "-I", BLAST, verb, address]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([*argv, str(connections)], stdin=pipe, stdout=pipe, text=True)

    def ask(self, line: str) -> list[float]:
        """The numbers that it answers."""
        print(line, file=self._process.stdin, flush=True)
        return [float(word) for word in self.line().split()]

    def line(self) -> str:
        """Its next line."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit("blast.py ended early; see its message above")
        return line

    def end(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def ends(way: Way, measure: Measure) -> Iterator[tuple[Told, Told]]:
    """Receiver and sender of one way."""
    with ExitStack() as stack:
        receiver = Told(way.receiver, OTHER_END[measure.verb], way.address, measure.connections)
        stack.callback(receiver.end)
        receiver.line()
        sender = Told(way.sender, measure.verb, way.address, measure.connections)
        stack.callback(sender.end)
        yield receiver, sender


def burst(measure: Measure, receiver: Told, sender: Told) -> float:
    """What one burst brought over, in the measure's unit. Of datagrams it counts what arrived."""
    if measure.verb != "send":
        amount, seconds = sender.ask(str(BURST))
        return amount / seconds / measure.unit[1]
    before = receiver.ask("")[0]
    _, seconds = sender.ask(str(BURST))
    time.sleep(0.01)
    return (receiver.ask("")[0] - before) / seconds / measure.unit[1]


def measured(ways: Ways, measure: Measure, rounds: int) -> dict[str, list[float]]:
    """Each way's bursts, in turn. The first round does not count."""
    ways.bridge_netfilter("1" if measure.netfilter else "0")
    for way in ways.ways:
        way.single_packets(measure.single)
    found: dict[str, list[float]] = {way.name: [] for way in ways.ways}
    with ExitStack() as stack:
        both = {way.name: stack.enter_context(ends(way, measure)) for way in ways.ways}
        for number in range(-1, rounds):
            for name in both if number % 2 else reversed(both):
                amount = burst(measure, *both[name])
                if number >= 0:
                    found[name].append(amount)
    return found


def rows(measure: Measure, found: dict[str, list[float]]) -> list[Row]:
    """One row for each peer. The ratio is the median of the rounds' ratios, and ours follows from it."""
    made = []
    for peer in measure.peers:
        ratio = median(ours / theirs for ours, theirs in zip(found[ANYPOD], found[peer], strict=True))
        theirs = median(found[peer])
        middle = {PLAIN: "", BRIDGE: "beside-bridge-", OVERLAY: "over-vxlan-"}[peer]
        key = f"pod-to-pod-{middle}{measure.key}"
        bound = measure.bound if peer == PLAIN else None
        samples = {name: [round(v, 3) for v in found[name]] for name in (ANYPOD, peer)}
        made.append(
            Row(
                key,
                f"pod to pod, {measure.what}",
                measure.unit[0],
                ratio * theirs,
                peer,
                theirs,
                bound,
                at_least=True,
                runs=len(found[peer]),
                command="sudo python -m bench.throughput",
                samples=samples,
            )
        )
    return made


def main() -> None:
    """Measures in labs of its own, one for each MTU, and removes them."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # what was made is removed also then
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--prefix",
        type=Path,
        default=Path(os.environ.get("ANYPOD_PREFIX") or "/"),
        help="where anypod is installed",
    )
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--json", default="", help="a file for the results")
    parser.add_argument("--quick", action="store_true", help="few rounds, for trying")
    parser.add_argument("items", nargs="*", metavar="ITEM", help="tcp, pps, …; none: all")
    given = parser.parse_args()
    chosen = [measure for measure in MEASURES if not given.items or measure.key in given.items]
    rounds = 5 if given.quick else max(1, given.rounds)
    installed = Installation(given.prefix / PLUGIN, (str(given.prefix / "usr/local/bin/anypod"),))
    for mtu in sorted({measure.mtu for measure in chosen}):
        _one_mtu(installed, [m for m in chosen if m.mtu == mtu], rounds, given.json)


def _one_mtu(installed: Installation, measures: Sequence[Measure], rounds: int, results: str) -> None:
    with standing(installed, f"thru{os.getpid()}", measures[0].mtu) as ways:
        ways.undisturbed()
        for measure in measures:
            made = rows(measure, measured(ways, measure, rounds))
            show(made)
            keep(results, made)


if __name__ == "__main__":
    main()
