"""What a server says to the one gRPC call of a connection, as bytes that come and bytes that go. Pure."""

from __future__ import annotations

import zlib
from urllib.parse import unquote_to_bytes

from speaker.anycast.probes.errors import ProbeFailedError, shortened
from speaker.http2.frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MESSAGE,
    PADDED,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM,
    WITH_PRIORITY,
    BrokenError,
    Frames,
    frame,
    unpadded,
)
from speaker.http2.hpack import Reader

# Bytes of a message, of all headers, and of all that a server says.
MOST, HEADERS_MOST, LIMIT = 4096, 16384, 65536
NOBODY = "no gRPC server answers"
STRANGE = "an answer that is not of the gRPC health protocol"
# How a message may be compressed, and what zlib calls that.
COMPRESSED = {"identity": 0, "gzip": 31, "deflate": 15}

# Codes of RST_STREAM (RFC 9113, 7), and of gRPC (doc/statuscodes.md), by their numbers.
_RESETS = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
]
_STATUSES = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]
_REFUSED = 7
# Bytes that a frame has at least, and those of a priority before headers.
_SIZES = {RST_STREAM: 4, PING: 8, GOAWAY: 8}
_PRIORITY = 5


class Answer(Frames):
    """One answer. All that raises, raises ProbeFailedError, whose text says what is wrong with it."""

    def __init__(self) -> None:
        super().__init__()
        self._came = 0
        self._settled = False  # SETTINGS came: it speaks HTTP/2
        self._table = Reader()
        self._block: bytes | None = None  # headers that are not yet whole
        self._closing = False  # nothing follows the headers
        self._headers: dict[bytes, bytes] = {}
        self._headers_came = 0
        self._body = b""
        self._reply = b""

    @property
    def over(self) -> bool:
        """Whether it is whole."""
        return self._over

    def take(self, data: bytes) -> bytes:
        """Takes what came, of which nothing is the end; says what is to be sent."""
        if not data:
            raise ProbeFailedError("closed amid its answer" if self._headers else NOBODY)
        self._came += len(data)
        if self._came > LIMIT:
            raise ProbeFailedError(f"an answer of more than {LIMIT} bytes")
        try:
            self._frames(data)
        except BrokenError as error:
            raise ProbeFailedError(f"broken HTTP/2: {error}" if self._settled else NOBODY) from None
        reply, self._reply = self._reply, b""
        return reply

    def message(self) -> bytes:
        """What a whole answer says."""
        text = shortened(self._header(b"grpc-status"))
        if not text:
            raise ProbeFailedError("an answer without grpc-status")
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise ProbeFailedError(f"an answer with grpc-status {text}")
        if int(text):
            raise ProbeFailedError(_in_words(int(text), _unquoted(self._headers.get(b"grpc-message", b""))))
        encoding = self._header(b"grpc-encoding") or "identity"
        if encoding not in COMPRESSED:
            raise ProbeFailedError(shortened(f"an answer compressed by {encoding}"))
        return _message_in(self._body, COMPRESSED[encoding])

    def _header(self, name: bytes) -> str:
        return self._headers.get(name, b"").decode("latin-1")

    # ---- frames

    def _data(self, payload: bytes, flags: int, stream: int) -> None:
        if not self._settled or self._block is not None or stream != STREAM:
            raise BrokenError("DATA where none may be")
        self._body += unpadded(payload) if flags & PADDED else payload
        if len(self._body) >= MESSAGE.size:
            compressed, size = MESSAGE.unpack_from(self._body)
            if compressed > 1 or len(self._body) - MESSAGE.size > size:
                raise ProbeFailedError(STRANGE)
            if size > MOST:
                raise ProbeFailedError(_too_large(f"{size} vs. {MOST}"))
        self._over = bool(flags & END_STREAM)

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if not self._settled and (kind != SETTINGS or flags & ACK):
            raise BrokenError("no SETTINGS")
        if (self._block is None) is (kind == CONTINUATION):
            raise BrokenError("headers that are cut off")
        size = _SIZES.get(kind)
        if size is not None and len(payload) < size:
            raise BrokenError(f"a frame of type {kind} with {len(payload)} bytes")
        if kind in {HEADERS, CONTINUATION}:
            self._header_piece(kind, flags, stream, payload)
        elif kind == SETTINGS:
            self._set(flags, stream, payload)
        elif kind == PING:
            self._reply += b"" if flags & ACK else frame(PING, ACK, 0, payload)
        else:
            self._end(kind, stream, payload)

    def _end(self, kind: int, stream: int, payload: bytes) -> None:
        """What ends the call before its answer, if it does."""
        if kind == RST_STREAM and stream == STREAM:
            code = int.from_bytes(payload[:4], "big")
            raise ProbeFailedError(
                NOBODY if code == _REFUSED else f"the call was reset: {_named(_RESETS, code)}"
            )
        if kind == GOAWAY and int.from_bytes(payload[:4], "big") < STREAM:  # or this call is answered still
            raise ProbeFailedError(NOBODY)
        if kind == PUSH_PROMISE:
            raise BrokenError("a push, which it was told not to make")

    def _set(self, flags: int, stream: int, payload: bytes) -> None:
        if stream or len(payload) % 6:
            raise BrokenError("SETTINGS that are none")
        self._settled = True
        if not flags & ACK:
            self._reply += frame(SETTINGS, ACK, 0)

    def _header_piece(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if stream != STREAM:
            raise BrokenError("HEADERS where none may be")
        if kind == HEADERS:
            self._closing = bool(flags & END_STREAM)
            if self._headers and not self._closing:
                raise BrokenError("HEADERS amid the answer")
            payload = unpadded(payload) if flags & PADDED else payload
            payload = payload[_PRIORITY:] if flags & WITH_PRIORITY else payload
        self._block = (self._block or b"") + payload
        self._headers_came += len(payload)
        if self._headers_came > HEADERS_MOST:
            raise ProbeFailedError(f"an answer with more than {HEADERS_MOST} bytes of headers")
        if flags & END_HEADERS:
            fields = dict(self._table.fields(self._block))
            self._block = None
            self._headers |= fields
            self._over = self._closing
            if fields.get(b":status", b"200") != b"200" and b"grpc-status" not in fields:
                raise ProbeFailedError(shortened(f"HTTP {self._header(b':status')}"))


def _named(names: list[str], code: int) -> str:
    return names[code] if code < len(names) else str(code)


def _unquoted(text: bytes) -> str:
    """A text of gRPC's, which encodes what is not ASCII by %."""
    raw = unquote_to_bytes(text)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _in_words(status: int, details: str) -> str:
    name = _STATUSES[status] if status < len(_STATUSES) else "UNKNOWN"
    return shortened(f"gRPC {name}: {details}" if details else f"gRPC {name}")


def _too_large(words: str) -> str:
    return f"gRPC RESOURCE_EXHAUSTED: a message larger than max ({words})"


def _message_in(body: bytes, form: int) -> bytes:
    """The one message in a body."""
    if len(body) < MESSAGE.size:
        raise ProbeFailedError(STRANGE)
    compressed, size = MESSAGE.unpack_from(body)
    message = body[MESSAGE.size :]
    if len(message) < size:
        raise ProbeFailedError(STRANGE)
    if not compressed:
        return message
    if not form:
        raise ProbeFailedError("a compressed answer that does not say how")
    inflate = zlib.decompressobj(form)
    try:
        message = inflate.decompress(message, MOST + 1)
    except zlib.error:
        raise ProbeFailedError("an answer whose compression is broken") from None
    if len(message) > MOST:
        raise ProbeFailedError(_too_large(f"more than {MOST}, decompressed"))
    if not inflate.eof:
        raise ProbeFailedError("an answer whose compression is broken")
    return message
