"""What grpc is shown of a server's HTTP/2 frames: all of them, and of a GOAWAY what it bears."""

from __future__ import annotations

import random
import struct

import pytest

from speaker.anycast.probes.relay import Frames

DATA, HEADERS, GOAWAY = 0, 1, 7


def frame(kind: int, payload: bytes, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, 0]) + struct.pack(">I", stream) + payload


def goaway(code: int, text: bytes = b"") -> bytes:
    return frame(GOAWAY, struct.pack(">II", 1, code) + text)


@pytest.mark.parametrize(("code", "shown"), [(0, 0), (2, 2), (12, 12), (13, 2), (70007, 2), (2**32 - 1, 2)])
def test_a_goaway_has_a_code_that_is_known_and_no_text(code: int, shown: int) -> None:
    assert Frames().through(goaway(code, b"bye\n")) == goaway(shown)


def test_what_is_no_goaway_passes_as_it_came() -> None:
    sent = (
        frame(4, b"")
        + frame(HEADERS, b"x" * 300, 1)
        + frame(DATA, b"\7" * 20000, 1)
        + frame(GOAWAY, b"short")
    )
    assert Frames().through(sent) == sent
    assert Frames().through(b"HTTP/1.1 400 Bad Request\r\n\r\n") == b"HTTP/1.1 400 Bad Request\r\n\r\n"


def test_pieces_of_any_size_are_the_same() -> None:
    dice = random.Random(3)  # noqa: S311 - a test that can be repeated
    sent = frame(HEADERS, b"h" * 40, 1) + goaway(13, b"t" * 50) + frame(DATA, b"d" * 90, 1) + goaway(5)
    whole = frame(HEADERS, b"h" * 40, 1) + goaway(2) + frame(DATA, b"d" * 90, 1) + goaway(5)
    for _ in range(200):
        frames, out, rest = Frames(), b"", sent
        while rest:
            size = dice.randrange(1, 20)
            out += frames.through(rest[:size])
            rest = rest[size:]
        assert out == whole
