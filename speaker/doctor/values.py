"""What a node was seen to be, and what follows, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni.link import Link
    from cni.network import Network
    from speaker.commands.direct import Gobgpd
    from speaker.commands.record import State
    from speaker.commands.stale import Stale


class Groups(Enum):
    """Which next-hop groups the kernel has."""

    RESILIENT = "resilient"
    PLAIN = "plain"
    NONE = "none"
    UNTRIED = "untried"


class Level(Enum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `fix` is empty where nothing has to be done. `about` is one word for it."""

    level: Level
    what: str
    fix: str = ""
    about: str = ""


class Dial(Enum):
    """What came of dialling a peer's BGP port."""

    ANSWERED = "answered"
    REFUSED = "refused"
    SILENT = "silent"
    NO_WAY = "no way"
    UNTRIED = "untried"


class Fit(Enum):
    """What came of sending a peer a packet as large as pods send them."""

    PASSED = "passed"
    TOO_BIG = "too big"  # somebody on the way said so
    LOST = "lost"  # while a small one came through
    UNTRIED = "untried"


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """A peer as the speaker or gobgpd has it, the way to it, and what answers there.

    `way` is the kernel's answer for its address (speaker.commands.kernel), `neighbour` the state in its table of
    neighbours ("REACHABLE", "FAILED", …), empty for none.
    """

    row: Mapping[str, Any]
    way: Mapping[str, str] = field(default_factory=dict)
    carrier: bool = True
    neighbour: str = ""
    dial: Dial = Dial.UNTRIED
    path: Fit = Fit.UNTRIED

    @property
    def name(self) -> str:
        """What a log calls it."""
        key, description = str(self.row["peer"]), str(self.row.get("description") or "")
        return f"{key} ({description})" if description else key


@dataclass(frozen=True, slots=True)
class Conflist:
    """A file that a runtime may read; `plugins` are its netconfs, `trouble` says why it is none.

    `compiled` is anypod's part of it, as a network.
    """

    name: str
    plugins: Sequence[Mapping[str, Any]] = ()
    network: str = ""
    trouble: str = ""
    compiled: Network | None = None


# By them kube-proxy is known: by the chain in its iptables and IPVS mode, by the table in its nftables mode.
KUBE_PROXY_CHAIN, KUBE_PROXY_TABLE = "KUBE-SERVICES", "kube-proxy"


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of the packet filter; without a hook where only others lead to it."""

    family: str
    table: str
    name: str
    hook: str
    policy: str

    @property
    def is_kube_proxys(self) -> bool:
        return self.name == KUBE_PROXY_CHAIN or self.table == KUBE_PROXY_TABLE


@dataclass(frozen=True, slots=True)
class Place:
    """A file or directory; mode 0 where it is not there."""

    path: str
    mode: int = 0
    uid: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen: `sysctls` by key below net ("ipv4/ip_forward"), None for one that the kernel has not.

    What could not be looked at is a text that says why.
    """

    groups: Groups
    sysctls: Mapping[str, str | None]
    # Its status document.
    speaker: Mapping[str, Any] | str
    # Asked where the speaker does not answer; which version the program in PATH is.
    gobgpd: Gobgpd | None = None
    gobgpd_version: str = ""
    config: str = ""
    peers: Sequence[PeerFacts] = ()
    links: Sequence[Link] = ()
    # By link, those with their prefix length.
    addresses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    # The links by which learned routes and peers are reached.
    uplinks: frozenset[str] = frozenset()
    state: State | str = "not looked at"
    has_state: bool = True
    refusals: Sequence[Mapping[str, Any]] = ()
    now: float = 0.0
    conflists: Sequence[Conflist] | str = ()
    state_dir: str = "/run/anypod"
    chains: Sequence[Chain] | str = ()
    open_api: bool = False
    places: Sequence[Place] = ()
    stale: Stale | str = "not looked at"
    set_aside: Sequence[str] = ()
    routes_of_ours: int = 0
