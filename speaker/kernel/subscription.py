"""What the kernel tells of changes, without what the speaker causes itself: a filter in the kernel drops that."""

from __future__ import annotations

import struct
import sys
from _socket import SOL_SOCKET
from array import array
from typing import TYPE_CHECKING

from cni.netlink import NetlinkSocket

if TYPE_CHECKING:
    from collections.abc import Sequence

SO_ATTACH_FILTER = 26
HOST_LENGTHS = (32, 128)
# Offsets: the port in struct nlmsghdr, and behind that the prefix length in struct rtmsg.
_PORT, _LENGTH = 12, 17
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")
_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_LOAD_BYTE = 0x30  # BPF_LD | BPF_B | BPF_ABS
_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_DROP, _KEEP = (_RETURN, 0, 0, 0), (_RETURN, 0, 0, 0xFFFFFFFF)

Step = tuple[int, int, int, int]


class Subscription(NetlinkSocket):
    """Events of these groups; reading never waits."""

    def __init__(self, groups: int) -> None:
        super().__init__(groups, timeout=0.0)

    def ignore(self, port: int) -> None:
        """From now on this is not told what the socket of that port causes."""
        self._attach([*_of(port), _DROP, _KEEP])

    def ignore_two(self, port: int, routes: int) -> None:
        """Nor what that of `routes` does, which writes nothing but routes: of those it hears of single addresses."""
        hosts = [(_IF_EQUAL, len(HOST_LENGTHS) - at, 0, length) for at, length in enumerate(HOST_LENGTHS)]
        self._attach(
            [
                *_of(port),
                _DROP,
                *_of(routes, len(hosts) + 2),
                (_LOAD_BYTE, 0, 0, _LENGTH),
                *hosts,
                _DROP,
                _KEEP,
            ]
        )

    def _attach(self, steps: Sequence[Step]) -> None:
        program = array("B", b"".join(_INSTRUCTION.pack(*step) for step in steps))
        self._socket.setsockopt(
            SOL_SOCKET, SO_ATTACH_FILTER, _PROGRAM.pack(len(steps), program.buffer_info()[0])
        )


def _of(port: int, otherwise: int = 1) -> tuple[Step, Step]:
    """Goes on for what this port causes, and leaves out so many steps for all else."""
    # A filter sees words in network order.
    wanted = int.from_bytes(port.to_bytes(4, sys.byteorder), "big")
    return (_LOAD_WORD, 0, 0, _PORT), (_IF_EQUAL, 0, otherwise, wanted)
