"""Servers of every sort in a namespace, and the process in it that probes them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyroute2 import netns

from tests.system.gobgp_rig import ROOT, Member

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# Seconds: a probe is given up after its timeout, and so much later at the latest on a busy machine.
LATE = 3.0
NOTHING = ("10.9.0.77", "fd09::77")  # on a link, and nobody has them
VIP, VIP6, LOCAL, LOCAL6 = "198.51.100.10", "2001:db8:a::10", "127.0.0.1", "::1"


@dataclass(frozen=True)
class Verdict:
    """What probes said, how long they took together, and what was left of them."""

    said: list[str]
    seconds: float
    left: list[str]


class Probes:
    """A namespace with a loopback, a link where nobody answers, and a process that probes."""

    def __init__(self, directory: Path) -> None:
        self.member = Member("probes", directory)
        self._sockets: list[socket.socket] = []
        self._processes: list[subprocess.Popen[str]] = []
        for words in (
            "link add quiet type veth peer name far",
            "link set far up",
            "link set quiet up",
            "address add 10.9.0.1/24 dev quiet",
            "address add fd09::1/64 dev quiet nodad",
            # Or the kernel would ask who they are, and after three seconds know that nobody is.
            *(f"neigh add {address} lladdr 02:00:00:00:00:77 dev quiet nud permanent" for address in NOTHING),
        ):
            self.member.ip(*words.split())
        self._prober = self._run("tests.system.probe_main")

    def _run(self, module: str) -> subprocess.Popen[str]:
        argv = ["ip", "netns", "exec", self.member.ns, sys.executable, "-m", module]
        process = subprocess.Popen(
            argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._processes.append(process)
        return process

    def order(self, **order: Any) -> Any:
        assert self._prober.stdin is not None
        assert self._prober.stdout is not None
        self._prober.stdin.write(json.dumps(order) + "\n")
        self._prober.stdin.flush()
        return json.loads(self._prober.stdout.readline())

    def ask(self, check: str, address: str = LOCAL, vip: str = VIP, pod: str = "", **more: Any) -> Verdict:
        return Verdict(**self.order(check=check, address=address, vip=vip, pod=pod, **more))

    def grpc_server(self) -> tuple[int, int]:
        """Its ports with and without the health protocol."""
        server = self._run("tests.system.grpc_health_server")
        assert server.stdout is not None
        return int(server.stdout.readline()), int(server.stdout.readline())

    def listen(self, address: str = LOCAL, backlog: int = 64) -> socket.socket:
        """A socket of the namespace that listens; nobody accepts."""
        made: list[socket.socket] = []

        def enter() -> None:
            netns.setns(self.member.ns)
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            made.append(socket.socket(family, socket.SOCK_STREAM))

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        made[0].bind((address, 0))
        made[0].listen(backlog)
        self._sockets += made
        return made[0]

    def serve(self, handle: Callable[[socket.socket], None], address: str = LOCAL) -> int:
        """A server, whose connections `handle` gets one after the other; its port."""
        listening = self.listen(address)

        def work() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(10)
                    handle(connection)

        threading.Thread(target=work, daemon=True).start()
        return port_of(listening)

    def answer(self, *pieces: bytes, address: str = LOCAL) -> int:
        """A server that takes a request, sends these and closes; its port."""

        def handle(connection: socket.socket) -> None:
            request_on(connection)
            for piece in pieces:
                connection.sendall(piece)

        return self.serve(handle, address)

    def close(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for process in self._processes:
            process.kill()
            process.communicate()
        self.member.close()


def said(verdict: Verdict, pod: str = "") -> str:
    """What all probes said; nothing is left of them, nor a process that knows this pod's name."""
    assert verdict.left == []
    assert not pod or processes_with(f"ANYPOD_POD={pod}\0") == []
    assert len(verdict.said) == 1
    return verdict.said[0]


def port_of(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


def request_on(connection: socket.socket) -> bytes:
    """An HTTP request, up to its end."""
    request = b""
    while b"\r\n\r\n" not in request and (piece := connection.recv(4096)):
        request += piece
    return request


def processes_with(text: str) -> list[str]:
    """The command lines of processes with this in their environment."""
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdecimal() and text.encode() in _read(name, "environ"):
                found.append(_read(name, "cmdline").replace(b"\0", b" ").decode())
    return found


def _read(process: str, name: str) -> bytes:
    with open(f"/proc/{process}/{name}", "rb") as file:
        return file.read()
