"""Draining: what an operator asked to be emptied, and how far that is. Pure.

A drain has two phases. First others are asked to take over: peers by GRACEFUL_SHUTDOWN (RFC 8326) and a worse
preference, the kernel by a weight of nothing for a pod. After `seconds` it is over: withdrawn, out of the group.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import Enum
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.anycast.endpoints import Endpoint
    from speaker.bgp import Address


class Scope(Enum):
    """What is drained: all of this node's VIPs, one of them, or one pod."""

    NODE = "node"
    VIP = "vip"
    POD = "pod"


class Phase(Enum):
    """How far a drain is."""

    SERVING = "serving"
    LEAVING = "leaving"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Drain:
    """`of` is the VIP, or the container of the pod, empty for the node; `name` what the operator called it.

    `since` in seconds of CLOCK_BOOTTIME: it outlives the speaker, and ends with the boot, as the pods do.
    """

    scope: Scope
    of: str
    name: str
    since: float

    def phase(self, now: float, seconds: float) -> Phase:
        """How far it is; `seconds` is how long the first phase takes."""
        return Phase.LEAVING if now < self.since + seconds else Phase.GONE


class Drains:
    """All drains at one moment."""

    def __init__(self, drains: Iterable[Drain], now: float, seconds: float) -> None:
        self._phases = {(one.scope, one.of): one.phase(now, seconds) for one in drains}
        self._node = self._phases.get((Scope.NODE, ""), Phase.SERVING)

    def of_vip(self, vip: Address) -> Phase:
        """How far a VIP is drained on this node, by itself or with the node."""
        if not self._phases:
            return Phase.SERVING
        own = self._phases.get((Scope.VIP, str(vip)), Phase.SERVING)
        return max(own, self._node, key=_ORDER.index)

    def of_endpoint(self, endpoint: Endpoint) -> Phase:
        """How far the pod of an endpoint is drained."""
        if not self._phases:
            return Phase.SERVING
        return self._phases.get((Scope.POD, endpoint.container), Phase.SERVING)


_ORDER = (Phase.SERVING, Phase.LEAVING, Phase.GONE)


def next_change(drains: Iterable[Drain], now: float, seconds: float) -> float | None:
    """When the next drain enters its second phase; None: none will."""
    ends = [one.since + seconds for one in drains]
    return min((end for end in ends if end > now), default=None)


def dump(drains: Iterable[Drain]) -> str:
    """The drains as text."""
    listed = [{**asdict(one), "scope": one.scope.value} for one in drains]
    return json.dumps({"drains": listed}, indent=1) + "\n"


def parse(text: str, now: float) -> tuple[Drain, ...]:
    """The drains; ValueError for what is no such text. One that begins after `now` is of an earlier boot."""
    try:
        drains = [_drain(one) for one in json.loads(text)["drains"]]
        return tuple(one for one in drains if one.since <= now)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is not what anypod drain writes: {error!r}") from None


def _drain(found: dict[str, Any]) -> Drain:
    scope, of, name, since = Scope(found["scope"]), found["of"], found["name"], float(found["since"])
    if not isinstance(of, str) or not isinstance(name, str):
        raise TypeError(of, name)
    return Drain(scope, str(ip_address(of)) if scope is Scope.VIP else of, name, since)
