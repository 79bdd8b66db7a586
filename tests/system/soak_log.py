"""A speaker's log as lines with fields, and what it says there is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)')


@dataclass(frozen=True, slots=True)
class Line:
    """One line; `at` in seconds since 1970."""

    at: float
    event: str
    fields: dict[str, str]

    @property
    def prefix(self) -> str:
        return self.fields.get("prefix", "")

    @property
    def more(self) -> int:
        """How many like changes it stands for beyond those that have a line of their own."""
        return int(self.fields.get("more", 0))

    @property
    def hops(self) -> frozenset[str]:
        return frozenset(self.fields["via"].split(",")) - {"unreachable"}


def read(path: Path) -> list[Line]:
    """All lines; anything else in the log is an error."""
    found = []
    for text in path.read_text().splitlines():
        fields = {key: value.strip('"') for key, value in FIELD.findall(text)}
        assert fields.keys() >= {"time", "event"}, text
        at = datetime.fromisoformat(fields.pop("time")).timestamp()
        found.append(Line(at, fields.pop("event"), fields))
    return found


def says(lines: Sequence[Line], at: float, prefix: str, slack: float) -> bool | None:
    """Whether a prefix was announced at a time, give or take; None: it may be one of those that were counted only."""
    for line in reversed(lines):
        if line.at > at + slack:
            continue
        if line.event == "gobgpd started":  # empty
            found: bool | None = False
        elif line.event not in {"announced", "withdrawn"} or (line.prefix != prefix and not line.more):
            continue
        else:
            found = None if line.more else line.event == "announced"
        if found is not False or line.at < at - slack:
            return found
    return False


def peers(lines: Sequence[Line]) -> set[str]:
    """Who has a session by the end of the log."""
    up: set[str] = set()
    for line in lines:
        if line.event in {"speaker started", "gobgpd lost"}:
            up.clear()
        elif line.event == "peer up":
            up.add(line.fields["peer"])
        elif re.match("peer (down|gone|removed|replaced)", line.event):
            up.discard(line.fields["peer"])
    return up
