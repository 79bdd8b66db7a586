"""What a node's configuration says, as typed values. How they are read from a file is in speaker.config."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from speaker.bgp import Attributes, Family

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speaker.bgp import Address, BgpGlobal, DynamicPeers, LargeCommunity, Peer, Prefix, PrefixMatch

NO_ATTRIBUTES = Attributes()


@dataclass(frozen=True, slots=True)
class Announcement:
    """Prefixes that are announced alike. `peers`: keys of the only ones told, None: all.

    `next_hops` holds only families whose next hop is not the session's address. `prepend` is for eBGP peers.
    """

    name: str
    prefixes: tuple[Prefix, ...] = ()
    attributes: Attributes = NO_ATTRIBUTES
    next_hops: tuple[Address, ...] = ()
    prepend: int = 0
    peers: frozenset[str] | None = None

    def next_hop(self, family: Family) -> Address:
        """The configured next hop, or the unspecified address: the session's own."""
        for address in self.next_hops:
            if address.version == family:
                return address
        return ipaddress.IPv4Address(0) if family == Family.IPV4 else ipaddress.IPv6Address(0)


@dataclass(frozen=True, slots=True)
class Announce:
    """What peers are told.

    `subnets` have an unreachable route behind each in the kernel; `hosts` says how single pod addresses outside
    them are announced, its own `prefixes` are empty; `others` are prefixes without a kernel route.
    `transit`: also what other peers told.
    """

    subnets: Announcement = Announcement("subnets")
    hosts: Announcement = Announcement("hosts")
    others: tuple[Announcement, ...] = ()
    transit: bool = False


@dataclass(frozen=True, slots=True)
class Accept:
    """Which learned prefixes are installed: these, all if empty; never more than `maximum`, 0: any number."""

    prefixes: tuple[PrefixMatch, ...] = ()
    default_route: bool = False
    maximum: int = 0


@dataclass(frozen=True, slots=True)
class PeerPolicy:
    """What one peer, or group of dynamic ones, may tell and is told, on top of Announce and Accept.

    `…_only` None: everything that those allow.
    """

    import_only: frozenset[PrefixMatch] | None = None
    import_reject: frozenset[PrefixMatch] = frozenset()
    import_local_pref: int | None = None
    export_only: frozenset[PrefixMatch] | None = None
    export_reject: frozenset[PrefixMatch] = frozenset()
    export_communities: frozenset[int] = frozenset()
    export_large_communities: frozenset[LargeCommunity] = frozenset()
    export_local_pref: int | None = None
    export_med: int | None = None
    export_prepend: int = 0


class LoadShare(Enum):
    """What a link bandwidth counts: nothing, the healthy endpoints, or their weights."""

    NONE = "none"
    ENDPOINTS = "endpoints"
    WEIGHT = "weight"


@dataclass(frozen=True, slots=True)
class Pool:
    """Virtual IPs inside these prefixes, and how they are announced and routed on this node.

    `announcement` has the attributes, with the pool's prefixes. `min_endpoints`: with fewer healthy ones a VIP is
    announced with a worse preference, or not at all if `withdraw_below`. `unreachable`: without any, packets for it
    are refused here, even where another node would have them. `forwards_unknown`: packets for an address that no
    node announces go where another route leads, and do not end here. `damping`: seconds for which a number must be the
    same before peers are told it.
    """

    announcement: Announcement
    load_share: LoadShare = LoadShare.NONE
    min_endpoints: int = 1
    withdraw_below: bool = False
    unreachable: bool = False
    forwards_unknown: bool = False
    damping: float = 5.0


@dataclass(frozen=True, slots=True)
class Anycast:
    """Virtual IPs. Times in seconds.

    `drain`: how long peers are asked to go elsewhere before a VIP is withdrawn; `drain_prepend` times the own AS is
    then prepended for eBGP peers. `buckets`, `idle_timer` and `unbalanced_timer` are those of the kernel's resilient
    next-hop groups. A VIP in no pool is announced as announce.hosts says.
    """

    pools: tuple[Pool, ...] = ()
    drain: int = 30
    drain_prepend: int = 3
    metric: int = 190
    protocol: int = 178
    buckets: int = 4096
    idle_timer: int = 120
    unbalanced_timer: int = 0


@dataclass(frozen=True, slots=True)
class Kernel:
    """Where learned routes go."""

    install: bool = True
    protocol: int = 177
    metric: int = 1190
    table: int = 254


@dataclass(frozen=True, slots=True)
class Api:
    """Where gobgpd takes gRPC. With `ca` the channel is TLS; `certificate` and `key` are the speaker's own."""

    target: str
    ca: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything. Times are seconds; `policies` by the key of a peer or the name of dynamic ones."""

    bgp: BgpGlobal
    api: Api
    peers: tuple[Peer, ...] = ()
    dynamic: tuple[DynamicPeers, ...] = ()
    policies: Mapping[str, PeerPolicy] = field(default_factory=dict)
    announce: Announce = Announce()
    accept: Accept = Accept()
    kernel: Kernel = Kernel()
    anycast: Anycast = Anycast()
    state_dir: str = "/run/anypod"
    follow_state: bool = True
    stale_routes: int = 90
    resync: int = 60
    withdraw_on_stop: bool = False
    dead_man: int = 300  # after the speaker's last sign of life, gobgpd is stopped; 0: never
    metrics: str = "127.0.0.1:9179"  # empty: none
    page: bool = True  # the status page, where the metrics are
    files: frozenset[str] = field(default=frozenset(), compare=False)  # all that were read for it
