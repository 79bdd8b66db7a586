"""Whether the kernel lists the same as before: seen by a digest, at a tenth of what reading it costs."""

from __future__ import annotations

import struct
from socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket
from typing import TYPE_CHECKING

from cni import nexthop, rtnl
from cni.netlink import HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.settings import Config

NETLINK_ROUTE = 0
SOL_NETLINK, NETLINK_GET_STRICT_CHK = 270, 12
NLMSG_ERROR, NLMSG_DONE = 2, 3
TIMEOUT = 10.0  # seconds
_BUFFER = 1 << 16
_SEQUENCE = struct.Struct("=I")
# The same for each listing, so that answers to the same question are the same bytes.
NUMBER = 0x616E7970


class KernelDigest:
    """Of next-hop objects, and of the routes in the tables that matter. Links and addresses always tell of a change."""

    def __init__(self) -> None:
        self._socket: socket | None = None
        self._last: int | None = None

    def same(self, config: Config) -> bool:
        """Whether all is as it was the last time; False where that can't be told."""
        before, self._last = self._last, None
        try:
            self._last = self._take(_questions(config))
        except OSError:
            self.close()  # what is still to come would be taken for the next answer
        return self._last is not None and self._last == before

    def close(self) -> None:
        """Gives the socket back."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _take(self, questions: Iterable[bytes]) -> int:
        if self._socket is None:
            self._socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
            self._socket.bind((0, 0))
            self._socket.settimeout(TIMEOUT)
        digest = 0  # Python's own hash has a key that nobody knows, and is the fastest
        buffer = bytearray(_BUFFER)
        for question in questions:
            message = bytearray(question)
            _SEQUENCE.pack_into(message, 8, NUMBER)
            self._socket.send(message)
            over = False
            while not over:
                size = self._socket.recv_into(buffer)
                digest = hash((digest, bytes(memoryview(buffer)[:size])))
                over = _is_last(buffer, size)
        return digest


def _is_last(buffer: bytearray, size: int) -> bool:
    """The end of a listing is a message for itself, or the last one beside others; an error is alone."""
    if HEADER.unpack_from(buffer)[1] in {NLMSG_ERROR, NLMSG_DONE}:
        return True
    length, kind, _, sequence, _ = HEADER.unpack_from(buffer, size - HEADER.size - 4)
    return (length, kind, sequence) == (HEADER.size + 4, NLMSG_DONE, NUMBER)


def _questions(config: Config) -> list[bytes]:
    tables = sorted({rtnl.RT_TABLE_MAIN, config.kernel.table})
    families = (rtnl.AF_INET, rtnl.AF_INET6)
    return [
        nexthop.nexthop_dump(),
        *(rtnl.route_dump(family, table) for table in tables for family in families),
    ]
