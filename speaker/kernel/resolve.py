"""How a next hop on none of this node's links is reached: over other routes, to neighbours on a link. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from speaker.prefixes import Nets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from speaker.bgp import Address, Prefix
    from speaker.desired import Held, NextHop

# A chain of more routes than this is not followed; one that bites its own tail leads nowhere by itself.
LONGEST_CHAIN = 8
# More next hops beyond the links than this are no network: the rest leads nowhere, and the loop does not wait for it.
MOST_BEYOND = 4096

NextHops = frozenset["NextHop"]
NOWHERE: NextHops = frozenset()


class Offers:
    """Next hops of the prefixes that peers tell and that may be installed; `sets` counts those that are alike."""

    def __init__(self) -> None:
        self.hops: dict[Prefix, NextHops] = {}
        self.nets = Nets()
        self.sets: Counter[NextHops] = Counter()

    def put(self, prefix: Prefix, hops: NextHops) -> bool:
        """Notes the next hops, with none the prefix goes; whether that makes a difference."""
        before = self.hops.get(prefix)
        if hops == (before or NOWHERE):
            return False
        if before is None:
            self.nets.add(prefix)
        elif self.sets[before] > 1:
            self.sets[before] -= 1
        else:
            del self.sets[before]
        if hops:
            self.hops[prefix] = hops
            self.sets[hops] += 1
        else:
            del self.hops[prefix]
            self.nets.discard(prefix)
        return True


class Ways:
    """What a next hop can be reached over: what the kernel holds, and what peers offer, with this metric.

    `default`: 0.0.0.0/0 and ::/0 count, too.
    """

    def __init__(self, held: Held, offers: Offers, metric: int, default: bool) -> None:
        self._held = held
        self._offers = offers
        self._metric = metric
        self._shortest = 0 if default else 1
        self._direct = Nets(held.direct)
        self._down = Nets(net for net in held.down if not isinstance(net, str))
        self._others = Nets(held.others)

    def neighbours(self, hops: Iterable[NextHop]) -> dict[NextHop, NextHops]:
        """Those next hops on links that lead to each; one that can't be reached is missing.

        The longest prefix around a next hop decides, as it does in the kernel. A way to itself counts for none.
        """
        found: dict[NextHop, NextHops] = {}
        over: dict[NextHop, NextHops] = {}
        pending = sorted(hops, key=_order)
        while pending:
            hop = pending.pop()
            if hop in found or hop in over:
                continue
            if self._on_link(hop):
                found[hop] = frozenset({hop})
            elif len(over) < MOST_BEYOND:
                over[hop] = self._next(hop)
                pending += over[hop]
        over = {hop: vias for hop, vias in over.items() if vias}
        for _ in range(LONGEST_CHAIN):
            farther = {hop: union(found, vias) for hop, vias in over.items()}
            farther = {hop: vias for hop, vias in farther.items() if vias and found.get(hop) != vias}
            if not farther:
                break
            found.update(farther)
        return found

    def _on_link(self, hop: NextHop) -> bool:
        if hop.address.is_link_local or hop.interface:
            return bool(hop.interface) and hop.interface not in self._held.down
        if hop.address in self._held.own:
            return False
        return self._longest(self._direct, hop.address) is not None

    def _longest(self, nets: Nets, address: Address) -> Prefix | None:
        found = next(nets.around(address), None)
        return found if found is not None and found.prefixlen >= self._shortest else None

    def _next(self, hop: NextHop) -> NextHops:
        if hop.address.is_link_local or hop.interface or hop.address in self._held.own:
            return NOWHERE
        down, other = self._longest(self._down, hop.address), self._longest(self._others, hop.address)
        net, hops = self._longest_offer(hop.address)
        if other is not None and (other.prefixlen, -self._held.others[other].metric) >= (net, -self._metric):
            net, hops = other.prefixlen, self._held.others[other].next_hops
        return NOWHERE if down is not None and down.prefixlen >= net else hops

    def _longest_offer(self, address: Address) -> tuple[int, NextHops]:
        for net in self._offers.nets.around(address):
            if net.prefixlen < self._shortest:
                break
            # A route does not lead to its own next hop.
            hops = self._offers.hops[net]
            hops = frozenset(via for via in hops if via.address not in net or self._on_link(via))
            if hops:
                return net.prefixlen, hops
        return -1, NOWHERE


def _order(hop: NextHop) -> tuple[int, int, str]:
    return hop.address.version, int(hop.address), hop.interface


def union(found: Mapping[NextHop, NextHops], hops: Iterable[NextHop]) -> NextHops:
    """The neighbours that lead to any of the next hops."""
    return NOWHERE.union(*(found.get(hop, NOWHERE) for hop in hops))
