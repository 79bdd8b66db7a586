"""What the nodes of the soak are configured to do and hold, and what follows from that for everybody. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from tests.system.peers_rig import peer, toml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path as File

    from speaker.bgp import Address, Prefix

RACKS = (1, 2)
NODES = (1, 2, 3)
VERSIONS = (4, 6)
UNREACHABLE_METRIC = 4_000_000_000
METRIC = 1190
VIP_METRIC = 190
# Within a node a VIP's own path comes before what others tell of it.
VIP_PREFERENCE = (1 << 32) - 1
POOL = ("192.0.2.0/24", "2001:db8:aaaa::/64")


def address(version: int, rack: int, node: int, host: int) -> str:
    """On the link between a rack (host 1) and a node (host 2)."""
    return f"10.{90 + rack}.{node}.{host}" if version == 4 else f"fd{90 + rack}:{node}::{host}"


def rack_asn(rack: int) -> int:
    return 65500 + rack


def node_asn(node: int) -> int:
    return 65000 + node


@dataclass(frozen=True, slots=True)
class Path:
    """A path as its owner, a rack or a node has it; without a MED or a local preference they are 0."""

    hop: str
    as_path: tuple[int, ...] = ()
    communities: frozenset[str] = frozenset()
    med: int = 0
    local_pref: int = 0


@dataclass(slots=True)
class Manner:
    """How something is announced; None: nothing is said of it."""

    communities: tuple[str, ...] | None = None
    med: int | None = None
    local_pref: int | None = None

    def toml(self) -> str:
        keys = {"communities": self.communities, "med": self.med, "local_preference": self.local_pref}
        return toml(**{key: value for key, value in keys.items() if value is not None})

    def over(self, other: Manner) -> Manner:
        """What counts where this is said in place of the other."""
        pairs = ((getattr(self, one.name), getattr(other, one.name)) for one in fields(Manner))
        return Manner(*(other if mine is None else mine for mine, other in pairs))


@dataclass(slots=True)
class Side:
    """What a node is to do with one rack's sessions; `password` is empty without one."""

    password: str = ""
    description: str = ""
    hold: int = 9
    withheld: tuple[str, ...] = ()
    communities: tuple[str, ...] = ()
    med: int | None = None
    prepend: int = 0
    refused: tuple[str, ...] = ()
    local_pref: int = 0

    def toml(self) -> str:
        told = toml(reject=self.withheld, communities=self.communities, prepend=self.prepend)
        told += "" if self.med is None else toml(med=self.med)
        taken = toml(reject=self.refused) + (
            toml(local_preference=self.local_pref) if self.local_pref else ""
        )
        timers = toml(connect_retry=1, hold=self.hold, keepalive=3)
        return f"[peer.timers]\n{timers}[peer.export]\n{told}[peer.import]\n{taken}"


@dataclass(slots=True)
class Endpoint:
    """A pod that serves virtual IPs while something listens in it; `via` is its own address of each family."""

    vips: tuple[str, ...]
    via: dict[int, str]
    listens: bool = True


