"""N BGP peers in one process: each dials the node, tells its prefixes and stays. Runs in a namespace, told by stdin.

FILE is JSON: `node`, `hold`, `expected` (prefixes that each is to hear) and `peers`, each with its address, AS and what
it tells. Commands are lines: "withdraw I", "announce I" (of each peer that tells node I's prefixes), "count".
Says in JSON lines, with monotonic times: "established" and "heard" when all have; "done" and "counted" to a command.

A simulation: no decision process, no policy, no timer but the keepalive. What it puts on the wire is BGP.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import socket
import sys
import time
from pathlib import Path
from typing import Any

from bench.scale import wire

PORT = 179
AGAIN, DIALS = 0.25, 500  # seconds between two attempts to dial; attempts a second of all peers together


class Peer:
    """One peer's session. `told` maps a node's number to the prefixes of it that this peer tells."""

    def __init__(self, given: dict[str, Any], node: str, hold: int) -> None:
        self.address, self.asn, self.node, self.hold = given["address"], given["asn"], node, hold
        internal = given["internal"]
        self.updates: dict[int, tuple[bytes, bytes]] = {}
        for number, rest in given["told"]:
            told = wire.Told(*map(_tupled, rest))
            self.updates[number] = wire.update(told, internal=internal), wire.withdrawal(told.prefixes)
        self.socket: socket.socket | None = None
        self.established = False
        self.heard = 0
        self._out = bytearray()
        self._in = bytearray()

    def dial(self) -> socket.socket:
        """Begins a connection from the peer's own address."""
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.bind((self.address, 0))
        with contextlib.suppress(BlockingIOError):
            made.connect((self.node, PORT))
        self.socket, self.established, self.heard = made, False, 0
        self._in.clear()
        self._out[:] = wire.opening(self.asn, self.hold, self.address)
        return made

    def put(self, data: bytes) -> None:
        """Queues bytes and sends what the kernel takes."""
        self._out += data
        self.flush()

    def flush(self) -> bool:
        """Sends what is queued; whether nothing is left."""
        if self._out and self.socket is not None:
            with contextlib.suppress(BlockingIOError):
                del self._out[: self.socket.send(self._out)]
        return not self._out

    def read(self, count: dict[str, int]) -> None:
        """Takes what came. OSError when the session is over."""
        assert self.socket is not None  # noqa: S101 - only sockets that are open are looked at
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionResetError
        self._in += data
        for kind, body in wire.split(self._in):
            if kind == wire.OPEN:
                self.put(wire.message(wire.KEEPALIVE))
            elif kind == wire.KEEPALIVE and not self.established:
                self.established = True
                self.put(b"".join(told for told, _ in self.updates.values()) + wire.end_of_rib())
            elif kind == wire.UPDATE:
                told, taken = wire.prefixes(body)
                self.heard += told - taken
                count["updates_in"] += told + taken > 0
                count["prefixes_in"] += told + taken
            elif kind == wire.NOTIFICATION:
                count["notifications"] += 1
                raise ConnectionResetError


class Crowd:
    """All peers, and the loop."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.peers = [Peer(one, given["node"], given["hold"]) for one in given["peers"]]
        self.expected = given["expected"]
        self.keepalive = given["hold"] / 3
        self.selector = selectors.DefaultSelector()
        self.count = {"updates_in": 0, "prefixes_in": 0, "notifications": 0}
        self.again: list[tuple[float, Peer]] = [(0.0, peer) for peer in self.peers]
        self.said: set[str] = set()

    def run(self) -> None:
        """Until stdin ends."""
        self.selector.register(0, selectors.EVENT_READ, None)
        turn, due = 0, time.monotonic()
        while True:
            for key, events in self.selector.select(0.02):
                if key.data is None:
                    if not self.command(os.read(0, 1 << 16).decode()):
                        self.say("end")
                        return
                    continue
                self.serve(key.data, events)
            now = time.monotonic()
            ready, self.again = (
                [p for at, p in self.again if at <= now],
                [e for e in self.again if e[0] > now],
            )
            for peer in ready:
                self.selector.register(peer.dial(), selectors.EVENT_READ | selectors.EVENT_WRITE, peer)
            # Each peer's keepalives at a time of their own, as those of N machines are.
            while due <= now:
                peer = self.peers[turn]
                if peer.established:
                    with contextlib.suppress(OSError):
                        peer.put(wire.message(wire.KEEPALIVE))
                turn = (turn + 1) % len(self.peers)
                due += self.keepalive / len(self.peers)
            self.progress(now)

    def serve(self, peer: Peer, events: int) -> None:
        """One peer's socket."""
        if peer.socket is None:
            return
        try:
            failed = peer.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed:
                raise OSError(failed, errno.errorcode.get(failed, ""))
            if events & selectors.EVENT_READ:
                peer.read(self.count)
            wanted = selectors.EVENT_READ | (0 if peer.flush() else selectors.EVENT_WRITE)
            self.selector.modify(peer.socket, wanted, peer)
        except BlockingIOError:
            return
        except OSError:
            self.selector.unregister(peer.socket)
            peer.socket.close()
            peer.socket, peer.established = None, False
            self.again.append((time.monotonic() + max(AGAIN, len(self.peers) / DIALS), peer))

    def progress(self, now: float) -> None:
        """Says what all have reached, once."""
        if "established" not in self.said and all(p.established for p in self.peers):
            self.say("established", at=now)
        if "heard" not in self.said and all(p.heard >= self.expected for p in self.peers):
            self.say("heard", at=now)

    def command(self, text: str) -> bool:
        """Does what stdin says; False at its end."""
        for line in text.splitlines():
            word, _, number = line.partition(" ")
            if word == "count":
                self.say("counted", **self.count, up=sum(peer.established for peer in self.peers))
                continue
            at = time.monotonic()
            for peer in self.peers:
                told = peer.updates.get(int(number))
                if told is not None:
                    peer.put(told[word == "withdraw"])
            self.say("done", begun=at)
        return bool(text)

    def say(self, event: str, **more: object) -> None:
        """One event."""
        self.said.add(event)
        print(json.dumps({"event": event, **more}), flush=True)


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def main() -> None:
    """Runs them until stdin ends."""
    Crowd(json.loads(Path(sys.argv[1]).read_text())).run()
