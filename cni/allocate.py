"""The built-in allocator at work: an address of each range set for one attachment, inside its transaction."""

from __future__ import annotations

from cni.book import Book
from cni.errors import EXHAUSTED, INVALID_CONFIG, CniError
from cni.ipam import choose, requested
from cni.network import PodAddress, ip_text, to_bytes
from cni.statefile import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni.network import Network, Range
    from cni.store import Store


def allocate(
    store: Store, network: Network, wanted: Sequence[bytes], owner: tuple[str, str]
) -> list[PodAddress]:
    """One address of each set, those that are `wanted` where a set has them.

    CniError 100 where a set is exhausted, 102 where another pod has a wanted address, 7 for one that no set has.
    """
    left = list(wanted)
    book = Book(store, network.name)
    addresses = []
    for index, range_set in enumerate(network.range_sets):
        found = requested(range_set, left)
        take = store.hold
        if found is not None:
            left.remove(found[1])
        else:
            found = choose(book, range_set, now())
            take = store.give
        if found is None:
            raise _exhausted(store, network, index, range_set)
        one, ip = found
        address = PodAddress(ip, one.prefixlen, to_bytes(one.gateway, one.family))
        take(network.name, address, one.pool, owner)
        addresses.append(address)
    if left:
        shown = " ".join(ip_text(ip) for ip in left)
        raise CniError(
            INVALID_CONFIG,
            f"failed to allocate all requested IPs: {shown}; each has to be in a range set of its own",
        )
    return addresses


def _exhausted(store: Store, network: Network, index: int, range_set: Sequence[Range]) -> CniError:
    from cni.reclaim import holders

    ranges = ",".join(str(one) for one in range_set)
    held = [
        holders(store, network.name, to_bytes(one.first, one.family), to_bytes(one.last, one.family))
        for one in range_set
    ]
    return CniError(
        EXHAUSTED,
        f"failed to allocate for range {index}: no IP addresses available in range set: {ranges};"
        f" {'; '.join(held)}; widen ipam.ranges or delete pods",
    )
