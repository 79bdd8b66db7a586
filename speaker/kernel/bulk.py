"""Many routes at once: each message made from one that differs in the destination alone, and one answer for many.

The kernel works on a batch within the call that sends it, one message after the other. Only refusals and the end of
the batch are answered; a refusal carries the number of its message.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from cni.netlink import BATCH, HEADER, NLM_F_ACK, NLMSG_ERROR, NetlinkSocket, _error
from speaker.kernel.fibcodec import hops_to_kernel, to_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cni import rtnl
    from cni.netlink import NetlinkError
    from speaker.desired import KernelRoute
    from speaker.settings import Kernel

_FLAGS = struct.Struct("=H")
_CODE = struct.Struct("=i")
_SEQUENCE = struct.Struct("=I")
# Header, struct rtmsg, and the header of RTA_DST, which comes first.
_BEFORE = HEADER.size + 12 + 4


class BulkSocket(NetlinkSocket):
    """A socket that has a batch answered once, and what the kernel refuses of it."""

    def request_each(self, messages: Sequence[bytes]) -> list[NetlinkError | None]:
        """Sends all, in batches; the verdict of each stands at its place. TimeoutError is raised."""
        verdicts: list[NetlinkError | None] = [None] * len(messages)
        if len(messages) > 32:
            self._enlarge()
        for start in range(0, len(messages), BATCH):
            self._write(messages[start : start + BATCH], start, verdicts)
        return verdicts

    def _write(self, messages: Sequence[bytes], start: int, verdicts: list[NetlinkError | None]) -> None:
        first, last = self._sequence + 1, self._sequence + len(messages)
        self._sequence = last
        pack = _SEQUENCE.pack
        numbered = [one[:8] + pack(number) + one[12:] for number, one in enumerate(messages, first)]
        numbered[-1] = _with_flags(numbered[-1], NLM_F_ACK, ~0)
        self._socket.send(b"".join(numbered))
        done = False
        while not done:
            for kind, flags, sequence, payload in self._messages():
                if kind == NLMSG_ERROR and first <= sequence <= last:
                    code = -_CODE.unpack_from(payload)[0]
                    index = start + sequence - first
                    if code:
                        verdicts[index] = _error(code, flags, payload, index)
                    done = done or sequence == last


class Messages:
    """Encodes routes of one table and protocol. Those that differ in the destination alone have one model."""

    def __init__(self, kernel: Kernel, index_of: Callable[[str], int]) -> None:
        self._kernel = kernel
        self._index_of = index_of
        self._models: dict[tuple[object, ...], tuple[bytes, bytes]] = {}

    def encode(self, build: Callable[[rtnl.Route], bytes], routes: Iterable[KernelRoute]) -> list[bytes]:
        """What `build` makes of each route, to be answered only where it is refused."""
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
        message = _with_flags(build(to_kernel(route, hops, self._kernel)), 0, ~NLM_F_ACK)
        if not route.prefix.prefixlen:  # has no destination
            return message, b""
        return message[:_BEFORE], message[_BEFORE + route.prefix.max_prefixlen // 8 :]


def _with_flags(message: bytes, on: int, mask: int) -> bytes:
    flags = _FLAGS.unpack_from(message, 6)[0] & mask | on
    return message[:6] + _FLAGS.pack(flags) + message[8:]
