"""What the allocator promises, as simply as it can be said: sets, lists, and no kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Attachment = tuple[str, str]  # container, interface name
Ips = tuple[str, ...]


@dataclass
class RangeModel:
    """One range: what was never given out, in order; then what rests, the longest-released first.

    What one call released rests together: in which order, nobody promised.
    """

    fresh: list[str]
    resting: list[set[str]] = field(default_factory=list)

    @classmethod
    def of(cls, subnet: str) -> RangeModel:
        network = ip_network(subnet)
        first = int(network.network_address) + 2
        # IPv6 has no broadcast address.
        last = int(network.broadcast_address) - (1 if network.version == 4 else 0)
        return cls([str(ip_address(number)) for number in range(first, last + 1)])

    def candidates(self) -> set[str]:
        """What the next attachment may get: one of these; empty where all are held."""
        if self.fresh:
            return {self.fresh[0]}
        return self.resting[0] if self.resting else set()

    def take(self, ip: str) -> None:
        assert ip in self.candidates(), f"{ip} was given out, and it was the turn of {self.candidates()}"
        if self.fresh:
            self.fresh.pop(0)
            return
        self.resting[0].remove(ip)
        if not self.resting[0]:
            self.resting.pop(0)

    def rest(self, ips: Iterable[str]) -> None:
        found = set(ips)
        if found:
            self.resting.append(found)


@dataclass
class NetworkModel:
    """A network: an attachment gets one address of each range."""

    ranges: list[RangeModel]
    held: dict[Attachment, Ips] = field(default_factory=dict)

    @classmethod
    def of(cls, *subnets: str) -> NetworkModel:
        return cls([RangeModel.of(subnet) for subnet in subnets])

    def exhausted(self) -> bool:
        return any(not one.candidates() for one in self.ranges)

    def add(self, one: Attachment, ips: Ips) -> None:
        assert len(ips) == len(self.ranges), ips
        for place, ip in enumerate(ips):
            self.ranges[place].take(ip)
        self.held[one] = ips

    def release(self, ones: Iterable[Attachment]) -> None:
        """What a single call gives back."""
        freed = [self.held.pop(one) for one in list(ones) if one in self.held]
        for place, one in enumerate(self.ranges):
            one.rest(ips[place] for ips in freed)
