"""Sockets in other network namespaces, held by the test itself: servers in pods, and clients of them."""

from __future__ import annotations

import selectors
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import TYPE_CHECKING, Self, TypeVar

from tests.system.view import enter_namespace

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
SECONDS = 10.0
# How long a client waits that is to get no answer.
SILENCE = 0.5
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


def within(namespace: str, work: Callable[[], T]) -> T:
    """Does something in a namespace, and leaves the test where it is."""

    def entered() -> T:
        enter_namespace(namespace)
        return work()

    # A thread of its own has a namespace of its own, and takes it along when it ends.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(entered).result()


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Server:
    """Answers over TCP and UDP, on all addresses of a namespace, with its name and the address that it sees."""

    def __init__(self, namespace: str, port: int, name: str = "server") -> None:
        self.name = name
        self._selector = selectors.DefaultSelector()
        self._ended, self._end = socket.socketpair()
        self._selector.register(self._ended, selectors.EVENT_READ)
        within(namespace, lambda: self._listen_on(port))
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _listen_on(self, port: int) -> None:
        for address in ("", "::"):
            self._listen(address, TCP, port)
            self._listen(address, UDP, port)

    def _listen(self, address: str, kind: socket.SocketKind, port: int) -> None:
        made = socket.socket(family_of(address), kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        if kind == TCP:
            made.listen()
        self._selector.register(made, selectors.EVENT_READ)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                one = key.fileobj
                assert isinstance(one, socket.socket)
                if one is self._ended:
                    return
                if one.type == TCP:
                    connection, peer = one.accept()
                    with connection:
                        connection.sendall(f"{self.name} {peer[0]}".encode())
                else:
                    _, peer = one.recvfrom(2048)
                    one.sendto(f"{self.name} {peer[0]}".encode(), peer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.send(b"x")
        self._thread.join(SECONDS)
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._end.close()
        self._selector.close()


def client(namespace: str, address: str, port: int, kind: socket.SocketKind = TCP) -> socket.socket:
    """A socket in a namespace that is connected to an address, for TCP also by the other side."""

    def connected() -> socket.socket:
        made = socket.socket(family_of(address), kind)
        made.settimeout(SILENCE if kind == UDP else SECONDS)
        try:
            made.connect((address, port))
        except OSError:
            made.close()
            raise
        return made

    return within(namespace, connected)


def receiver(namespace: str, port: int) -> socket.socket:
    """A UDP socket on all IPv4 addresses of a namespace."""

    def bound() -> socket.socket:
        made = socket.socket(socket.AF_INET, UDP)
        made.settimeout(SECONDS)
        made.bind(("", port))
        return made

    return within(namespace, bound)


def received(one: socket.socket, last: bytes) -> set[bytes]:
    """What arrives until `last` has, and a little later: two processors may deliver in another order."""
    found: set[bytes] = set()
    one.settimeout(SECONDS)
    while True:
        try:
            found.add(one.recv(99))
        except TimeoutError:
            assert last in found
            return found
        if last in found:
            one.settimeout(SILENCE / 5)


def ask(namespace: str, address: str, port: int, kind: socket.SocketKind = TCP) -> str:
    """What a server answers; "silence" and "refused" where none does."""
    try:
        with client(namespace, address, port, kind) as made:
            return exchange(made)
    except ConnectionRefusedError:
        return "refused"


def exchange(made: socket.socket) -> str:
    """Has the server answer once more. For UDP, a lost answer is silence only after a few tries."""
    for _ in range(4 if made.type == UDP else 1):
        try:
            made.send(b"?")
            return made.recv(99).decode()
        except TimeoutError:
            continue
    return "silence"


def checksum(data: bytes) -> bytes:
    """The internet's, RFC 1071."""
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) & 1)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)


def send_frame(
    namespace: str, macs: tuple[str, str], ips: tuple[str, str], protocol: int, data: bytes
) -> None:
    """Sends an IPv4 packet by `eth0` as it stands here: addresses of source and destination, of both layers."""
    source, destination = (socket.inet_aton(ip) for ip in ips)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(data), 0, 0, 64, protocol, 0) + source + destination
    packet = head[:10] + checksum(head) + head[12:] + data
    link = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in reversed(macs)) + b"\x08\0"
    made = within(namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    with made:
        made.bind(("eth0", 0))
        made.send(link + packet)


def udp(source: int, destination: int, data: bytes) -> bytes:
    """A UDP datagram without a checksum, as IPv4 allows."""
    return struct.pack(">HHHH", source, destination, 8 + len(data), 0) + data


def sctp_init(source: int, destination: int) -> bytes:
    """The packet that asks for an SCTP association, RFC 9260."""
    chunk = struct.pack(">BBHIIHHI", 1, 0, 20, 1, 1 << 16, 1, 1, 1)
    head = struct.pack(">HHI", source, destination, 0)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk


def crc32c(data: bytes) -> int:
    """The checksum of SCTP."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
