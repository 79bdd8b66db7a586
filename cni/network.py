"""The network that a validated netconf describes, as plain values: what the hot path works with.

Addresses are packed bytes and integers, so that neither `ipaddress` nor a schema is
imported for a netconf that was seen before. Plain classes with slots stand in for
dataclasses, whose import costs as much as the rest of the verb.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# Part of the key under which a compiled netconf is remembered: raise it with any change of this form.
FORM = 3


def ip_text(ip: bytes) -> str:
    """A packed address as people write it."""
    return inet_ntop(AF_INET if len(ip) == 4 else AF_INET6, ip)


def packed(text: str) -> bytes:
    """An address in text form as 4 or 16 bytes; ValueError for what is none."""
    try:
        return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, UnicodeError):
        raise ValueError(text) from None


def packed_prefix(text: str) -> tuple[bytes, int]:
    """`10.1.0.5/24` as (packed, 24); ValueError for what is no address with its prefix length."""
    address, _, length = text.partition("/")
    ip = packed(address)
    if not length.isdecimal() or not length.isascii() or len(length) > 3 or int(length) > 8 * len(ip):
        raise ValueError(text)
    return ip, int(length)


def to_bytes(number: int, family: int) -> bytes:
    """An address as a number, packed for its family (4 or 6)."""
    return number.to_bytes(4 if family == 4 else 16, "big")


class Range:
    """Addresses `first` to `last` of a subnet, as numbers; `gateway` is never given to a pod."""

    __slots__ = ("family", "first", "gateway", "last", "prefixlen", "subnet")

    def __init__(self, family: int, subnet: int, prefixlen: int, first: int, last: int, gateway: int) -> None:
        self.family = family
        self.subnet = subnet
        self.prefixlen = prefixlen
        self.first = first
        self.last = last
        self.gateway = gateway

    @property
    def pool(self) -> str:
        """The name under which the state file keeps this range's order of release."""
        return f"{self.first:x}-{self.last:x}"

    def __str__(self) -> str:
        return f"{ip_text(to_bytes(self.first, self.family))}-{ip_text(to_bytes(self.last, self.family))}"

    def compiled(self) -> list[object]:
        """What the constructor takes, as JSON."""
        return [self.family, self.subnet, self.prefixlen, self.first, self.last, self.gateway]

    def subnet_text(self) -> str:
        """`10.1.0.0/24`."""
        return f"{ip_text(to_bytes(self.subnet, self.family))}/{self.prefixlen}"


class PodRoute:
    """A route inside the pod; `gateway` None stands for the range's own gateway, 0 and scope -1 for not given."""

    __slots__ = ("advmss", "dst", "gateway", "mtu", "prefixlen", "priority", "scope", "table")

    def __init__(  # noqa: PLR0913, PLR0917 - the fields of a value
        self,
        dst: bytes,
        prefixlen: int,
        gateway: bytes | None,
        mtu: int = 0,
        advmss: int = 0,
        priority: int = 0,
        table: int = 0,
        scope: int = -1,
    ) -> None:
        self.dst = dst
        self.prefixlen = prefixlen
        self.gateway = gateway
        self.mtu = mtu
        self.advmss = advmss
        self.priority = priority
        self.table = table
        self.scope = scope

    def compiled(self) -> list[object]:
        """What the constructor takes, as JSON."""
        gateway = self.gateway.hex() if self.gateway else ""
        numbers = (self.mtu, self.advmss, self.priority, self.table, self.scope)
        return [self.dst.hex(), self.prefixlen, gateway, *numbers]


class PodAddress:
    """An address that a pod got: packed, with its prefix length and its gateway (packed; b"" for none)."""

    __slots__ = ("gateway", "ip", "prefixlen")

    def __init__(self, ip: bytes, prefixlen: int, gateway: bytes) -> None:
        self.ip = ip
        self.prefixlen = prefixlen
        self.gateway = gateway

    def text(self) -> str:
        """`10.1.0.5/24`."""
        return f"{ip_text(self.ip)}/{self.prefixlen}"

    def subnet_text(self) -> str:
        """`10.1.0.0/24`."""
        shift = 8 * len(self.ip) - self.prefixlen
        start = int.from_bytes(self.ip, "big") >> shift << shift
        return f"{ip_text(start.to_bytes(len(self.ip), 'big'))}/{self.prefixlen}"


