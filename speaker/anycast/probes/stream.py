"""A TCP connection to a pod, plain or with TLS, on the socket itself: asyncio's streams cost several times as much."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from speaker.bgp import Address

T = TypeVar("T")

# Bytes that are read at a time.
PIECE = 4096


class Stream(Protocol):
    """Both ways. OSError, of which ssl.SSLError is one, where it breaks."""

    async def send(self, data: bytes) -> None: ...
    async def receive(self) -> bytes:
        """Some of what came; nothing at its end."""


class PlainStream:
    """A connected socket; who made it closes it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        """All of it."""
        await self._loop.sock_sendall(self._sock, data)

    async def receive(self) -> bytes:
        """Some of what came; nothing at its end."""
        return await self._loop.sock_recv(self._sock, PIECE)


class TlsStream:
    """TLS over a plain stream."""

    def __init__(self, plain: PlainStream) -> None:
        self._plain = plain
        self._coming, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _context().wrap_bio(self._coming, self._going)

    async def handshake(self) -> None:
        """Agrees with the other side on the keys."""
        await self._through(self._tls.do_handshake)

    async def send(self, data: bytes) -> None:
        """All of it."""
        await self._through(lambda: self._tls.write(data))

    async def receive(self) -> bytes:
        """Some of what came; nothing at its end."""
        try:
            return await self._through(lambda: self._tls.read(PIECE))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    async def _through(self, step: Callable[[], T]) -> T:
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._plain.receive()
                if data:
                    self._coming.write(data)
                else:
                    self._coming.write_eof()
            else:
                await self._flush()
                return done

    async def _flush(self) -> None:
        if self._going.pending:
            await self._plain.send(self._going.read())


@cache
def _context() -> ssl.SSLContext:
    # A pod's certificate is for its clients; what it is asked here is whether it serves, as kubelet asks.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@asynccontextmanager
async def connected(address: Address, port: int) -> AsyncIterator[PlainStream]:
    """A connection that is closed when the block ends, in whatever way."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
        yield PlainStream(sock)
