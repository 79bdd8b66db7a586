"""A gRPC server that is a fake: bytes as one would send them, right and wrong, and a stream that brings them."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cni.healthcheck import parse_check
from speaker.anycast.health import Target
from speaker.anycast.probes.errors import ProbeFailedError
from speaker.anycast.probes.grpc_health import ask_on, request_for
from speaker.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MESSAGE,
    PING,
    SETTINGS,
    STREAM,
    frame,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

NOBODY = "no gRPC server answers"
LARGE = "gRPC RESOURCE_EXHAUSTED: a message larger than max"
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
GREETING = frame(SETTINGS, 0, 0, b"\0\3\0\0\0d")


def number(value: int, bits: int, first: int) -> bytes:
    """RFC 7541, 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def literal(name: str, value: str | bytes, first: int = 0) -> bytes:
    """A header whose name is spelled out."""
    parts = (name.encode(), value.encode() if isinstance(value, str) else value)
    return bytes([first]) + b"".join(number(len(part), 7, 0) + part for part in parts)


FIRST = b"\x88" + literal("content-type", "application/grpc")


def headers(*more: bytes, block: bytes = FIRST, flags: int = END_HEADERS) -> bytes:
    """Those before the message."""
    return frame(HEADERS, flags, STREAM, block + b"".join(more))


def message(text: bytes = SERVING, compressed: int = 0) -> bytes:
    """The one message."""
    return frame(DATA, 0, STREAM, MESSAGE.pack(compressed, len(text)) + text)


def trailers(status: str, *more: bytes, first: bytes = b"") -> bytes:
    """What ends an answer; with `first` what is all of one."""
    block = first + literal("grpc-status", status) + b"".join(more)
    return frame(HEADERS, END_HEADERS | END_STREAM, STREAM, block)


def ping(flags: int = 0, data: bytes = b"12345678") -> bytes:
    return frame(PING, flags, 0, data)


ANSWER = headers() + message() + trailers("0")


class FakeStream:
    """Brings what the fake says in pieces of a size, and then the end; keeps what it is sent."""

    def __init__(self, said: bytes, size: int = 4096) -> None:
        self._pieces: Iterable[bytes] = iter([said[at : at + size] for at in range(0, len(said), size)])
        self.sent = b""

    async def send(self, data: bytes) -> None:
        self.sent += data

    async def receive(self) -> bytes:
        return next(iter(self._pieces), b"")


def target(text: str = "grpc://:50051/my.Service timeout=1500ms") -> Target:
    return Target(ip_address("10.0.0.1"), parse_check(text), ip_address("2001:db8::10"), "dns/a")


def verdict(said: bytes, size: int = 4096) -> tuple[str, bytes]:
    """And what was sent behind the request."""
    stream = FakeStream(said, size)
    try:
        asyncio.run(ask_on(stream, target()))
        words = "healthy"
    except ProbeFailedError as error:
        words = str(error)
    return words, stream.sent.removeprefix(request_for(target()))
