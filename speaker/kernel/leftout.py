"""What became of a learned prefix: it is in the kernel, or why it is not and what to do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from speaker.kernel.learned import Acceptance, next_hops_of
from speaker.prefixes import everything_in, never_routed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from speaker.bgp import Destination, Prefix
    from speaker.desired import Held, KernelRoute, NextHop, RouteKey
    from speaker.settings import Config

INSTALLED, REFUSED, UNREACHABLE, LEFT_OUT = "installed", "refused", "unreachable", "left-out"


class Routes(Protocol):
    """The part of speaker.kernel.routes.Routes that is used here."""

    refused: dict[RouteKey, str]

    @property
    def wanted(self) -> Mapping[RouteKey, KernelRoute]:
        """Learned routes that should be in the kernel."""

    @property
    def unresolved(self) -> Mapping[NextHop, int]:
        """Next hops that can't be reached."""

    @property
    def beyond_maximum(self) -> int:
        """How many accept.maximum leaves out."""

    @property
    def held(self) -> Held:
        """What the kernel held when it was last read."""

    def why_unreachable(self, hop: NextHop) -> str:
        """Why a next hop can't be reached."""


@dataclass(frozen=True, slots=True)
class Fate:
    """`state` is one of the four above."""

    state: str
    reason: str = ""
    fix: str = ""


class Fates:
    """Decides for one moment. `announced` are prefixes of ours, `fallbacks` those that are installed as well."""

    def __init__(
        self, config: Config, routes: Routes, announced: Collection[Prefix], fallbacks: Collection[Prefix]
    ) -> None:
        self._config = config
        self._routes = routes
        self._announced = announced
        self._fallbacks = fallbacks
        self._accepted = Acceptance(config)

    def of(self, destination: Destination) -> Fate:
        """What became of a destination, in the order in which it is decided."""
        key = destination.prefix, self._config.kernel.metric
        if key in self._routes.wanted:
            if key in self._routes.refused:
                return Fate(REFUSED, f"the kernel refuses it: {self._routes.refused[key]}", "see that reason")
            return Fate(INSTALLED)
        return (
            self._ours(destination)
            or self._refused(destination.prefix)
            or self._lost(destination)
            or Fate(
                LEFT_OUT,
                "it is a part of a link's network and would hide a neighbour there, or the speaker has not come to it",
                "have the peer announce a prefix that is not inside this node's own networks",
            )
        )

    def _ours(self, destination: Destination) -> Fate | None:
        prefix = destination.prefix
        if not self._config.kernel.install:
            return Fate(LEFT_OUT, "kernel.install is false", "set kernel.install = true in speaker.toml")
        if destination.foreign:
            why = "somebody else added a local path for it to this gobgpd"
            return Fate(LEFT_OUT, why, f"gobgp global rib del {prefix}, if it is not wanted")
        ours = destination.ours is not None or prefix in self._announced
        if ours and prefix not in self._fallbacks:
            return Fate(LEFT_OUT, "this node announces it itself")
        if prefix in self._routes.held.connected:
            return Fate(LEFT_OUT, "it is a network of one of this node's own links")
        return None

    def _refused(self, prefix: Prefix) -> Fate | None:
        if prefix in self._accepted:
            return None
        if prefix.prefixlen == 0:
            fix = "set accept.default-route = true in speaker.toml"
            return Fate(LEFT_OUT, "accept.default-route is false", fix)
        if never_routed(prefix):
            return Fate(LEFT_OUT, "such addresses are never routed", "have the peer not announce it")
        if any(everything_in(one).covers(prefix) for one in self._config.announce.subnets.prefixes):
            why = "it is inside a subnet that this node announces"
            return Fate(LEFT_OUT, why, "give each pod subnet to one node")
        return Fate(LEFT_OUT, "no entry of accept.prefixes covers it", f'add "{prefix}" to accept.prefixes')

    def _lost(self, destination: Destination) -> Fate | None:
        hops = next_hops_of(destination)
        lost = [hop for hop in hops if hop in self._routes.unresolved]
        if lost and len(lost) == len(hops):
            hop = min(lost, key=str)
            why = f"next hop {hop}: {self._routes.why_unreachable(hop)}"
            return Fate(UNREACHABLE, why, f"see `ip route get {hop.address}` and the link to it")
        if self._routes.beyond_maximum:
            return Fate(LEFT_OUT, "accept.maximum is reached", "raise accept.maximum, or accept less")
        return None
