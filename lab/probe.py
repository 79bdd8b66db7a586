"""Measures from inside a namespace: echo server, questions, hop-by-hop trace, loss meter. Prints JSON lines.

Run as a program (`python -I probe.py VERB …`) in the namespace it measures from; it imports nothing of ours.
The server answers each datagram with what it saw: the sender's address and the TTL (or hop limit) on arrival.
"""

from __future__ import annotations

import argparse
import json
import selectors
import signal
import socket
import struct
import sys
import time
from itertools import pairwise
from typing import Any

LIFETIME = 900.0  # seconds; nothing here outlives a forgotten lab by more
IP_RECVTTL, IP_RECVERR = 12, 11  # linux/in.h
IPV6_RECVERR, IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT = 25, 51, 52  # linux/in6.h
MSG_ERRQUEUE = 0x2000
ORIGIN_ICMP = (2, 3)  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6 (linux/errqueue.h)
EXTENDED_ERROR = struct.Struct("=IBBBBII")  # struct sock_extended_err; the offender's sockaddr follows
FIRST_TTL = 64


def main() -> None:
    """Reads the verb and its arguments and runs it."""
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    verbs = {"serve": serve, "ask": ask, "trace": trace, "loss": loss}
    verbs[arguments.verb](arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="probe")
    verbs = parser.add_subparsers(dest="verb", required=True)
    server = verbs.add_parser("serve")
    server.add_argument("--port", type=int, required=True)
    for name in ("ask", "trace", "loss"):
        verb = verbs.add_parser(name)
        verb.add_argument("address")
        verb.add_argument("--port", type=int, required=True)
        verb.add_argument("--source", default="")
    verbs.choices["ask"].add_argument("--timeout", type=float, default=1.0)
    verbs.choices["trace"].add_argument("--timeout", type=float, default=1.0)
    verbs.choices["trace"].add_argument("--hops", type=int, default=8)
    verbs.choices["loss"].add_argument("--rate", type=float, default=50.0)
    verbs.choices["loss"].add_argument("--seconds", type=float, default=60.0)
    return parser


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _open(address: str, port: int, source: str) -> socket.socket:
    """A datagram socket that talks to one address and learns the ICMP errors that its datagrams meet."""
    family = _family(address)
    sock = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    if source:
        sock.bind((source, 0))
    sock.connect((address, port))
    return sock


def _set_ttl(sock: socket.socket, ttl: int) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)


def serve(arguments: argparse.Namespace) -> None:
    """Answers over both families until it is ended or its life is over."""
    selector = selectors.DefaultSelector()
    for family, level, option in (
        (socket.AF_INET, socket.IPPROTO_IP, IP_RECVTTL),
        (socket.AF_INET6, socket.IPPROTO_IPV6, IPV6_RECVHOPLIMIT),
    ):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(level, option, 1)
        sock.bind(("", arguments.port))
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ, sock)
    deadline = time.monotonic() + LIFETIME
    _say({"serving": arguments.port})
    while (left := deadline - time.monotonic()) > 0:
        for key, _ in selector.select(min(left, 60.0)):
            _answer(key.data)


def _answer(sock: socket.socket) -> None:
    try:
        data, ancillary, _, peer = sock.recvmsg(512, 256)
        number = json.loads(data)["number"]
        ttl = next((struct.unpack("=i", value)[0] for _, _, value in ancillary), 0)
        answer = {"number": number, "source": peer[0], "ttl": ttl}
        sock.sendto(json.dumps(answer).encode(), peer)
    except (OSError, ValueError, KeyError, TypeError):
        return  # a stranger's datagram, or the kernel would not send: the asker counts it as lost


def ask(arguments: argparse.Namespace) -> None:
    """One question; prints what the server saw, or the error that came instead."""
    _say(_question(arguments, FIRST_TTL))


def trace(arguments: argparse.Namespace) -> None:
    """Questions with TTL 1, 2, 3, …: each router on the path answers, at last the server does."""
    hops = []
    for ttl in range(1, arguments.hops + 1):
        hop = _question(arguments, ttl)
        hops.append(hop)
        if "source" in hop:
            break
    _say({"hops": hops})


