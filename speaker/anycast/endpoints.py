"""Endpoints: which pod of this node serves which virtual IP, as the state file tells it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from cni.healthcheck import load
from speaker.prefixes import hashed_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni.allocation import Allocation
    from cni.healthcheck import HealthCheck
    from speaker.bgp import Address

# Container, interface name, and the pod's own address: what is probed once, whatever VIPs it serves.
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod that serves a VIP over its own address `via`; `nexthop` is the kernel's number for that way.

    `weight` is 1 to 100. Without a `check` the endpoint counts as healthy while its record stands.
    """

    vip: Address
    key: Key
    via: Address
    nexthop: int
    weight: int
    pod: str
    check: HealthCheck | None

    @property
    def container(self) -> str:
        """The pod's sandbox."""
        return self.key[0]

    @property
    def name(self) -> str:
        """What a person calls the pod."""
        return self.pod or self.container


def endpoints(allocations: Iterable[Allocation]) -> tuple[Endpoint, ...]:
    """All endpoints; ValueError or TypeError for values that no plugin wrote."""
    return tuple(
        Endpoint(
            vip=_address(vip.ip),
            key=(one.container, one.ifname, vip.via),
            via=_address(vip.via),
            nexthop=vip.nexthop,
            weight=vip.weight,
            pod=one.pod,
            check=_check(vip.health) if vip.health else None,
        )
        for one in allocations
        for vip in one.vips
    )


# Thousands of endpoints share a few checks and addresses.
@lru_cache(maxsize=1 << 12)
def _check(compiled: str) -> HealthCheck:
    return load(json.loads(compiled))


@lru_cache(maxsize=1 << 14)
def _address(text: str) -> Address:
    return hashed_address(text)
