"""Stands between grpc and a pod, and lets nothing through that grpc does not bear.

A GOAWAY (RFC 9113, 6.8) with an error code beyond the RFC's own ends the process in grpc 1.84 and 1.85, and its text
goes to stderr as it came.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from speaker.anycast.probes.stream import PIECE, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from speaker.anycast.probes.stream import Stream
    from speaker.bgp import Address

# A frame's header: length (24 bits), type, flags, stream.
HEADER = 9
GOAWAY = b"\7"
INTERNAL_ERROR, LAST_KNOWN = 2, 12
_GOAWAY = struct.Struct(">II")  # last stream, error code; a text behind it
_CREDENTIALS = struct.Struct("3i")  # process, user, group: unix(7)


class Frames:
    """What a server sends, in pieces of any size."""

    def __init__(self) -> None:
        self._kept = b""
        self._passing = self._skipping = 0

    def through(self, data: bytes) -> bytes:
        """What may go on, of this and of what was kept before."""
        out = bytearray()
        data, self._kept = self._kept + data, b""
        while data:
            if self._passing or self._skipping:
                count = min(len(data), self._passing or self._skipping)
                if self._passing:
                    out += data[:count]
                    self._passing -= count
                else:
                    self._skipping -= count
                data = data[count:]
                continue
            length = int.from_bytes(data[:3], "big")
            goaway = data[3:4] == GOAWAY and length >= _GOAWAY.size
            needed = HEADER + _GOAWAY.size if goaway else HEADER
            if len(data) < needed:
                self._kept = data
                break
            if goaway:
                out += _without_text(data)
                data, self._skipping = data[needed:], length - _GOAWAY.size
            else:
                self._passing = HEADER + length
        return bytes(out)


def _without_text(frame: bytes) -> bytes:
    last, code = _GOAWAY.unpack_from(frame, HEADER)
    code = code if code <= LAST_KNOWN else INTERNAL_ERROR  # as RFC 9113, 7, has it
    return _GOAWAY.size.to_bytes(3, "big") + frame[3:HEADER] + _GOAWAY.pack(last, code)


@asynccontextmanager
async def relayed(address: Address, port: int) -> AsyncIterator[str]:
    """Where grpc finds the pod. OSError where the pod takes no connection."""
    async with connected(address, port) as pod:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listening:
            name = f"anypod-{secrets.token_hex(16)}"
            listening.bind(f"\0{name}")
            listening.listen(1)
            task = asyncio.create_task(_relay(listening, pod))
            try:
                yield f"unix-abstract:{name}"
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def _relay(listening: socket.socket, pod: Stream) -> None:
    client = await _accepted(listening)
    listening.close()  # grpc would come again and wait
    with client:
        ways = [asyncio.create_task(one) for one in (_up(client, pod), _down(pod, client))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _accepted(listening: socket.socket) -> socket.socket:
    """A connection of this process; the name is there for everybody."""
    loop = asyncio.get_running_loop()
    while True:
        client, _ = await loop.sock_accept(listening)
        told = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(told)[0] == os.getpid():
            return client
        client.close()


async def _up(client: socket.socket, pod: Stream) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(client, PIECE):
        await pod.send(data)


async def _down(pod: Stream, client: socket.socket) -> None:
    loop, frames = asyncio.get_running_loop(), Frames()
    while data := await pod.receive():
        await loop.sock_sendall(client, frames.through(data))