def _question(arguments: argparse.Namespace, ttl: int) -> dict[str, Any]:
    """One question on a socket of its own; without a route the kernel's error is the answer."""
    try:
        with _open(arguments.address, arguments.port, arguments.source) as sock:
            _set_ttl(sock, ttl)
            return _exchange(sock, ttl, arguments.timeout)
    except OSError as error:
        return {"error": error.strerror or str(error)}


def _exchange(sock: socket.socket, number: int, timeout: float) -> dict[str, Any]:
    """Sends one question and waits for its answer ("source", "ttl") or an ICMP error (from "router")."""
    sock.settimeout(timeout)
    try:
        sock.send(json.dumps({"number": number}).encode())
        answer = json.loads(sock.recv(512))
        return {"from": sock.getpeername()[0], **answer}
    except TimeoutError:
        return {"error": "no answer"}
    except OSError as error:
        return _error_queue(sock) or {"error": error.strerror or str(error)}


def _error_queue(sock: socket.socket) -> dict[str, Any] | None:
    """The ICMP error that is waiting, as its sender, type and code."""
    try:
        _, ancillary, _, _ = sock.recvmsg(512, 512, MSG_ERRQUEUE)
    except OSError:
        return None
    for _, kind, value in ancillary:
        if kind not in {IP_RECVERR, IPV6_RECVERR} or len(value) < EXTENDED_ERROR.size:
            continue
        _, origin, icmp_type, icmp_code, _, _, _ = EXTENDED_ERROR.unpack_from(value)
        if origin in ORIGIN_ICMP:
            offender = value[EXTENDED_ERROR.size :]
            raw = offender[8:24] if sock.family == socket.AF_INET6 else offender[4:8]
            return {"router": socket.inet_ntop(sock.family, raw), "icmp": [icmp_type, icmp_code]}
    return None


def loss(arguments: argparse.Namespace) -> None:
    """Sends `rate` questions a second for `seconds` or until stdin is closed; prints what was lost."""
    selector = selectors.DefaultSelector()
    sock = _open(arguments.address, arguments.port, arguments.source)
    sock.setblocking(False)
    selector.register(sock, selectors.EVENT_READ, "answers")
    selector.register(sys.stdin, selectors.EVENT_READ, "stdin")
    start = time.monotonic()
    end = start + min(arguments.seconds, LIFETIME)
    answered: dict[int, float] = {}
    sent, errors, stopped = 0, 0, False
    _say({"measuring": arguments.address})
    while not stopped and (now := time.monotonic()) < end:
        due = start + sent / arguments.rate
        if now >= due:
            sent += 1
            errors += not _send(sock, sent)
            continue
        for key, _ in selector.select(due - now):
            stopped = stopped or (key.data == "stdin" and not sys.stdin.read(1))
            if key.data == "answers":
                _collect(sock, answered)
    selector.unregister(sys.stdin)
    late = time.monotonic() + 1.0
    while len(answered) < sent and (left := late - time.monotonic()) > 0:
        if selector.select(left):
            _collect(sock, answered)
    _say({"sent": sent, "lost": sent - len(answered), "refused": errors, "longest_gap_ms": _gap(answered)})


def _send(sock: socket.socket, number: int) -> bool:
    """False when the kernel refused; the error of an earlier datagram is taken out of the way first."""
    for _ in range(3):
        try:
            sock.send(json.dumps({"number": number}).encode())
        except OSError:
            _error_queue(sock)
            continue
        return True
    return False


def _collect(sock: socket.socket, answered: dict[int, float]) -> None:
    try:
        answered[int(json.loads(sock.recv(512))["number"])] = time.monotonic()
    except OSError:
        _error_queue(sock)


def _gap(answered: dict[int, float]) -> int:
    """The longest time without an answer, in whole milliseconds."""
    times = sorted(answered.values())
    return round(1000 * max((b - a for a, b in pairwise(times)), default=0.0))


if __name__ == "__main__":
    main()
