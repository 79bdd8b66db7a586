"""Makes the next-hop objects of pods: finds the link to each address, and remembers what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cni import nexthop
from cni.rtnl import route_get
from speaker.kernel.vipcodec import TAKEN, explain_hop, hop_body, way_to

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from cni.netlink import NetlinkError, NetlinkSocket
    from speaker.bgp import Address
    from speaker.kernel.vipgroups import Hop, VipsHeld


class NextHops:
    """Objects by number. `failed` says why some can't be made; they are tried again after `forget`.

    The socket is for questions, `send` for what is written.
    """

    def __init__(
        self, socket: NetlinkSocket, send: Callable[[Sequence[bytes]], list[NetlinkError | None]]
    ) -> None:
        self._socket = socket
        self._send = send
        self._seen: dict[int, Address] = {}  # the address that each was looked up for
        self.failed: dict[int, str] = {}
        self.usable: frozenset[int] = frozenset()

    def forget(self) -> None:
        """The kernel was read anew: every link may be another, and every object may have gone."""
        self._seen = {}
        self.failed = {}

    def make(self, needed: Mapping[int, Address], held: VipsHeld, protocol: int) -> frozenset[int]:
        """Makes what is missing, puts right what differs; which numbers became usable, or are not so any more."""
        self.failed = {number: why for number, why in self.failed.items() if number in needed}
        self._seen = {number: address for number, address in self._seen.items() if number in needed}
        ask = [number for number, address in needed.items() if self._seen.get(number) != address]
        found = self._find(ask, needed, held)
        writes = [
            (
                nexthop.nexthop_replace
                if number in held.hops or number in held.former_numbers
                else nexthop.nexthop_add
            )(hop_body(number, hop, protocol))
            for number, hop in found.items()
        ]
        for (number, hop), error in zip(found.items(), self._send(writes), strict=True):
            if error is None:
                held.hops[number] = hop
            else:
                self.failed[number] = explain_hop(error)
        before, self.usable = self.usable, frozenset(needed.keys() - self.failed.keys())
        return before ^ self.usable

    def _find(self, ask: Collection[int], needed: Mapping[int, Address], held: VipsHeld) -> dict[int, Hop]:
        """The ways that have to be written."""
        found: dict[int, Hop] = {}
        answers = self._socket.get_each([route_get(needed[number].packed) for number in ask])
        for number, answer in zip(ask, answers, strict=True):
            self._seen[number] = needed[number]
            self.failed.pop(number, None)
            way = TAKEN if number in held.taken else way_to(needed[number], answer)
            if isinstance(way, str):
                self.failed[number] = way
            elif held.hops.get(number) != way:
                found[number] = way
        return found
