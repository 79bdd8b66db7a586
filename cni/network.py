"""The network that a validated netconf describes, as plain values: what the hot path works with.

Addresses are packed bytes and integers, so that neither `ipaddress` nor a schema is
imported for a netconf that was seen before. Plain classes with slots stand in for
dataclasses, whose import costs as much as the rest of the verb.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# Part of the key under which a compiled netconf is remembered: raise it with any change of this form.
FORM = 1


def ip_text(ip: bytes) -> str:
    """A packed address as people write it."""
    return inet_ntop(AF_INET if len(ip) == 4 else AF_INET6, ip)


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

    def subnet_text(self) -> str:
        """`10.1.0.0/24`."""
        return f"{ip_text(to_bytes(self.subnet, self.family))}/{self.prefixlen}"


class PodRoute:
    """A route inside the pod; `gateway` None stands for the range's own gateway."""

    __slots__ = ("dst", "gateway", "prefixlen")

    def __init__(self, dst: bytes, prefixlen: int, gateway: bytes | None) -> None:
        self.dst = dst
        self.prefixlen = prefixlen
        self.gateway = gateway


class Network:
    """A bridge network: one address of each range set goes to each attachment."""

    __slots__ = (
        "bridge",
        "dns",
        "hairpin",
        "is_default_gateway",
        "is_gateway",
        "masquerade",
        "mtu",
        "name",
        "range_sets",
        "routes",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - the fields of a value
        self,
        name: str,
        bridge: str,
        mtu: int,
        is_gateway: bool,
        is_default_gateway: bool,
        hairpin: bool,
        masquerade: bool,
        range_sets: Sequence[Sequence[Range]],
        routes: Sequence[PodRoute],
        dns: dict[str, object],
    ) -> None:
        self.name = name
        self.bridge = bridge
        self.mtu = mtu
        self.is_gateway = is_gateway
        self.is_default_gateway = is_default_gateway
        self.hairpin = hairpin
        self.masquerade = masquerade
        self.range_sets = range_sets
        self.routes = routes
        self.dns = dns

    def routes_with(self, gateways: Sequence[bytes]) -> list[PodRoute]:
        """The pod's routes, with the default routes that `isDefaultGateway` adds for its gateways."""
        routes = list(self.routes)
        for gateway in gateways if self.is_default_gateway else ():
            if not any(len(one.dst) == len(gateway) and one.prefixlen == 0 for one in routes):
                routes.append(PodRoute(bytes(len(gateway)), 0, gateway))
        return routes

    def ranges(self) -> list[Range]:
        """All ranges of all sets."""
        return [one for range_set in self.range_sets for one in range_set]

    def compiled(self) -> list[object]:
        """A JSON form that `load` reads back without any check."""
        return [
            self.name,
            self.bridge,
            self.mtu,
            self.is_gateway,
            self.is_default_gateway,
            self.hairpin,
            self.masquerade,
            [
                [[r.family, r.subnet, r.prefixlen, r.first, r.last, r.gateway] for r in one]
                for one in self.range_sets
            ],
            [[r.dst.hex(), r.prefixlen, r.gateway.hex() if r.gateway else ""] for r in self.routes],
            self.dns,
        ]


def load(compiled: Any) -> Network:
    """The network from its compiled form, which only this code writes."""
    name, bridge, mtu, gateway, default_gateway, hairpin, masquerade, range_sets, routes, dns = compiled
    return Network(
        name,
        bridge,
        mtu,
        gateway,
        default_gateway,
        hairpin,
        masquerade,
        [[Range(*one) for one in range_set] for range_set in range_sets],
        [
            PodRoute(bytes.fromhex(dst), length, bytes.fromhex(gateway) or None)
            for dst, length, gateway in routes
        ],
        dns,
    )
