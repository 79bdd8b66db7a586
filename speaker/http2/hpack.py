"""Headers of HTTP/2 as a peer packs them (RFC 7541), read."""

from __future__ import annotations

from speaker.http2.frames import BrokenError
from speaker.http2.huffman import decoded

Field = tuple[bytes, bytes]

# Bytes of the table that a peer may refer to, unless it was told otherwise, and what each of its entries counts beside
# its text (4.1).
TABLE = 4096
ENTRY = 32
_LARGEST = 1 << 24

_STATIC: tuple[Field, ...] = tuple(
    (name.encode(), value.encode())
    for name, _, value in (
        line.partition(" ")
        for line in """\
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate""".splitlines()
    )
)


class Reader:
    """Reads the headers of one connection, block by block: later ones refer to earlier ones."""

    def __init__(self) -> None:
        self._recent: list[Field] = []  # the latest first
        self._size = 0
        self._limit = TABLE

    def fields(self, block: bytes) -> list[Field]:
        """Names and values; BrokenError for what can't be read, and then nothing further can."""
        found: list[Field] = []
        offset = 0
        try:
            while offset < len(block):
                first = block[offset]
                if first & 0x80:
                    index, offset = _integer(block, offset, 7)
                    found.append(self._at(index))
                elif first & 0xE0 == 0x20:
                    limit, offset = _integer(block, offset, 5)
                    self._resize(limit)
                else:
                    field, offset = self._literal(block, offset, 6 if first & 0x40 else 4)
                    found.append(field)
        except IndexError:
            raise BrokenError("headers that are cut off") from None
        return found

    def _literal(self, block: bytes, offset: int, bits: int) -> tuple[Field, int]:
        index, offset = _integer(block, offset, bits)
        if index:
            name = self._at(index)[0]
        else:
            name, offset = _string(block, offset)
        value, offset = _string(block, offset)
        if bits == 6:
            self._recent.insert(0, (name, value))
            self._size += _size((name, value))
            self._evict()
        return (name, value), offset

    def _at(self, index: int) -> Field:
        if 0 < index <= len(_STATIC):
            return _STATIC[index - 1]
        if len(_STATIC) < index <= len(_STATIC) + len(self._recent):
            return self._recent[index - len(_STATIC) - 1]
        raise BrokenError("headers that refer to what was not said")

    def _resize(self, limit: int) -> None:
        if limit > TABLE:
            raise BrokenError(f"headers with a table of {limit} bytes")
        self._limit = limit
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            self._size -= _size(self._recent.pop())


def _size(field: Field) -> int:
    return len(field[0]) + len(field[1]) + ENTRY


def _integer(block: bytes, offset: int, bits: int) -> tuple[int, int]:
    """5.1: a number, and where it ends."""
    most = (1 << bits) - 1
    number = block[offset] & most
    offset += 1
    if number < most:
        return number, offset
    shift = 0
    while True:
        byte = block[offset]
        offset += 1
        number += (byte & 0x7F) << shift
        shift += 7
        if number > _LARGEST or shift > 28:
            raise BrokenError("headers with a number that is too large")
        if not byte & 0x80:
            return number, offset


def _string(block: bytes, offset: int) -> tuple[bytes, int]:
    """5.2: a text, and where it ends."""
    compressed = block[offset] & 0x80
    length, offset = _integer(block, offset, 7)
    text = block[offset : offset + length]
    if len(text) < length:
        raise BrokenError("headers that are cut off")
    return decoded(text) if compressed else text, offset + length