# Where addresses come from, beside the names of delegated plugins.
BUILT_IN = ""
NO_IPAM = "none"


class Network:
    """A bridge network: one address of each range set goes to each attachment."""

    # Name of the field, and its value where nothing is said. The keys of the netconf that they stand
    # for are in netconf.py.
    DEFAULTS: tuple[tuple[str, object], ...] = (
        ("bridge", "cni0"),
        ("mtu", 0),
        ("is_gateway", False),
        ("is_default_gateway", False),
        ("force_address", False),
        ("hairpin", False),
        ("promisc", False),
        ("isolated", False),
        ("masquerade", False),
        ("macspoofchk", False),
        ("enable_dad", False),
        ("host_only", False),
        ("vlan", 0),
        ("vlan_trunk", ()),
        ("preserve_default_vlan", True),
        ("ipam", BUILT_IN),
        ("require_speaker", False),
        ("range_sets", ()),
        ("routes", ()),
        ("dns", {}),
        # Path of a file whose name servers are told where `dns` says nothing.
        ("resolv_conf", ""),
        ("anycast", None),
    )
    __slots__ = ("name", *(field for field, _ in DEFAULTS))

    name: str
    bridge: str
    mtu: int
    is_gateway: bool
    is_default_gateway: bool
    force_address: bool
    hairpin: bool
    promisc: bool
    isolated: bool
    masquerade: bool
    macspoofchk: bool
    enable_dad: bool
    # disableContainerInterface: the pod's end stays down.
    host_only: bool
    vlan: int
    vlan_trunk: Sequence[int]
    preserve_default_vlan: bool
    # BUILT_IN, NO_IPAM, or the plugin that is asked for addresses.
    ipam: str
    require_speaker: bool
    range_sets: Sequence[Sequence[Range]]
    routes: Sequence[PodRoute]
    dns: dict[str, object]
    resolv_conf: str
    # Compiled, which `pools.load` reads for those who ask; None where the netconf has no such key.
    anycast: dict[str, Any] | None

    def __init__(self, name: str, **fields: object) -> None:
        self.name = name
        for field, default in self.DEFAULTS:
            setattr(self, field, fields.get(field, default))

    def routes_with(self, addresses: Sequence[PodAddress], given: Sequence[PodRoute] = ()) -> list[PodRoute]:
        """The pod's routes and those `given` by a delegate, with the default routes of `isDefaultGateway`."""
        routes = [*self.routes, *given]
        for address in addresses if self.is_default_gateway else ():
            gateway = address.gateway
            if gateway and not any(len(one.dst) == len(gateway) and one.prefixlen == 0 for one in routes):
                routes.append(PodRoute(bytes(len(gateway)), 0, gateway))
        return routes

    @property
    def chained(self) -> bool:
        """Whether pods are another plugin's, which stands before this one in the list."""
        return self.anycast is not None and self.ipam == NO_IPAM

    @property
    def gives_vips(self) -> bool:
        """Whether pods get virtual IPs that do not ask."""
        return self.anycast is not None and bool(self.anycast["vips"])

    def ranges(self) -> list[Range]:
        """All ranges of all sets."""
        return [one for range_set in self.range_sets for one in range_set]

    def compiled(self) -> dict[str, object]:
        """A JSON form that `load` reads back without any check: what differs from the defaults."""
        fields = {
            field: getattr(self, field) for field, default in self.DEFAULTS if getattr(self, field) != default
        }
        if self.range_sets:
            fields["range_sets"] = [[one.compiled() for one in range_set] for range_set in self.range_sets]
        if self.routes:
            fields["routes"] = [one.compiled() for one in self.routes]
        return {"name": self.name, **fields}


def load(compiled: Any) -> Network:
    """The network from its compiled form, which only this code writes."""
    fields = dict(compiled)
    fields["range_sets"] = [[Range(*one) for one in range_set] for range_set in fields.get("range_sets", ())]
    fields["routes"] = [
        PodRoute(bytes.fromhex(dst), length, bytes.fromhex(gateway) or None, *numbers)
        for dst, length, gateway, *numbers in fields.get("routes", ())
    ]
    return Network(**fields)
