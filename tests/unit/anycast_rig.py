"""Fakes of the kernel and of the health checks, kept in memory, for the tests of what decides over VIPs."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from cni.healthcheck import HealthCheck
from speaker.anycast.anycast import Anycast
from speaker.anycast.endpoints import Endpoint
from speaker.anycast.health import Detail, Health

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from speaker.anycast.endpoints import Key
    from speaker.anycast.health import Target
    from speaker.bgp import Address, Prefix
    from speaker.kernel.vipgroups import VipRoute
    from speaker.settings import Config

VIP, OTHER = "198.51.100.10", "198.51.100.11"
CHECK = HealthCheck("tcp", 53)


class MemoryKernel:
    """A fake of the kernel's next-hop groups."""

    def __init__(self) -> None:
        self.left: dict[Prefix, frozenset[int]] = {}
        self.routes: Mapping[Prefix, VipRoute] = {}
        self.hops: Mapping[int, Address] = {}
        self.refuses: dict[int, str] = {}
        self.refused: dict[Prefix, str] = {}
        self.error: OSError | None = None
        self.writes = 0

    def adopt(self) -> Mapping[Prefix, frozenset[int]]:
        return self.left

    def sync(self, wanted: Mapping[Prefix, VipRoute], hops: Mapping[int, Address]) -> Mapping[int, str]:
        if self.error is not None:
            raise self.error
        self.writes += dict(wanted) != self.routes
        self.routes, self.hops = dict(wanted), dict(hops)
        tried = {member.nexthop for one in wanted.values() for member in one.members}
        return {number: reason for number, reason in self.refuses.items() if number in tried}

    def reload(self, config: Config) -> None:
        pass

    def clear(self) -> None:
        self.routes = {}

    def members(self, vip: str = VIP) -> dict[int, int]:
        found = (one for prefix, one in self.routes.items() if prefix.network_address == ip_address(vip))
        return {member.nexthop: member.weight for one in found for member in one.members}


class MemoryChecks:
    """A fake of the health checks: `states` says what they found."""

    def __init__(self) -> None:
        self.targets: Mapping[Key, Target] = {}
        self.adopted: Collection[Key] = ()
        self.states: dict[Key, Health] = {}

    def follow(self, targets: Mapping[Key, Target], adopted: Collection[Key]) -> None:
        self.targets, self.adopted = dict(targets), set(adopted)

    def health(self, key: Key) -> Health:
        return self.states.get(key, Health.UNKNOWN)

    def detail(self, key: Key) -> Detail:
        return Detail(self.health(key), 0.0)


class IdleKeeper:
    """A fake of what looks at the VIPs: nobody does."""

    def __init__(self, config: Config) -> None:
        self.kernel, self.checks = MemoryKernel(), MemoryChecks()
        self.anycast = Anycast(config, self.kernel, self.checks)


def endpoint(number: int, vip: str = VIP, check: HealthCheck | None = CHECK, weight: int = 1) -> Endpoint:
    via = ip_address(f"10.1.0.{number}")
    return Endpoint(
        ip_address(vip), (f"c{number}", "eth0", str(via)), via, number, weight, f"dns/{number}", check
    )
