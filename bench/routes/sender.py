"""A BGP neighbour that has its UPDATE messages ready and sends them as fast as TCP takes them.

It accepts one session, says so, and then does what it reads: `send` and `withdraw`. Run by bench.routes in a namespace.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS, ASN, PORT = "192.0.2.1", 65010, 179
HOLD = 180
# What real tables look like: many prefixes have few ways.
ALIKE = 100
FIRST = int(IPv4Address("10.0.0.0"))
LENGTH = 26
OPEN, UPDATE, KEEPALIVE = 1, 2, 4
_HEADER = struct.Struct(">16sHB")


def prefix(number: int) -> IPv4Network:
    """The prefixes in their order."""
    return IPv4Network((FIRST + (number << (32 - LENGTH)), LENGTH))


def message(kind: int, body: bytes = b"") -> bytes:
    """RFC 4271, 4.1."""
    return _HEADER.pack(b"\xff" * 16, _HEADER.size + len(body), kind) + body


def _open() -> bytes:
    families = bytes((1, 4, 0, 1, 0, 1))  # multiprotocol: IPv4 unicast
    as4 = bytes((65, 4)) + ASN.to_bytes(4, "big")
    options = families + as4
    body = struct.pack(">BHH4sB", 4, ASN, HOLD, socket.inet_aton(ADDRESS), len(options) + 2)
    return message(OPEN, body + bytes((2, len(options))) + options)


def _nlri(numbers: range) -> bytes:
    packed = ((FIRST + (number << (32 - LENGTH))).to_bytes(4, "big") for number in numbers)
    return b"".join(bytes((LENGTH,)) + one for one in packed)


def _attributes(group: int) -> bytes:
    """ORIGIN, AS_PATH, NEXT_HOP; the AS path is another one for each group."""
    path = struct.pack(">BBIII", 2, 3, ASN, 4_210_000_000, 4_200_000_000 + group)
    return (
        bytes((0x40, 1, 1, 0))
        + bytes((0x40, 2, len(path)))
        + path
        + bytes((0x40, 3, 4))
        + socket.inet_aton(ADDRESS)
    )


def updates(count: int) -> Iterator[bytes]:
    """Announces the first `count` prefixes, ALIKE in a message."""
    for start in range(0, count, ALIKE):
        attributes = _attributes(start // ALIKE)
        nlri = _nlri(range(start, min(start + ALIKE, count)))
        yield message(UPDATE, struct.pack(">HH", 0, len(attributes)) + attributes + nlri)


def withdrawals(count: int) -> Iterator[bytes]:
    """Takes them back, as many in a message as fit."""
    for start in range(0, count, 500):
        gone = _nlri(range(start, min(start + 500, count)))
        yield message(UPDATE, struct.pack(">H", len(gone)) + gone + b"\0\0")


def _read(peer: socket.socket) -> int:
    """The kind of the next message."""
    head = peer.recv(_HEADER.size, socket.MSG_WAITALL)
    if len(head) < _HEADER.size:
        raise ConnectionError("the session has ended")
    _, length, kind = _HEADER.unpack(head)
    if length > len(head):
        peer.recv(length - len(head), socket.MSG_WAITALL)
    return int(kind)


def _establish(listener: socket.socket) -> socket.socket:
    """The first session that comes up; dials that collide are given up by who dialled."""
    while True:
        peer, _ = listener.accept()
        try:
            peer.sendall(_open())
            while _read(peer) != OPEN:
                pass
            peer.sendall(message(KEEPALIVE))
            while _read(peer) != KEEPALIVE:
                pass
        except OSError:
            peer.close()
        else:
            return peer


def _drain(peer: socket.socket) -> None:
    try:
        while True:
            _read(peer)
    except OSError:
        return


def _say(**fields: float | str) -> None:
    print(json.dumps(fields), flush=True)


def main() -> None:
    """Argument: how many prefixes. Times are CLOCK_MONOTONIC, which all processes share."""
    count = int(sys.argv[1])
    ready = {"send": b"".join(updates(count)), "withdraw": b"".join(withdrawals(count))}
    with socket.create_server((ADDRESS, PORT)) as listener:
        peer = _establish(listener)
        threading.Thread(target=_drain, args=(peer,), daemon=True).start()
        lock = threading.Lock()

        def keep() -> None:
            while True:
                time.sleep(HOLD / 6)
                with lock:
                    peer.sendall(message(KEEPALIVE))

        threading.Thread(target=keep, daemon=True).start()
        _say(event="established")
        for line in sys.stdin:
            with lock:
                start = time.monotonic()
                peer.sendall(ready[line.strip()])
                _say(event=line.strip(), start=start, taken=time.monotonic())


if __name__ == "__main__":
    main()
