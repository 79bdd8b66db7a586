"""What a gRPC probe asks and takes for an answer, of a fake server that says whatever one could."""

from __future__ import annotations

import asyncio
import gzip
import struct
import zlib

import pytest

from speaker.anycast.probes.errors import NoVerdictError, ProbeFailedError, from_os
from speaker.anycast.probes.grpc_health import ask_on, request_for
from speaker.http2 import frames
from speaker.http2.frames import ACK, CONTINUATION, DATA, HEADERS, PREFACE, SETTINGS, frame
from speaker.http2.hpack import Reader
from tests.unit.fake_grpc import (
    ANSWER,
    FIRST,
    GREETING,
    LARGE,
    NOBODY,
    NOT_SERVING,
    SERVING,
    FakeStream,
    headers,
    literal,
    message,
    ping,
    target,
    trailers,
    verdict,
)

STRANGE = "an answer that is not of the gRPC health protocol"


def reset(code: int, stream: int = 1) -> bytes:
    return frame(frames.RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last: int, code: int = 0, text: bytes = b"") -> bytes:
    return frame(frames.GOAWAY, 0, 0, struct.pack(">II", last, code) + text)


def test_the_request() -> None:
    sent = request_for(target())
    assert sent.startswith(PREFACE + frame(SETTINGS, 0, 0, b"\0\2\0\0\0\0"))
    head = sent[len(PREFACE) + 15 :]
    size = int.from_bytes(head[:3], "big")
    assert head[3:9] == bytes([HEADERS, frames.END_HEADERS, 0, 0, 0, 1])
    assert Reader().fields(head[9 : 9 + size]) == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/grpc.health.v1.Health/Check"),
        (b":authority", b"[2001:db8::10]:50051"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"user-agent", b"anypod"),
        (b"grpc-accept-encoding", b"identity,gzip,deflate"),
        (b"grpc-timeout", b"2500m"),
    ]
    assert head[9 + size :] == frame(DATA, frames.END_STREAM, 1, b"\0\0\0\0\x0c\x0a\x0amy.Service")


