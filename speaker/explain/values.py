"""What is seen of one target, and the chain that is made of it, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni.allocation import Allocation
    from cni.link import Link
    from speaker.bgp import Prefix
    from speaker.commands.direct import Gobgpd
    from speaker.commands.record import State
    from speaker.doctor.values import PeerFacts

OK, WARNING, ERROR, UNKNOWN, SKIPPED = "ok", "warning", "error", "unknown", "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One link of the chain; `of` is the address or prefix that it is about. `fix` only where something is missing."""

    step: str
    state: str
    what: str
    fix: str = ""
    of: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What was asked for: an address or prefix, or the attachments and refused ADDs of a pod."""

    name: str
    prefix: Prefix | None = None
    allocations: Sequence[Allocation] = ()
    refusals: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that a chain is made of. What could not be looked at is a text that says why.

    `about` is the speaker's answer for each prefix, `ways` the kernel's for each address, `routes` are its routes of
    ours. `gobgpd` was asked where the speaker does not answer. `ended` are namespaces that are gone.
    """

    state: State | str
    has_state: bool
    refusals: Sequence[Mapping[str, Any]]
    now: float
    links: Sequence[Link]
    own: frozenset[str]
    speaker: Mapping[str, Any] | str
    gobgpd: Gobgpd | None = None
    peers: Sequence[PeerFacts] = ()
    about: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ways: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    routes: Sequence[Mapping[str, Any]] | str = ()
    ended: frozenset[str] = frozenset()
    state_dir: str = "/run/anypod"


def first_missing(steps: Sequence[Step]) -> Step | None:
    """The step at which the chain breaks; None where it is whole."""
    for state in (ERROR, UNKNOWN):
        for one in steps:
            if one.state == state:
                return one
    return None
