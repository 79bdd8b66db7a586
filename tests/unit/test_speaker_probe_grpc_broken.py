"""A fake server that sends HTTP/2 as it may not be, or more than a health check takes: always a verdict, in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaker.anycast.probes.unary import LIMIT
from speaker.http2 import frames
from speaker.http2.frames import ACK, CONTINUATION, DATA, HEADERS, MESSAGE, SETTINGS, frame
from tests.unit.fake_grpc import (
    ANSWER,
    FIRST,
    GREETING,
    LARGE,
    NOBODY,
    headers,
    literal,
    message,
    ping,
    trailers,
    verdict,
)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (message(bytes(4097)) + trailers("0"), f"{LARGE} (4097 vs. 4096)"),
        (frame(DATA, 0, 1, MESSAGE.pack(0, 1 << 20)), f"{LARGE} (1048576 vs. 4096)"),
        (
            frame(HEADERS, 0, 1, FIRST) + frame(CONTINUATION, 0, 1, b"x" * 16384),
            "more than 16384 bytes of headers",
        ),
        (frame(HEADERS, 0, 1, FIRST) + frame(CONTINUATION, 0, 1) * 9000, f"more than {LIMIT} bytes"),
        (ping() * 9000, f"more than {LIMIT} bytes"),
        (GREETING * 9000, f"more than {LIMIT} bytes"),
        (headers() + frame(DATA, 0, 1) * 9000, f"more than {LIMIT} bytes"),
    ],
)
def test_what_is_too_much(said: bytes, words: str) -> None:
    assert words in verdict(GREETING + said)[0]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"\xff" * 9, "a frame of 16777215 bytes"),
        (frame(DATA, 0, 1, bytes(16385)), "a frame of 16385 bytes"),
        (ping(data=b"1234567"), "a frame of type 6 with 7 bytes"),
        (frame(frames.RST_STREAM, 0, 1, b"1"), "a frame of type 3 with 1 bytes"),
        (frame(frames.GOAWAY, 0, 0, b"123"), "a frame of type 7 with 3 bytes"),
        (frame(SETTINGS, 0, 0, b"123"), "SETTINGS that are none"),
        (frame(SETTINGS, 0, 1), "SETTINGS that are none"),
        (frame(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2" + FIRST), "a push, which it was told not to make"),
        (frame(DATA, 0, 3, b"x"), "DATA where none may be"),
        (frame(HEADERS, 4, 3, FIRST), "HEADERS where none may be"),
        (headers() + headers(), "HEADERS amid the answer"),
        (headers() + message() + headers(block=literal("grpc-status", "0")), "HEADERS amid the answer"),
        (frame(HEADERS, 0, 1, FIRST) + ping(), "headers that are cut off"),
        (frame(HEADERS, 0, 1, FIRST) + message(), "DATA where none may be"),
        (frame(CONTINUATION, 4, 1, FIRST), "headers that are cut off"),
        (frame(DATA, frames.PADDED, 1, b"\5abc"), "a frame with more padding than it has bytes"),
        (frame(DATA, frames.PADDED, 1), "a frame with more padding than it has bytes"),
        (headers(b"\xff\xff\x01"), "headers that refer to what was not said"),
    ],
)
def test_http2_that_is_broken(said: bytes, words: str) -> None:
    assert verdict(GREETING + said + ANSWER)[0] == f"broken HTTP/2: {words}"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\x15\3\1\0\2\2\x16",
        bytes(range(256)) * 64,
        b"",
        ANSWER,
        frame(SETTINGS, ACK, 0) + ANSWER,
        frame(SETTINGS, 0, 0, b"123") + ANSWER,
        ping() + GREETING + ANSWER,
    ],
)
def test_who_does_not_begin_as_http2_does(said: bytes) -> None:
    assert verdict(said)[0] == NOBODY


PAYLOADS = st.one_of(
    st.binary(max_size=40), st.sampled_from([FIRST, b"\0\0\0\0\2\x08\x01", literal("grpc-status", "0")])
)
KINDS = st.sampled_from([*range(10), 0x42])
FRAMES = st.builds(frame, KINDS, st.integers(0, 255), st.sampled_from([0, 1, 1, 3]), PAYLOADS)


@given(st.lists(FRAMES, max_size=12))
def test_whatever_comes_there_is_a_verdict(said: list[bytes]) -> None:
    words, _ = verdict(GREETING + b"".join(said), 7)
    assert words
    assert len(words) <= 150
