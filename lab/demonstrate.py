"""Runs the demo from a new lab to a verdict, and takes the lab down however it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import leftovers, observe, rig
from lab.demo import Demo
from lab.errors import LabError
from lab.topology import RackKind

if TYPE_CHECKING:
    from lab.report import Report

LAST_STEP = "The lab is down and nothing of it is left: no namespace, process, link, rule, file or mount"
PATIENCE = "    (waiting for BGP: gobgpd dials 5 to 9 seconds after it is told of a peer)"


def demonstrate(name: str, report: Report, *, keep: bool) -> bool:
    """Runs the demo in a new lab; True when every step held.

    However it ends the lab is taken down, except that `keep` leaves one whose steps all held.
    """
    rig.require(RackKind.GOBGP)
    demo = Demo(rig.new(name, RackKind.GOBGP))
    before = leftovers.look(name)
    demo.lab.claim()
    kept = False
    identities: frozenset[int] = frozenset()
    try:
        report.say(
            f"anypod lab demo: two nodes, a rack and a client, in network namespaces anypod-{name}-*\n"
        )
        for title, action in demo.steps():
            if action == demo.sessions:
                report.say(PATIENCE)
            held = report.step(title, action)
            identities |= leftovers.inodes(name)
            if not held:
                report.detail(observe.last_words(demo.lab, [r.name for r in demo.lab.topology.routers]))
                break
        kept = keep and not report.failed
    finally:
        if not kept:
            rig.down(name)
    if kept:
        report.say(f"\nThe lab stays. Look around: anypod lab exec --name {name} rack -- ip route")
        report.say(f"End it: anypod lab down --name {name}")
    else:
        report.step(LAST_STEP, lambda: _gone(name, before, identities))
    return report.verdict()


def _gone(name: str, before: leftovers.Machine, identities: frozenset[int]) -> list[str]:
    left = leftovers.find(name, before, identities)
    if left:
        raise LabError("\n".join(["this is left:", *left]))
    return ["the machine's links, rules, files and mounts are what they were before"]
