"""HTTP/1.1: does GET answer with a status from 200 to 399. Redirects are not followed."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from speaker.anycast.probes.errors import ProbeFailedError
from speaker.anycast.probes.stream import TlsStream, connected

if TYPE_CHECKING:
    from speaker.anycast.health import Target
    from speaker.anycast.probes.stream import Stream
    from speaker.bgp import Address

PORTS = {"http": 80, "https": 443}
# Bytes of an answer that are read at most: those before its body have to lie within.
LIMIT = 16384
# Seconds for the body, which nobody looks at: who is cut off in the middle of it would complain in the pod's log.
BODY = 0.1

_STATUS = re.compile(rb"HTTP/1\.[0-9] ([1-5][0-9]{2})(?:[ \r]|$)")
_END = re.compile(rb"\r?\n\r?\n")


def host_of(vip: Address, port: int, usual: int) -> str:
    """The Host header with which a client asks for the VIP."""
    host = str(vip) if vip.version == 4 else f"[{vip}]"
    return host if port == usual else f"{host}:{port}"


def request_for(target: Target) -> bytes:
    """The request whole."""
    check = target.check
    lines = [
        f"GET {check.path or '/'} HTTP/1.1",
        f"Host: {host_of(target.vip, check.port, PORTS[check.kind])}",
        "User-Agent: anypod",
        "Accept: */*",
        "Connection: close",
        "\r\n",
    ]
    return "\r\n".join(lines).encode("ascii")


def status_in(answer: bytes) -> int | None:
    """The final status, or None while more has to come. ProbeFailedError for what is no HTTP."""
    while True:
        line, newline, _ = answer.partition(b"\n")
        match = _STATUS.match(line)
        if match is None and (newline or not _may_begin_a_status(line)):
            raise ProbeFailedError("an answer that is not HTTP")
        end = _END.search(answer)
        if match is None or end is None:
            return None
        status = int(match[1])
        if status >= 200:
            return status
        answer = answer[end.end() :]  # an interim answer (RFC 9110, 15.2): the other one follows


def _may_begin_a_status(line: bytes) -> bool:
    return len(line) < LIMIT and line[:7] == b"HTTP/1."[: len(line)]


async def ask_http(target: Target) -> None:
    """Asks once. ProbeFailedError or OSError where it does not serve."""
    async with connected(target.address, target.check.port) as plain:
        stream: Stream = plain
        if target.check.kind == "https":
            stream = TlsStream(plain)
            await stream.handshake()
        await stream.send(request_for(target))
        answer = b""
        while (status := status_in(answer)) is None:
            if len(answer) >= LIMIT:
                raise ProbeFailedError(f"an answer with more than {LIMIT} bytes before its body")
            piece = await stream.receive()
            if not piece:
                raise ProbeFailedError("closed without an answer")
            answer += piece
        if not 200 <= status < 400:
            raise ProbeFailedError(f"HTTP {status}")
        await _take_the_rest(stream, len(answer))


async def _take_the_rest(stream: Stream, size: int) -> None:
    try:
        async with asyncio.timeout(BODY):
            while size < LIMIT and (piece := await stream.receive()):
                size += len(piece)
    except OSError:  # of which TimeoutError is one
        pass
