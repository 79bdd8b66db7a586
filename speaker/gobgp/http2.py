"""One gRPC call that is answered by many small messages, on a connection of its own, as bare HTTP/2 (RFC 9113).

grpc costs some 40 microseconds for each message that a stream brings, and a table has 100,000 of them. This costs two.
It knows what such a call needs and nothing else. What it does not understand raises UnclearError, and then the caller
asks again by grpc, which knows all errors.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from speaker.http2.frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MESSAGE,
    PADDED,
    PING,
    RST_STREAM,
    SETTINGS,
    STREAM,
    WINDOW_UPDATE,
    BrokenError,
    Frames,
    call,
    frame,
    settings,
    unpadded,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

T = TypeVar("T")

WINDOW = (1 << 31) - 1
# Bytes after which the daemon is told that there is room again.
_RENEW = 1 << 29
# Messages of one moment that are a flood, and how many seconds it is then left to gather: a server writes each message
# by itself, and to be woken for each costs more than to read it. A socket holds less than 300 of them, and when it is
# full the server waits.
_FLOOD, _MOMENT = 64, 0.003
# Messages that may wait to be taken. With more the server has to wait, too.
_WAITING = 2000
# "grpc-status: 0" as the server of Go writes it (Huffman code for the name) and that of C (plain).
_FINE = (bytes.fromhex("889acac8b21234da8f") + b"\x010", b"\x0bgrpc-status\x010")


class UnclearError(Exception):
    """The call did not end as one that went through; who wants to know why asks by grpc."""


def opening(path: str, request: bytes) -> bytes:
    """All that is sent to make the call. The server may not refer to headers of before: there is no table for them."""
    if MESSAGE.size + len(request) > FIRST_WINDOW:
        raise UnclearError("the request is too large")
    more = frame(WINDOW_UPDATE, 0, 0, (WINDOW - FIRST_WINDOW).to_bytes(4, "big"))
    return (
        settings({HEADER_TABLE_SIZE: 0, INITIAL_WINDOW_SIZE: WINDOW})
        + more
        + call(path, "localhost", request, {})
    )


class Call(asyncio.Protocol, Frames, Generic[T]):
    """A call's connection. `read` makes a value of each message."""

    def __init__(self, path: str, request: bytes, read: Callable[[bytes], T], largest: int) -> None:
        super().__init__()
        self._opening = opening(path, request)
        self._read = read
        self._largest = largest
        self._body = bytearray()  # of a message
        self._headers = b""
        self._closing = False  # the headers are the last
        self._room = _RENEW
        self._transport: asyncio.Transport | None = None
        self._values: list[T] = []
        self._count = 0  # messages of this moment
        self._moment_ends = 0.0
        self._news = asyncio.Event()
        self._end: Exception | None = None

    async def bunches(self) -> AsyncIterator[list[T]]:
        """What the messages say, in bunches as they come, until the server has ended the call."""
        while True:
            await self._news.wait()
            self._news.clear()
            values, self._values = self._values, []
            if values:
                if len(values) >= _WAITING:
                    self._go_on()
                yield values
            elif self._over:
                if self._end is not None:
                    raise self._end
                return
            if self._over:
                self._news.set()

    def close(self) -> None:
        """Ends the call."""
        if self._transport is not None:
            self._transport.abort()

    # ---- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - streams are
        self._transport = transport
        transport.write(self._opening)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._finish(UnclearError("it closed the connection"))

    def data_received(self, data: bytes) -> None:
        try:
            self._frames(data)
        except BrokenError as error:
            self._finish(UnclearError(str(error)))
        except Exception as error:  # noqa: BLE001 - raised where the stream is read
            self._finish(error)
        if self._values:
            self._news.set()
            self._pace()

    def _pace(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() >= self._moment_ends:
            self._count, self._moment_ends = 0, loop.time() + _MOMENT
        self._count += len(self._values)
        if self._count > _FLOOD and self._transport is not None and not self._over:
            self._transport.pause_reading()
            loop.call_later(_MOMENT, self._go_on)

    def _go_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing() and len(self._values) < _WAITING:
            self._transport.resume_reading()

    def _finish(self, error: Exception | None) -> None:
        if not self._over:
            self._over, self._end = True, error
            self._news.set()
            self.close()

    # ---- frames and messages

    def _data(self, payload: bytes, flags: int, stream: int) -> None:  # noqa: ARG002
        self._room -= len(payload)
        if self._room <= 0:
            self._renew()
        if flags & PADDED:
            payload = unpadded(payload)
        if not self._body and len(payload) >= MESSAGE.size:
            compressed, size = MESSAGE.unpack_from(payload)
            if size == len(payload) - MESSAGE.size and not compressed:  # as a rule
                self._values.append(self._read(payload[MESSAGE.size :]))
                return
        self._body += payload
        self._messages()

    def _messages(self) -> None:
        body, offset = self._body, 0
        while len(body) - offset >= MESSAGE.size:
            compressed, size = MESSAGE.unpack_from(body, offset)
            if compressed:
                raise UnclearError("a message is compressed, and nobody asked for that")
            if size > self._largest:
                raise UnclearError(f"a message is larger than max ({size} vs. {self._largest})")
            following = offset + MESSAGE.size + size
            if following > len(body):
                break
            self._values.append(self._read(bytes(body[offset + MESSAGE.size : following])))
            offset = following
        del body[:offset]

    def _renew(self) -> None:
        more = (_RENEW - self._room).to_bytes(4, "big")
        self._room = _RENEW
        self._send(frame(WINDOW_UPDATE, 0, 0, more) + frame(WINDOW_UPDATE, 0, STREAM, more))

    def _send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in {SETTINGS, PING} and not flags & ACK:
            self._send(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind in {HEADERS, CONTINUATION} and stream == STREAM:
            self._headers += payload
            self._closing = self._closing or (kind == HEADERS and bool(flags & END_STREAM))
            if flags & END_HEADERS:
                self._block()
        elif kind in {RST_STREAM, GOAWAY}:
            self._finish(UnclearError("it gave the call up"))

    def _block(self) -> None:
        """Headers that come first are of no interest, those at the end say how it went."""
        block, self._headers = self._headers, b""
        if self._closing:
            fine = any(text in block for text in _FINE) and not self._body
            self._finish(None if fine else UnclearError("the call did not go through"))
