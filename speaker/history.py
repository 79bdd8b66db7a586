"""What changed lately, for whoever looks: the log's lines of state, kept in memory within bounds."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Changes of each topic; peers of which the state is kept, and how many changes of each.
KEPT = 128
PEERS = 1000
TURNS = 32
# Signs of one value.
LONGEST = 300

# By how an event's name begins. Each topic has a ring of its own, so that a flood of one drives nothing else out.
TOPICS = {
    "peers": ("peer",),
    "virtual IPs": ("virtual IP", "endpoint", "drain", "health"),
    "routes": ("route", "next hop", "accept", "announced", "withdrawn", "stale", "kernel"),
}
REST = "speaker"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the log; `at` in seconds since 1970."""

    at: float
    level: str
    event: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """From here on a peer's session was there, or not; None: nobody knew."""

    at: float
    up: bool | None


class History:
    """Gets every line from the log, by `note`."""

    def __init__(self) -> None:
        self.began = time.time()
        self._rings: dict[str, deque[Change]] = {topic: deque(maxlen=KEPT) for topic in (*TOPICS, REST)}
        self._peers: dict[str, deque[Turn]] = {}

    def note(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        """Keeps a line."""
        words = tuple((key.rstrip("_"), str(value)[:LONGEST]) for key, value in fields.items())
        now = time.time()
        self._rings[topic_of(event)].append(Change(now, level, event, words))
        if event == "gobgpd lost":
            for turns in self._peers.values():
                _turn(turns, now, up=None)
        elif event.startswith("peer ") and "peer" in fields and event != "peer refused by gobgpd":
            self._peer(str(fields["peer"]), now, event == "peer up")

    def _peer(self, name: str, now: float, up: bool) -> None:
        turns = self._peers.pop(name, None) or deque(maxlen=TURNS)
        _turn(turns, now, up)
        self._peers[name] = turns  # as the youngest
        if len(self._peers) > PEERS:
            del self._peers[next(iter(self._peers))]

    def turns(self, peer: str) -> tuple[Turn, ...]:
        """How a peer's session came and went, the oldest first."""
        return tuple(self._peers.get(peer, ()))

    def changes(self, most: int) -> list[Change]:
        """The newest first, at most so many of each topic."""
        return sorted(self._newest(most), key=lambda one: one.at, reverse=True)

    def _newest(self, most: int) -> Iterator[Change]:
        for ring in self._rings.values():
            yield from islice(reversed(ring), most)


def topic_of(event: str) -> str:
    """What an event is about."""
    return next((topic for topic, names in TOPICS.items() if event.startswith(names)), REST)


def _turn(turns: deque[Turn], now: float, up: bool | None) -> None:
    if not turns or turns[-1].up is not up:
        turns.append(Turn(now, up))
