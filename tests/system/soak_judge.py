"""Whether the logs explain what the kernels and a rack have seen, and the other way round."""

from __future__ import annotations

import math
import signal
from collections import Counter
from ipaddress import ip_address
from typing import TYPE_CHECKING

from tests.system.soak_log import says
from tests.system.soak_model import address
from tests.system.soak_watch import KERNEL, Change

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from speaker.bgp import Prefix
    from tests.system.soak_chaos import Chaos, Flap
    from tests.system.soak_log import Line
    from tests.system.soak_model import Kernel
    from tests.system.soak_racks import Heard
    from tests.system.soak_rig import Life, Node

    Held = dict[tuple[Prefix, int], frozenset[str]]

# Seconds. The machine has more to do than this.
SLACK = 5.0  # between a change and its line
CUT = 1.0  # what was done just before a speaker's end may have no line
STARTING = 5.0  # what happens now is found by a speaker that begins, and is no news to it
PUTS = {"route added", "route changed"}
FROZEN = 15.0  # what a speaker asks of a gobgpd that is frozen is done when nobody waits for the answer
PATHS = {"announced", "withdrawn"}
ABOUT = PUTS | {"route removed", "route gone"}


class Judge:
    """The case of one node."""

    def __init__(self, node: Node, changes: Sequence[Change], lines: Sequence[Line], chaos: Chaos) -> None:
        self._node = node
        self._lines = lines
        self._flushers = chaos.flushers
        self._flaps = [flap for flap in chaos.flaps if flap.node == node.number]
        self._changes = changes
        self._happened: list[Change | Flap] = sorted([*changes, *self._flaps], key=lambda one: one.at)
        self.counts: Counter[str] = Counter()

    # ---- routes

    def routes(self) -> Iterator[str]:
        """What is not explained: changes without a line, and lines without a change."""
        lives = {life.pid: life for life in self._node.lives}
        own: dict[int, list[Change]] = {pid: [] for pid in lives}
        for change in self._changes:
            if change.port in own:
                own[change.port].append(change)
            else:
                self.counts["by others"] += 1
                yield from self._foreign(change)
        for pid, life in lives.items():
            lines = self._of(life)
            mine = own[pid]
            yield from self._matched(
                life,
                [line for line in lines if line.event in PUTS],
                [change for change in mine if change.verb != "removed"],
            )
            yield from self._matched(
                life,
                [line for line in lines if line.event == "route removed"],
                [change for change in mine if change.verb == "removed"],
            )
        for line in self._lines:
            if line.event == "route gone" and line.prefix and not self._taken_out(line):
                yield f"{line} without anybody who took it out"

    def _of(self, life: Life) -> list[Line]:
        end = life.ended or math.inf
        return [line for line in self._lines if life.began - 0.001 <= line.at <= end]

    def _matched(self, life: Life, lines: Sequence[Line], changes: Sequence[Change]) -> Iterator[str]:
        """Lines and changes come in the same order."""
        place = 0
        for line in lines:
            if line.more:
                place += self._counted(line, changes[place:])
                continue
            change = changes[place] if place < len(changes) else None
            if change is not None and (line.prefix, line.hops) == (str(change.prefix), change.hops):
                self.counts[line.event] += 1
                place += 1
                if abs(line.at - change.at) > SLACK:
                    yield f"{line} is {line.at - change.at:.1f} s off {change}"
            elif line.event == "route removed" and self._taken_out(line):
                self.counts["removed by somebody else first"] += 1
            else:
                yield f"{line}, but the kernel says {change}"
                return
        rest = changes[place:]
        if life.by == signal.SIGKILL and all(change.at > life.ended - CUT for change in rest):
            self.counts["cut off"] += len(rest)
        else:
            yield from (f"no line for {change}" for change in rest)

    def _counted(self, line: Line, changes: Sequence[Change]) -> int:
        found = sum(change.at < line.at + CUT for change in changes[: line.more])
        self.counts[f"{line.event}, counted"] += found
        return found

    def _taken_out(self, line: Line) -> bool:
        """Whether somebody else removed this route before."""
        window = (line.at - 2 * SLACK, line.at + CUT)
        if any(window[0] < flap.at < window[1] for flap in self._flaps):
            return True  # IPv4 routes go without a word
        return any(
            str(change.prefix) == line.prefix
            and change.port not in {life.pid for life in self._node.lives}
            and window[0] < change.at < window[1]
            for change in self._changes
        )

    def _foreign(self, change: Change) -> Iterator[str]:
        """Others only take routes out; the speaker that runs then says something about each."""
        flapped = any(0 <= change.at - flap.at < SLACK for flap in self._flaps)
        if change.verb != "removed" or not (
            change.port in self._flushers or (change.port == KERNEL and flapped)
        ):
            yield f"{change} by the unknown port {change.port}"
        for life in self._node.lives:
            ended = life.ended or math.inf
            if life.began + STARTING < change.at < ended - SLACK:
                about = (line for line in self._lines if line.event in ABOUT)
                if not any(
                    (line.prefix == str(change.prefix) or line.more)
                    and change.at - CUT < line.at < change.at + SLACK
                    for line in about
                ):
                    yield f"no line after somebody else's {change}"

    # ---- the kernel, from the beginning

    def replayed(self) -> Kernel:
        """What the kernel holds by all that it told."""
        return {key: frozenset(map(ip_address, hops)) for key, hops in self._replay(math.inf).items()}

    def adopted(self) -> Iterator[str]:
        """What speakers say that they found when they started, against what was there."""
        for life in self._node.lives:
            line = next((line for line in self._of(life) if line.event == "routes adopted"), None)
            if line is not None:
                times = (one.at for one in self._happened if life.began < one.at < line.at + CUT)
                counts = {sum(1 for hops in self._replay(at).values() if hops) for at in (life.began, *times)}
                self.counts["adoptions"] += 1
                if int(line.fields["count"]) not in counts:
                    yield f"{line}, but there were {sorted(counts)}"

    def _replay(self, until: float) -> Held:
        held: Held = {}
        down: set[str] = set()
        for one in self._happened:
            if one.at > until:
                break
            if isinstance(one, Change):
                _change(held, one)
                continue
            gateway = address(4, one.rack, self._node.number, 1)
            down = down - {gateway} if one.up else down | {gateway}
            for key in [key for key, hops in held.items() if hops and hops <= down]:
                del held[key]
        return held

    # ---- paths

    def paths(self, heard: Sequence[Heard]) -> Iterator[str]:
        """What a rack heard of this node, against what the log says is announced."""
        here = [one for one in heard if one.node == self._node.number]
        resets = [one.at for one in here if one.prefix is None]
        for one in here:
            prefix = str(one.prefix)
            if one.prefix is None:
                continue
            said = True
            if one.there:
                said = says(self._lines, one.at, prefix, SLACK) is not False
            elif not any(abs(reset - one.at) < CUT for reset in resets):
                said = any(
                    line.event == "withdrawn"
                    and (line.prefix == prefix or line.more)
                    and abs(line.at - one.at) < SLACK
                    for line in self._lines
                )
            self.counts["heard by a rack"] += 1
            if not said:
                if not self._cut_off(prefix, one.at):
                    yield f"{prefix} {'came to' if one.there else 'went from'} the rack, at {one.at:.3f}"
                self.counts["heard by a rack, cut off"] += 1

    def announced(self) -> Iterator[str]:
        """What is announced now, against what the log says."""
        own = set(map(str, self._node.settings.announced()))
        named = {line.prefix for line in self._lines if line.event == "announced" and line.prefix}
        for prefix in sorted(named | own):
            said = says(self._lines, math.inf, prefix, 0)
            if said not in {None, prefix in own} and not self._cut_off(prefix, math.inf):
                yield f"{prefix} is{'' if prefix in own else ' not'} announced"

    def _cut_off(self, prefix: str, at: float) -> bool:
        """Whether a speaker was ended, or lost its gobgpd, before it could tell what became of what it had asked."""
        about = (
            line.at
            for line in self._lines
            if line.event == "gobgpd started" or (line.event in PATHS and line.prefix == prefix)
        )
        last = max((when for when in about if when < at - SLACK), default=0.0)
        ends = [life.ended for life in self._node.lives if life.ended]
        ends += [line.at for line in self._lines if line.event == "gobgpd lost"]
        return any(
            touched < end < touched + self._patience(end)
            for end in ends
            if last < end < at + CUT
            for touched, one in self._node.touched
            if one == prefix
        )

    def _patience(self, end: float) -> float:
        frozen = any(began < end < thawed + CUT for began, thawed in self._node.freezes)
        return FROZEN if frozen else SLACK


def _change(held: Held, change: Change) -> None:
    """IPv6 next hops may go one by one."""
    key = change.prefix, change.metric
    before = held.pop(key, frozenset())
    if change.verb != "removed":
        held[key] = change.hops
    elif change.prefix.version == 6 and before - change.hops:
        held[key] = before - change.hops
