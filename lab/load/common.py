"""What the programs share: JSON lines out, a line or the end of stdin in, sockets from many addresses."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import sys
import time
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LIFETIME = 7200.0  # seconds; nothing here outlives a forgotten lab by more
IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h: the port is chosen on connect, so each address has all of them
GREETING = b"\n"  # ends the line that a pod's server says first: its name and the client's address


def say(message: dict[str, Any]) -> None:
    """One line for whoever started this."""
    print(json.dumps(message), flush=True)


def family_of(address: str) -> socket.AddressFamily:
    """Of an address as it is written."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def addresses(prefixes: str) -> list[str]:
    """Every address of prefixes that are parted by commas; [""], the kernel's choice, for none."""
    return [str(address) for prefix in prefixes.split(",") if prefix for address in ip_network(prefix)] or [
        ""
    ]


def dial(target: str, port: int, source: str) -> socket.socket:
    """A TCP socket that is on its way to a target."""
    made = socket.socket(family_of(target), socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if source:
            made.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            made.bind((source, 0))
        status = made.connect_ex((target, port))
        if status not in {0, errno.EINPROGRESS}:
            raise OSError(status, os.strerror(status))
    except OSError:
        made.close()
        raise
    return made


def why(error: OSError) -> str:
    """An error in a word or two, the same for every run."""
    return errno.errorcode.get(error.errno or 0, str(error))


def greeting(data: bytes) -> tuple[str, str]:
    """Name of the pod and the address that it saw."""
    pod, _, client = data.partition(b"\n")[0].decode().partition(" ")
    return pod, client


class Poll:
    """epoll, with a wait that ends with stdin: what started this program wants its last words."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._end = time.monotonic() + LIFETIME
        self.stopped = False
        self.lines: list[str] = []
        self.watch(sys.stdin.fileno())

    def watch(self, number: int, events: int = select.EPOLLIN) -> None:
        """Begins to look at a file descriptor."""
        self._epoll.register(number, events)

    def change(self, number: int, events: int) -> None:
        """Looks for other events of it."""
        self._epoll.modify(number, events)

    def wait(self, until: float) -> Iterator[int]:
        """Descriptors with something to do; nothing when it is `until` (monotonic) without any."""
        left = max(0.0, min(until, self._end) - time.monotonic())
        for number, _ in self._epoll.poll(left):
            if number == sys.stdin.fileno():
                self._hear()
            else:
                yield number
        self.stopped = self.stopped or time.monotonic() >= self._end

    def _hear(self) -> None:
        heard = os.read(sys.stdin.fileno(), 4096).decode()
        self.lines += heard.split()
        if not heard:
            self.stopped = True
            self._epoll.unregister(sys.stdin.fileno())
