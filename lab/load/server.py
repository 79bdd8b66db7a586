"""A pod's service: says over TCP, UDP and HTTP which pod it is and which address it sees.

TCP: a line "POD ADDRESS", then everything is sent back. UDP: "POD ADDRESS " and the question. HTTP: the same line for
every path but /healthz, which is answered by what the health file says: "ok" (or no such file) 200, "fail" 503,
"hang" never.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.load.common import LIFETIME, say

if TYPE_CHECKING:
    import argparse

IP_PKTINFO = 8  # linux/in.h
BACKLOG = 4096
BUFFER = 2048
FAMILIES = (
    (socket.AF_INET, socket.IPPROTO_IP, IP_PKTINFO),
    (socket.AF_INET6, socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO),
)


class Server:
    """One pod's."""

    def __init__(self, name: str, port: int, http: int, health: Path) -> None:
        self._name = name.encode()
        self._health = health
        self._http = http
        self._epoll = select.epoll()
        self._listeners: dict[int, tuple[socket.socket, int]] = {}
        self._datagrams: dict[int, socket.socket] = {}
        self._open: dict[int, tuple[socket.socket, bytes]] = {}  # with the answer of an HTTP connection
        for family, level, option in FAMILIES:
            for number in (port, http):
                self._listen(family, number)
            self._receive(family, port, level, option)

    def _listen(self, family: socket.AddressFamily, port: int) -> None:
        made = socket.create_server(("", port), family=family, backlog=BACKLOG)
        made.setblocking(False)
        self._listeners[made.fileno()] = made, port
        self._epoll.register(made.fileno(), select.EPOLLIN)

    def _receive(self, family: socket.AddressFamily, port: int, level: int, option: int) -> None:
        made = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # An answer leaves from the address that was asked, as every server of an anycast address has to see to.
        made.setsockopt(level, option, 1)
        made.bind(("", port))
        made.setblocking(False)
        self._datagrams[made.fileno()] = made
        self._epoll.register(made.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Serves until it is ended or its life is over."""
        end = time.monotonic() + LIFETIME
        while time.monotonic() < end:
            for number, _ in self._epoll.poll(60.0):
                with contextlib.suppress(OSError):  # a client that went away
                    self._serve(number)

    def _serve(self, number: int) -> None:
        if number in self._listeners:
            self._accept(*self._listeners[number])
        elif number in self._datagrams:
            self._answer(self._datagrams[number])
        else:
            self._echo(number)

    def _accept(self, listener: socket.socket, port: int) -> None:
        while True:
            try:
                made, peer = listener.accept()
            except BlockingIOError:
                return
            made.setblocking(False)
            line = self._name + b" " + peer[0].encode() + b"\n"
            if port != self._http:
                made.send(line)
            self._open[made.fileno()] = made, line if port == self._http else b""
            self._epoll.register(made.fileno(), select.EPOLLIN)

    def _echo(self, number: int) -> None:
        made, http = self._open[number]
        try:
            data = made.recv(BUFFER)
            if data and not http:
                made.send(data)
            elif data:
                data = self._respond(made, data, http)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            del self._open[number]
            made.close()

    def _respond(self, made: socket.socket, request: bytes, line: bytes) -> bytes:
        """Answers a request; nothing when the connection is done."""
        status = b"200 OK"
        if request.split(b" ")[1:2] == [b"/healthz"]:
            said = self._state()
            if said == "hang":
                return request
            status = b"503 Service Unavailable" if said == "fail" else status
        head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(line))
        made.send(head + line)
        return b""

    def _state(self) -> str:
        try:
            return self._health.read_text().strip()
        except FileNotFoundError:
            return "ok"

    def _answer(self, sock: socket.socket) -> None:
        while True:
            try:
                data, ancillary, _, peer = sock.recvmsg(BUFFER, 256)
            except BlockingIOError:
                return
            # In in_pktinfo the first address is the one that a packet leaves from (ip(7)), which is kept.
            where = [(level, kind, value) for level, kind, value in ancillary if kind in {IP_PKTINFO, 50}]
            answer = self._name + b" " + peer[0].encode() + b" " + data
            sock.sendmsg([answer], [_without_interface(*info) for info in where], 0, peer)


def _without_interface(level: int, kind: int, value: bytes) -> tuple[int, int, bytes]:
    """The pktinfo of an answer: from the address that was asked, by whatever interface leads there."""
    if level == socket.IPPROTO_IP:
        return level, kind, bytes(4) + value[4:]
    return level, kind, value[:16] + bytes(4)


def serve(arguments: argparse.Namespace) -> None:
    """Serves as one pod."""
    server = Server(arguments.name, arguments.port, arguments.http, Path(arguments.health))
    say({"serving": arguments.name})
    server.run()
