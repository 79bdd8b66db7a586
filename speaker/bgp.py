"""What BGP is about, in the speaker's own values: peers, paths, policies. Nothing here knows a daemon."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network


class Family(IntEnum):
    """IPv4 or IPv6 unicast; the value is the IP version."""

    IPV4 = 4
    IPV6 = 6


class Source(Enum):
    """Where a path came from, as a policy rule asks for it."""

    ANY = "any"
    LOCAL = "local"  # added on this node
    INTERNAL = "internal"  # from an iBGP peer
    EXTERNAL = "external"  # from an eBGP peer


LargeCommunity = tuple[int, int, int]

_FLOAT = struct.Struct("=f")
# Of the numbers that a link bandwidth can be, the last that routers with 32 bits for it (FRR 8) take as it is.
MAX_BANDWIDTH = (1 << 32) - (1 << 8)


@dataclass(frozen=True, slots=True)
class BgpGlobal:
    """Who the daemon is. Port -1: do not listen; no addresses: listen on all."""

    asn: int
    router_id: str
    listen_port: int = 179
    listen_addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PrefixLimit:
    """At most so many prefixes of a family from a peer; past it the daemon ends the session."""

    family: Family
    maximum: int
    warning_percent: int = 75


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a peer and a group of dynamic neighbours have in common. Times in seconds.

    `asn` is the neighbour's; `local_asn` 0: the daemon's own. `multihop_ttl` 0: directly connected.
    `ttl_security` 0: off, else how many hops away the neighbour may be (RFC 5082). `restart_time` 0: no
    graceful restart. `cluster_id` stands only with `reflector_client`; empty: the router id.
    """

    asn: int
    local_asn: int = 0
    families: frozenset[Family] = frozenset()
    password: str = field(default="", repr=False)
    local_address: Address | None = None
    passive: bool = False
    multihop_ttl: int = 0
    ttl_security: int = 0
    connect_retry: int = 5
    hold: int = 90
    keepalive: int = 30
    restart_time: int = 0
    reflector_client: bool = False
    cluster_id: str = ""
    prefix_limits: tuple[PrefixLimit, ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """A BGP neighbour as configured: at an address, or whoever is at the other end of an interface."""

    address: Address | None
    options: SessionOptions
    interface: str = ""
    port: int = 179
    description: str = field(default="", compare=False)  # words are no reason to reset a session

    @property
    def key(self) -> str:
        """What names the peer, in logs and in the daemon."""
        return self.interface or str(self.address)


@dataclass(frozen=True, slots=True)
class DynamicPeers:
    """Neighbours that may come from anywhere in these prefixes; `name` is that of the daemon's peer group."""

    name: str
    prefixes: tuple[Prefix, ...]
    options: SessionOptions
    description: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Refusals:
    """How often a session was refused when it was about to begin: a NOTIFICATION that answers an OPEN.

    By the peer, whatever it did not like of us; by the daemon, whatever it did not like of the peer.
    """

    by_peer: int = 0
    by_daemon: int = 0


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A peer as the daemon has it, and the state of its session ("established", "active", …).

    `group` names the dynamic neighbours that it is one of. `address` is where it was found, with an
    interface's zone ("fe80::1%eth0"). `uptime` in seconds since established, `reason` why it last ended where the
    daemon tells. `end_of_rib`: families of which it has told everything.
    """

    peer: Peer
    state: str
    group: str = ""
    address: str = ""
    uptime: float = 0.0
    reason: str = ""
    received: int = 0
    accepted: int = 0
    advertised: int | None = 0  # None: not counted, it would cost the daemon too much
    router_id: str = ""
    graceful: bool = False  # both sides have said that they restart gracefully
    end_of_rib: frozenset[Family] = frozenset()
    # What the daemon was told of secrets can't be read back by all versions: then it is not compared.
    compares_password: bool = True
    # Since the peer was added, as far as the daemon counts them; some tell the reason instead.
    refusals: Refusals = Refusals()

    @property
    def established(self) -> bool:
        """Whether routes can be exchanged."""
        return self.state == "established"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a path of ours carries besides its next hop; None: left out. Communities as 32-bit numbers."""

    communities: frozenset[int] = frozenset()
    large_communities: frozenset[LargeCommunity] = frozenset()
    local_pref: int | None = None
    med: int | None = None
    # Bytes per second (draft-ietf-idr-link-bandwidth): a router that knows it shares load in this proportion.
    link_bandwidth: int | None = None

    def __post_init__(self) -> None:
        """A link bandwidth becomes the one that will be read back."""
        if self.link_bandwidth is not None:
            object.__setattr__(self, "link_bandwidth", nearest_bandwidth(self.link_bandwidth))


def nearest_bandwidth(wanted: float) -> int:
    """What can be said of so many bytes per second: on the wire it is a float of 32 bits."""
    return int(_FLOAT.unpack(_FLOAT.pack(min(max(wanted, 0), MAX_BANDWIDTH)))[0])


@dataclass(frozen=True, slots=True)
class LocalPath:
    """A path of this node. An unspecified next hop (0.0.0.0, ::) is each session's own address."""

    prefix: Prefix
    next_hop: Address
    attributes: Attributes = Attributes()

    def __hash__(self) -> int:
        """There is one for a prefix, as a rule, and thousands are put into a set."""
        return hash(self.prefix)


@dataclass(frozen=True, slots=True)
class LearnedPath:
    """A path from a peer; `origin` 0 IGP, 1 EGP, 2 incomplete; `external` says eBGP.

    `interface` names the link of a next hop that is link-local; `stale`: its peer is restarting gracefully.
    """

    next_hop: Address
    peer: str
    local_pref: int
    as_path_length: int
    origin: int
    med: int
    external: bool
    interface: str = ""
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    """All paths for one prefix: ours, whether others added local ones, the learned in order of preference."""

    prefix: Prefix
    ours: LocalPath | None
    foreign: bool
    learned: tuple[LearnedPath, ...]


@dataclass(frozen=True, slots=True, order=True)
class PrefixMatch:
    """Prefixes inside this one whose length lies in the range, both ends included."""

    prefix: Prefix
    shortest: int
    longest: int

    def covers(self, prefix: Prefix) -> bool:
        """Whether the prefix is one of those meant."""
        wide = prefix.max_prefixlen - self.prefix.prefixlen
        return (
            prefix.version == self.prefix.version
            and max(self.shortest, self.prefix.prefixlen) <= prefix.prefixlen <= self.longest
            and int(prefix.network_address) >> wide == int(self.prefix.network_address) >> wide
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One statement of a policy: where all its conditions hold, it decides and changes the path.

    `peers` are keys of Peer or names of DynamicPeers; None: all. `prefixes` None: all, empty: no path at all.
    Prefixes of both families may be mixed: the adapter splits what its daemon can't mix. `carries`: any of these
    communities; empty: whatever the path carries.
    """

    accept: bool
    peers: frozenset[str] | None = None
    prefixes: frozenset[PrefixMatch] | None = None
    source: Source = Source.ANY
    carries: frozenset[int] = frozenset()
    communities: frozenset[int] = frozenset()
    large_communities: frozenset[LargeCommunity] = frozenset()
    local_pref: int | None = None
    med: int | None = None
    prepend: int = 0  # times the daemon's own AS, besides the one that BGP adds


@dataclass(frozen=True, slots=True)
class Policies:
    """What the daemon takes from peers and tells them; the first rule that fits decides, none: rejected.

    `members` say where each name in a rule's `peers` is found: addresses or prefixes of neighbours.
    """

    imports: tuple[Rule, ...]
    exports: tuple[Rule, ...]
    members: tuple[tuple[str, tuple[str, ...]], ...] = ()