@pytest.mark.parametrize("size", [1, 2, 9, 10, 4096])
@pytest.mark.parametrize(
    "said",
    [
        ANSWER,
        frame(SETTINGS, ACK, 0) + ANSWER,
        headers(block=b"\x88\x5f\x10application/grpc" + literal("x", "y", 0x40))
        + message()
        + trailers("0", b"\xbe"),
        # As Go's server writes it, in Huffman code.
        headers(block=bytes.fromhex("885f8b1d75d0620d263d4c4d6564"))
        + message()
        + headers(block=bytes.fromhex("40889acac8b21234da8f013040899acac8b5254207317f00"), flags=5),
        headers(block=b"") + message() + trailers("0"),
        message() + trailers("0"),
        headers() + message(SERVING + b"\x12\2hi") + trailers("0"),
        headers() + message(SERVING + b"\x12\xfb\x1f" + b"x" * 4091) + trailers("0"),
        headers()
        + frame(DATA, frames.PADDED, 1, b"\2\0\0\0\0\2\x08\x01xx")
        + frame(DATA, 0, 1)
        + trailers("0"),
        frame(HEADERS, 0x2C, 1, b"\1\0\0\0\0\7" + FIRST + b"\0") + message() + trailers("0"),
        frame(HEADERS, 0, 1, FIRST[:5])
        + frame(CONTINUATION, 0, 1, FIRST[5:])
        + frame(CONTINUATION, 4, 1)
        + message()
        + trailers("0"),
        headers(literal("grpc-encoding", "gzip")) + message(gzip.compress(SERVING), 1) + trailers("0"),
        headers(literal("grpc-encoding", "deflate")) + message(zlib.compress(SERVING), 1) + trailers("0"),
        headers(literal("grpc-encoding", "gzip")) + message() + trailers("0"),
        frame(0x42, 7, 1, b"?") + frame(frames.PRIORITY, 0, 1, bytes(5)) + reset(2, 3) + ANSWER,
        frame(frames.WINDOW_UPDATE, 0, 0, bytes([0, 0, 1, 0])) + ANSWER,
        goaway(2**31 - 1) + ANSWER,
        goaway(1, 2, b"bye\n") + ANSWER,
        ANSWER + reset(0) + goaway(1),
    ],
)
def test_answers_that_say_serving(said: bytes, size: int) -> None:
    assert verdict(GREETING + said, size)[0] == "healthy"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (headers() + message(NOT_SERVING) + trailers("0"), "gRPC health NOT_SERVING"),
        (headers() + message(b"") + trailers("0"), "gRPC health UNKNOWN"),
        (headers() + message(b"\x08\x03") + trailers("0"), "gRPC health SERVICE_UNKNOWN"),
        (headers() + message(b"\x08\x4d") + trailers("0"), "gRPC health 77"),
        (headers() + message(b"\xff\xff\xff") + trailers("0"), STRANGE),
        (headers() + trailers("0"), STRANGE),
        (trailers("0", first=FIRST), STRANGE),
        (headers() + message() + message() + trailers("0"), STRANGE),
        (headers() + message()[:-1] + b"\1" + trailers("0"), "healthy"),
        (headers() + frame(DATA, 0, 1, b"\0\0\0\0\5\x08\x01") + trailers("0"), STRANGE),
        (headers() + frame(DATA, 0, 1, b"\0\0") + trailers("0"), STRANGE),
        (headers() + message(SERVING, 7) + trailers("0"), STRANGE),
        (headers() + frame(DATA, 1, 1, b"<html>"), STRANGE),
        (headers() + frame(DATA, 1, 1, b"\0\0\0\0\2\x08\x01"), "an answer without grpc-status"),
        (headers(flags=5), "an answer without grpc-status"),
        (trailers("5", first=FIRST), "gRPC NOT_FOUND"),
        (
            trailers("12", literal("grpc-message", "no%20such%E2%82%AC%"), first=FIRST),
            "gRPC UNIMPLEMENTED: no such€%",
        ),
        (trailers("13", literal("grpc-message", "a%0A%1B[31mb%ff")), "gRPC INTERNAL: a ?[31mbÿ"),
        (headers() + message() + trailers("14", literal("grpc-message", "busy")), "gRPC UNAVAILABLE: busy"),
        (trailers("77", literal("grpc-message", "x" * 2000), first=FIRST), "gRPC UNKNOWN: " + "x" * 85 + "…"),
        (trailers("-1", first=FIRST), "an answer with grpc-status -1"),
        (trailers("9" * 5000, first=FIRST), f"an answer with grpc-status {'9' * 99}…"),
        (headers(block=b"\x8d", flags=5), "HTTP 404"),
        (headers(block=literal(":status", "503") + literal("content-type", "text/html")), "HTTP 503"),
        (headers(block=literal(":status", "100")) + ANSWER, "HTTP 100"),
        (headers(block=literal(":status", "500") + literal("grpc-status", "5"), flags=5), "gRPC NOT_FOUND"),
        (reset(2), "the call was reset: INTERNAL_ERROR"),
        (headers() + message() + reset(11), "the call was reset: ENHANCE_YOUR_CALM"),
        (reset(99), "the call was reset: 99"),
        (reset(7), NOBODY),
        (goaway(0), NOBODY),
        (goaway(0, 13, b"bye"), NOBODY),
        (b"", NOBODY),
        (ANSWER[:20], NOBODY),
        (headers(), "closed amid its answer"),
        (headers() + message(), "closed amid its answer"),
    ],
)
@pytest.mark.parametrize("size", [1, 4096])
def test_other_answers(said: bytes, words: str, size: int) -> None:
    assert verdict(GREETING + said, size)[0] == words


@pytest.mark.parametrize(
    ("encoding", "text", "words"),
    [
        ("snappy", SERVING, "an answer compressed by snappy"),
        ("identity", gzip.compress(SERVING), "a compressed answer that does not say how"),
        ("gzip", SERVING, "an answer whose compression is broken"),
        ("gzip", gzip.compress(SERVING)[:-5], "an answer whose compression is broken"),
        ("gzip", gzip.compress(bytes(1 << 20)), f"{LARGE} (more than 4096, decompressed)"),
    ],
)
def test_compressions_that_can_not_be_read(encoding: str, text: bytes, words: str) -> None:
    said = headers(literal("grpc-encoding", encoding)) + message(text, 1) + trailers("0")
    assert verdict(GREETING + said)[0] == words


def test_settings_and_pings_are_answered_while_the_answer_is_waited_for() -> None:
    greeted, pinged = frame(SETTINGS, ACK, 0), ping(ACK)
    assert (
        verdict(GREETING + ping() + headers() + ping(ACK) + message() + trailers("0"), 1)[1]
        == greeted + pinged
    )
    assert verdict(GREETING + ANSWER)[1] == b""  # it is over before


def test_a_connection_that_breaks_is_nobody_and_what_the_node_lacks_no_verdict() -> None:
    class Broken(FakeStream):
        def __init__(self, number: int) -> None:
            super().__init__(GREETING)
            self.number = number

        async def receive(self) -> bytes:
            raise OSError(self.number, "")

    with pytest.raises(ProbeFailedError, match=NOBODY):
        asyncio.run(ask_on(Broken(104), target()))
    with pytest.raises(OSError, match="105") as lacking:
        asyncio.run(ask_on(Broken(105), target()))
    assert isinstance(from_os(lacking.value), NoVerdictError)
