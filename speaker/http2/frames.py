"""Frames of HTTP/2 (RFC 9113): written, taken apart as they come, and those that make a gRPC call."""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, INITIAL_WINDOW_SIZE = 1, 2, 4
# The one call of a connection.
STREAM = 1
# Bytes of a frame, where nobody said that it may have more.
LARGEST_FRAME = 16384
# What a peer takes before it says more.
FIRST_WINDOW = 65535
# What stands before each message of gRPC: compressed or not, length.
MESSAGE = struct.Struct(">BI")

_FRAME = struct.Struct(">HBBBI")  # length in 16 + 8 bits, type, flags, stream
_SETTING = struct.Struct(">HI")


class BrokenError(Exception):
    """What came is not as the RFCs have it."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113, 4.1."""
    size = len(payload)
    return _FRAME.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """What begins a client's connection."""
    return PREFACE + frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*one) for one in values.items()))


def _text(text: str) -> bytes:
    """RFC 7541, 5.2: shorter than 127 bytes, and not compressed."""
    return bytes((len(text),)) + text.encode()


def call(path: str, authority: str, request: bytes, more: dict[str, str]) -> bytes:
    """A call with one message, and with `more` headers; FIRST_WINDOW is not looked at."""
    headers = (
        b"\x83\x86"  # :method POST, :scheme http (RFC 7541, appendix A)
        + (b"\x04" + _text(path))
        + (b"\x01" + _text(authority))
        + (b"\x0f\x10" + _text("application/grpc"))
        + (b"\x00" + _text("te") + _text("trailers"))
        + b"".join(b"\x00" + _text(name) + _text(value) for name, value in more.items())
    )
    body = MESSAGE.pack(0, len(request)) + request
    pieces = [body[start : start + LARGEST_FRAME] for start in range(0, len(body), LARGEST_FRAME)]
    frames = [frame(DATA, 0, STREAM, piece) for piece in pieces[:-1]]
    return b"".join(
        (
            frame(HEADERS, END_HEADERS, STREAM, headers),
            *frames,
            frame(DATA, END_STREAM, STREAM, pieces[-1]),
        )
    )


def unpadded(payload: bytes) -> bytes:
    """What a frame with PADDED carries (RFC 9113, 6.1)."""
    if not payload or payload[0] >= len(payload):
        raise BrokenError("a frame with more padding than it has bytes")
    return payload[1 : len(payload) - payload[0]]


class Frames:
    """Takes apart what comes, in pieces of any size. A subclass knows what a frame means."""

    def __init__(self) -> None:
        self._rest = b""  # of a frame
        self._over = False  # what follows is of no interest

    def _frames(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        offset, end, unpack = 0, len(data), _FRAME.unpack_from
        while end - offset >= _FRAME.size and not self._over:
            high, low, kind, flags, stream = unpack(data, offset)
            following = offset + _FRAME.size + (high << 8 | low)
            if following > end:
                _wait_for(high << 8 | low)
                break
            payload = data[offset + _FRAME.size : following]
            offset = following
            if kind == DATA:
                self._data(payload, flags, stream)
            else:
                self._control(kind, flags, stream, payload)
        self._rest = data[offset:]

    def _data(self, payload: bytes, flags: int, stream: int) -> None:
        raise NotImplementedError

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        raise NotImplementedError


def _wait_for(size: int) -> None:
    """Not for more than a frame may have; what has come already costs nothing any more."""
    if size > LARGEST_FRAME:
        raise BrokenError(f"a frame of {size} bytes")
