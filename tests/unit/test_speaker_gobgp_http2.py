"""A call that is answered by many messages, in bytes: however they are cut, and whatever else the server says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from speaker.gobgp import http2
from speaker.gobgp.http2 import Call, UnclearError
from speaker.http2 import frames
from speaker.http2.frames import ACK, DATA, END_HEADERS, END_STREAM, HEADERS, frame

if TYPE_CHECKING:
    from collections.abc import Iterable

FINE = bytes.fromhex("40889acac8b21234da8f0130")  # grpc-status: 0, as Go's server writes it
REFUSED = bytes.fromhex("40889acac8b21234da8f0132")


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.aborted = False
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def told(data: bytes) -> bytes:
    return b"\0" + len(data).to_bytes(4, "big") + data


def heard(pieces: Iterable[bytes], largest: int = 1000) -> tuple[list[bytes], Exception | None, Transport]:
    """The messages of an answer that comes in these pieces, and the error at its end."""

    async def run() -> tuple[list[bytes], Exception | None, Transport]:
        call, transport = Call("/s/M", b"?", bytes, largest), Transport()
        call.connection_made(transport)
        for piece in pieces:
            call.data_received(piece)
        call.connection_lost(None)
        found: list[bytes] = []
        try:
            async for bunch in call.bunches():
                found += bunch
        except Exception as error:  # noqa: BLE001
            return found, error, transport
        return found, None, transport

    return asyncio.run(run())


ANSWER = b"".join(
    (
        frame(frames.SETTINGS, 0, 0, b"\0\3\0\0\0d"),
        frame(frames.SETTINGS, ACK, 0),
        frame(HEADERS, END_HEADERS, 1, b"\x88"),
        frame(DATA, 0, 1, told(b"one")),
        frame(frames.PING, 0, 0, b"12345678"),
        frame(DATA, 0, 1, told(b"two") + told(b"")[:3]),
        frame(DATA, frames.PADDED, 1, b"\2" + told(b"")[3:] + told(b"four") + b"\0\0"),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, FINE),
    )
)


@pytest.mark.parametrize("size", [1, 2, 7, 9, 10, 40, 1000])
def test_messages_however_they_are_cut(size: int) -> None:
    pieces = [ANSWER[start : start + size] for start in range(0, len(ANSWER), size)]
    found, error, transport = heard(pieces)
    assert (found, error) == ([b"one", b"two", b"", b"four"], None)
    assert transport.sent.endswith(frame(frames.SETTINGS, ACK, 0) + frame(frames.PING, ACK, 0, b"12345678"))
    assert transport.aborted


HEADER = frame(HEADERS, END_HEADERS, 1, b"\x88")


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        (frame(HEADERS, END_STREAM | END_HEADERS, 1, REFUSED), "did not go through"),
        (frame(DATA, 0, 1, told(b"x")[:3]) + frame(HEADERS, 5, 1, FINE), "did not go through"),
        (frame(frames.RST_STREAM, 0, 1, bytes(4)), "gave the call up"),
        (frame(frames.GOAWAY, 0, 0, bytes(8)), "gave the call up"),
        (frame(DATA, 0, 1, b"\1" + told(b"x")[1:]), "compressed"),
        (frame(DATA, 0, 1, told(bytes(1001))[:20]), "larger than max"),
        (b"", "closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a frame of 4740180 bytes"),
        (frame(DATA, frames.PADDED, 1, b"\7abc"), "more padding"),
    ],
)
def test_an_end_that_is_not_clear_is_told_behind_what_came_before(rest: bytes, words: str) -> None:
    found, error, _ = heard([HEADER + frame(DATA, 0, 1, told(b"one")), rest])
    assert found == [b"one"]
    assert isinstance(error, UnclearError)
    assert words in str(error)


def test_what_can_not_be_read_is_raised() -> None:
    def read(data: bytes) -> bytes:
        raise ValueError(data)

    async def run() -> None:
        call = Call("/s/M", b"?", read, 1000)
        call.connection_made(Transport())
        call.data_received(HEADER + frame(DATA, 0, 1, told(b"one")))
        with pytest.raises(ValueError, match="one"):
            await anext(call.bunches())

    asyncio.run(run())


def test_a_server_that_tells_more_than_is_taken_has_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "_MOMENT", 0.01)

    async def run() -> None:
        call, transport = Call("/s/M", b"?", bytes, 1000), Transport()
        call.connection_made(transport)
        call.data_received(HEADER + frame(DATA, 0, 1, told(b"x")) * 2000)
        await asyncio.sleep(0.05)
        assert transport.paused
        assert len(await anext(call.bunches())) == 2000
        assert not transport.paused

    asyncio.run(run())


def test_a_request_goes_in_frames_that_any_server_takes() -> None:
    sent = http2.opening("/s/M", bytes(40_000))
    lengths = []
    data = sent[24:]
    while data:
        size = int.from_bytes(data[:3], "big")
        if data[3] == DATA:
            lengths.append((size, data[4]))
        data = data[9 + size :]
    assert lengths == [(16384, 0), (16384, 0), (40_005 - 2 * 16384, END_STREAM)]
    with pytest.raises(UnclearError, match="too large"):
        http2.opening("/s/M", bytes(frames.FIRST_WINDOW))
