"""What one attachment gets in nftables' sets: recorded with its addresses, put there when its links stand.

Loaded only for a pod that maps ports, and for a network that checks hardware addresses.
"""

from __future__ import annotations

from cni.attach import overtaken
from cni.elements import ElementSocket, spoof_elements
from cni.portmap import elements, flush_stale_udp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni.elements import Element
    from cni.network import PodAddress
    from cni.request import Request
    from cni.spec import Call
    from cni.store import Store


class Claims:
    """The elements of the attachment that `call` is about; `guarded` where its hardware address is checked."""

    def __init__(self, call: Call, request: Request, guarded: bool) -> None:
        self._call = call
        self._request = request
        self._guarded = guarded
        self._elements: list[Element] = []
        self._nftables: ElementSocket | None = None

    def record(self, store: Store, addresses: Sequence[PodAddress], link: str, mac: bytes) -> None:
        """With addresses and link known. Inside a transaction; CniError 105 where another pod has a port."""
        self._elements = elements(self._request.ports, addresses)
        if self._guarded:
            self._elements += spoof_elements(link, mac)
        store.claim(self._elements, (self._call.container, self._call.ifname))

    def open(self) -> None:
        """In the node's namespace: a process stays in the pod's once it is there."""
        if self._elements:
            self._nftables = ElementSocket()

    def put(self, store: Store) -> None:
        """While the record is held: a DEL comes before, and this ADD sees it, or behind, and removes them."""
        if self._nftables is None:
            return
        store.begin()
        if not store.stands(self._call.container, self._call.ifname, self._call.started):
            raise overtaken(self._call)
        self._nftables.put(self._elements)
        store.commit()
        if self._request.ports:
            flush_stale_udp(self._nftables, self._elements)
