"""The few BGP messages that a simulated peer needs (RFC 4271, 4456, 4760, 6793). Pure bytes; IPv4 alone."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MARKER = b"\xff" * 16
HEADER = 19
OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4
AS_TRANS = 23456
LARGEST = 4096
WELL_KNOWN, OPTIONAL = 0x40, 0x80
ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST = 1, 2, 3, 5, 9, 10


class Told(NamedTuple):
    """Prefixes with the same attributes, as a peer tells them. `as_path` is empty over iBGP."""

    prefixes: tuple[str, ...]
    next_hop: str
    as_path: tuple[int, ...] = ()
    originator: str = ""
    cluster: str = ""


def message(kind: int, body: bytes = b"") -> bytes:
    """A message with its header."""
    return MARKER + struct.pack("!HB", HEADER + len(body), kind) + body


def opening(asn: int, hold: int, router_id: str) -> bytes:
    """OPEN with IPv4 unicast and four-octet AS numbers."""
    capabilities = b"\x01\x04\x00\x01\x00\x01" + b"\x41\x04" + struct.pack("!I", asn)
    options = bytes((2, len(capabilities))) + capabilities
    two_octets = asn if asn < 1 << 16 else AS_TRANS
    fixed = struct.pack("!BHH4sB", 4, two_octets, hold, IPv4Address(router_id).packed, len(options))
    return message(OPEN, fixed + options)


def update(told: Told, *, internal: bool) -> bytes:
    """As many UPDATE messages as it takes."""
    path = (
        struct.pack(f"!BB{len(told.as_path)}I", 2, len(told.as_path), *told.as_path) if told.as_path else b""
    )
    attributes = _attribute(WELL_KNOWN, ORIGIN, b"\0") + _attribute(WELL_KNOWN, AS_PATH, path)
    attributes += _attribute(WELL_KNOWN, NEXT_HOP, IPv4Address(told.next_hop).packed)
    if internal:
        attributes += _attribute(WELL_KNOWN, LOCAL_PREF, struct.pack("!I", 100))
    if told.originator:
        attributes += _attribute(OPTIONAL, ORIGINATOR_ID, IPv4Address(told.originator).packed)
        attributes += _attribute(OPTIONAL, CLUSTER_LIST, IPv4Address(told.cluster).packed)
    head = struct.pack("!HH", 0, len(attributes)) + attributes
    return b"".join(message(UPDATE, head + part) for part in _filled(told.prefixes, len(head)))


def withdrawal(prefixes: Sequence[str]) -> bytes:
    """The same prefixes taken back."""
    return b"".join(
        message(UPDATE, struct.pack("!H", len(part)) + part + b"\0\0") for part in _filled(prefixes, 4)
    )


def end_of_rib() -> bytes:
    """All has been told."""
    return message(UPDATE, bytes(4))


def split(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Takes each whole message out of the buffer."""
    start = 0
    while len(buffer) - start >= HEADER:
        length, kind = struct.unpack_from("!HB", buffer, start + 16)
        if len(buffer) - start < length:
            break
        yield kind, bytes(buffer[start + HEADER : start + length])
        start += length
    del buffer[:start]


def prefixes(body: bytes) -> tuple[int, int]:
    """How many prefixes an UPDATE tells and how many it takes back."""
    (withdrawn,) = struct.unpack_from("!H", body)
    (attributes,) = struct.unpack_from("!H", body, 2 + withdrawn)
    return _count(body, 4 + withdrawn + attributes, len(body)), _count(body, 2, 2 + withdrawn)


def _count(body: bytes, position: int, end: int) -> int:
    found = 0
    while position < end:
        position += 1 + (body[position] + 7) // 8
        found += 1
    return found


def _attribute(flags: int, kind: int, value: bytes) -> bytes:
    return bytes((flags, kind, len(value))) + value


def _filled(texts: Sequence[str], taken: int) -> Iterator[bytes]:
    """Prefixes as NLRI, in parts that fit into a message."""
    room, part = LARGEST - HEADER - taken, b""
    for text in texts:
        network = IPv4Network(text)
        one = bytes((network.prefixlen,)) + network.network_address.packed[: (network.prefixlen + 7) // 8]
        if len(part) + len(one) > room:
            yield part
            part = b""
        part += one
    if part:
        yield part
