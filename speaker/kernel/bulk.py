"""The messages of many routes at once: each is made from one that differs in the destination alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cni.netlink import HEADER
from speaker.kernel.fibcodec import hops_to_kernel, to_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cni import rtnl
    from speaker.desired import KernelRoute
    from speaker.settings import Kernel

# Header, struct rtmsg, and the header of RTA_DST, which comes first.
_BEFORE = HEADER.size + 12 + 4


class Messages:
    """Encodes routes of one table and protocol. Those that differ in the destination alone have one model."""

    def __init__(self, kernel: Kernel, index_of: Callable[[str], int]) -> None:
        self._kernel = kernel
        self._index_of = index_of
        self._models: dict[tuple[object, ...], tuple[bytes, bytes]] = {}

    def encode(self, build: Callable[[rtnl.Route], bytes], routes: Iterable[KernelRoute]) -> list[bytes]:
        """What `build` makes of each route."""
        models, found = self._models, []
        for route in routes:
            prefix = route.prefix
            key = build, prefix.version, prefix.prefixlen, route.metric, route.next_hops
            model = models.get(key)
            if model is None:
                model = models[key] = self._model(build, route)
            found.append(prefix.network_address.packed.join(model) if prefix.prefixlen else model[0])
        return found

    def _model(self, build: Callable[[rtnl.Route], bytes], route: KernelRoute) -> tuple[bytes, bytes]:
        hops = hops_to_kernel(route.next_hops, self._index_of)
        message = build(to_kernel(route, hops, self._kernel))
        if not route.prefix.prefixlen:  # has no destination
            return message, b""
        return message[:_BEFORE], message[_BEFORE + route.prefix.max_prefixlen // 8 :]