@dataclass(slots=True)
class Settings:
    """A node's speaker.toml, the addresses outside its subnets that its pods hold, and what they serve."""

    number: int
    racks: set[int] = field(default_factory=lambda: set(RACKS))
    sides: dict[int, Side] = field(default_factory=lambda: {rack: Side() for rack in RACKS})
    plain: Manner = field(default_factory=Manner)
    hosts: Manner = field(default_factory=Manner)
    extra: bool = False
    maximum: int = 0
    metric: int = METRIC
    stale: int = 20
    pool: Manner = field(default_factory=Manner)
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    @property
    def subnets(self) -> tuple[str, str]:
        return f"10.244.{self.number}.0/24", f"fd24:{self.number}::/64"

    @property
    def service(self) -> str:
        return f"10.96.{self.number}.0/24"

    @property
    def vips(self) -> tuple[str, ...]:
        """What its pods may ask for."""
        return (
            *(f"192.0.2.{10 * self.number + n}" for n in range(2)),
            f"2001:db8:aaaa::{self.number}",
        )

    def served(self) -> dict[str, set[str]]:
        """The VIPs that are served, over which addresses of pods."""
        found: dict[str, set[str]] = {}
        for endpoint in self.endpoints.values():
            for vip in endpoint.vips if endpoint.listens else ():
                found.setdefault(vip, set()).add(endpoint.via[ip_address(vip).version])
        return found

    @property
    def peers(self) -> set[str]:
        return {address(version, rack, self.number, 1) for rack in self.racks for version in VERSIONS}

    def body(self, secrets: File) -> str:
        """Its speaker.toml below [bgp]; `secrets` has the password files."""
        peers = "".join(
            peer(
                address(version, rack, self.number, 1),
                rack_asn(rack),
                side.toml(),
                description=side.description,
                **({"password_file": str(secrets / f"rack{rack}.password")} if side.password else {}),
            )
            for rack, side in self.sides.items()
            if rack in self.racks
            for version in VERSIONS
        )
        services = [self.service] if self.extra else []
        announce = toml(subnets=self.subnets, prefixes=services) + self.plain.toml()
        pool = f"[[anycast.pool]]\n{toml(name='edge', prefixes=POOL)}{self.pool.toml()}"
        # No regular comparison comes to the rescue of what an event should have caused.
        return (
            f"{peers}[announce]\n{announce}[announce.hosts]\n{self.hosts.toml()}[accept]\n{toml(maximum=self.maximum)}"
            f"{pool}[kernel]\n{toml(metric=self.metric)}[timers]\n{toml(stale_routes=self.stale, resync=900)}"
        )

    def announced(self) -> dict[Prefix, Path]:
        """Its own paths, as its gobgpd has them."""
        texts = [*self.subnets, *([self.service] if self.extra else [])]
        manners = dict.fromkeys(map(ip_network, texts), self.plain)
        hosts = self.hosts.over(self.plain)
        for addresses in self.addresses.values():
            manners |= dict.fromkeys(map(ip_network, addresses), hosts)
        vips = Manner(self.pool.communities, self.pool.med, VIP_PREFERENCE)
        manners |= dict.fromkeys(map(ip_network, self.served()), vips)
        return {
            prefix: Path(
                "0.0.0.0" if prefix.version == 4 else "::",
                (),
                frozenset(manner.communities or ()),
                manner.med or 0,
                manner.local_pref or 0,
            )
            for prefix, manner in manners.items()
        }

    def told(self, rack: int) -> dict[Prefix, Path]:
        """What that rack has of it."""
        if rack not in self.racks:
            return {}
        side = self.sides[rack]
        return {
            prefix: Path(
                address(prefix.version, rack, self.number, 2),
                (node_asn(self.number),) * (1 + side.prepend),
                path.communities | frozenset(side.communities),
                path.med if side.med is None else side.med,
            )
            for prefix, path in self.announced().items()
            if not within(prefix, side.withheld)
        }

    def heard(self, others: Mapping[int, Settings], prefixes: Mapping[int, set[str]]) -> Heard:
        """What the racks tell it of the other nodes and of their own `prefixes`, and it takes."""
        found: Heard = {}
        for rack in self.racks:
            side = self.sides[rack]
            offers = {ip_network(text): Path("") for text in prefixes[rack]}
            for other in others.values():
                if other is not self:
                    told = other.told(rack).items()
                    offers |= {prefix: path for prefix, path in told if "no-export" not in path.communities}
            for prefix, path in offers.items():
                if not within(prefix, side.refused):
                    here = address(prefix.version, rack, self.number, 1)
                    as_path = (rack_asn(rack), *path.as_path)
                    taken = Path(here, as_path, path.communities, 0, side.local_pref)
                    found.setdefault(prefix, set()).add(taken)
        return found


Heard = dict["Prefix", set[Path]]
Kernel = dict[tuple["Prefix", int], frozenset["Address"]]


def within(prefix: Prefix, nets: tuple[str, ...]) -> bool:
    """Whether a prefix list of plain prefixes takes it."""
    found = (ip_network(text) for text in nets)
    return any(prefix.version == net.version and net.supernet_of(prefix) for net in found)  # type: ignore[arg-type]


def routes(heard: Heard, metric: int) -> Kernel:
    """The learned routes of the kernel: over all paths that are as good as the best."""
    found: Kernel = {}
    for prefix, paths in heard.items():
        best = max((path.local_pref or 100, -len(path.as_path)) for path in paths)
        found[prefix, metric] = frozenset(
            ip_address(path.hop) for path in paths if (path.local_pref or 100, -len(path.as_path)) == best
        )
    return found


def behind(settings: Settings) -> Kernel:
    """The unreachable routes behind its subnets and the pool of VIPs."""
    nets = (*settings.subnets, *POOL)
    return {(ip_network(net), UNREACHABLE_METRIC): frozenset() for net in nets}
