"""Whether an endpoint serves, as the results of its checks in a row say it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cni.healthcheck import HealthCheck
    from speaker.bgp import Address


class Health(Enum):
    """What is known of an endpoint.

    ADOPTED served before the speaker was restarted, and counts as up until its checks have said something.
    """

    UNKNOWN = "unknown"
    ADOPTED = "adopted"
    UP = "up"
    DOWN = "down"

    @property
    def serves(self) -> bool:
        """Whether it counts as up."""
        return self is Health.UP or self is Health.ADOPTED


@dataclass(frozen=True, slots=True)
class Target:
    """What is probed: the pod's own `address`. `vip` is what it is asked for, `pod` its name for people."""

    address: Address
    check: HealthCheck
    vip: Address
    pod: str


@dataclass(frozen=True, slots=True)
class Detail:
    """What is known of an endpoint and how; `since` on the loop's clock, `latency` in seconds.

    `error` is what failed last, empty after a success; `latency` None before the first answer.
    """

    health: Health
    since: float
    error: str = ""
    latency: float | None = None


class Tally:
    """Counts results in a row: `rise` successes make UP, `fall` failures DOWN; for ADOPTED one success is enough."""

    __slots__ = ("_check", "_last", "_row", "health")

    def __init__(self, check: HealthCheck, adopted: bool = False) -> None:
        self._check = check
        self._last: bool | None = None
        self._row = 0
        self.health = Health.ADOPTED if adopted else Health.UNKNOWN

    def record(self, ok: bool) -> None:
        """Takes the next result."""
        self._row = self._row + 1 if ok is self._last else 1
        self._last = ok
        if self._row >= self._needed(ok):
            self.health = Health.UP if ok else Health.DOWN

    def _needed(self, ok: bool) -> int:
        if not ok:
            return self._check.fall
        return 1 if self.health is Health.ADOPTED else self._check.rise

    @property
    def settled(self) -> bool:
        """Whether the health is known and the last result agreed."""
        return self.health is (Health.UP if self._last else Health.DOWN) and self._last is not None

    @property
    def interval(self) -> float:
        """Seconds between the starts of two probes: short while a change is on its way."""
        return self._check.interval if self.settled else self._check.fast
