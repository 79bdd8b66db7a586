"""Datagrams as fast as one core can, one to and fro, or TCP. Runs in a pod's namespace, told by its stdin.

    python blast.py send|bounce|stream ADDRESS COUNT    for each line, which has seconds: how much in how many seconds
    python blast.py sink|echo|swallow ADDRESS COUNT     the other ends; sink, for each line: packets received

COUNT is of TCP connections. One `send` hands the kernel 64 datagrams (UDP_SEGMENT). Where the pod's interface has
`gso_max_segs 1` they part there, so that everything behind it sees single packets, and Python is not what is measured.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from pathlib import Path

PORT = 7009
SIZE, AT_ONCE = 64, 64
UDP_SEGMENT = 103  # linux/udp.h
PATIENCE = 2.0
CHUNK = 256 << 10


def send(address: str, _count: int) -> None:
    """How many datagrams left in how many seconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, SIZE)
        out.connect((address, PORT))
        payload = bytes(SIZE * AT_ONCE)
        for line in sys.stdin:
            sent, start = 0, time.perf_counter()
            end = start + float(line)
            while (now := time.perf_counter()) < end:
                for _ in range(8):
                    out.send(payload)
                sent += 8 * AT_ONCE
            print(sent, now - start, flush=True)


def bounce(address: str, _count: int) -> None:
    """How many answers came back, one question at a time, in how many seconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.settimeout(PATIENCE)
        out.connect((address, PORT))
        for line in sys.stdin:
            count, start = 0, time.perf_counter()
            end = start + float(line)
            while (now := time.perf_counter()) < end:
                out.send(bytes(SIZE))
                out.recv(2048)
                count += 1
            print(count, now - start, flush=True)


def echo(address: str, _count: int) -> None:
    """Answers until it is ended."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, PORT))
        print("ready", flush=True)
        while True:
            data, sender = server.recvfrom(2048)
            server.sendto(data, sender)


def sink(address: str, _count: int) -> None:
    """Has a port where nobody reads: what comes is counted by the interface and dropped by a full buffer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        server.bind((address, PORT))
        print("ready", flush=True)
        for _ in sys.stdin:
            line = next(row for row in Path("/proc/net/dev").read_text().splitlines() if "eth0:" in row)
            print(line.partition(":")[2].split()[1], flush=True)


def stream(address: str, count: int) -> None:
    """How many bytes TCP took of us in how many seconds, over connections that stay."""
    links = [socket.create_connection((address, PORT), PATIENCE) for _ in range(count)]
    payload = bytes(CHUNK)
    for line in sys.stdin:
        sent, start = [0] * count, time.perf_counter()
        end = start + float(line)
        threads = [
            threading.Thread(target=_pour, args=(links[i], payload, end, sent, i)) for i in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(sum(sent), time.perf_counter() - start, flush=True)


def _pour(link: socket.socket, payload: bytes, end: float, sent: list[int], index: int) -> None:
    while time.perf_counter() < end:
        link.sendall(payload)
        sent[index] += len(payload)


def swallow(address: str, count: int) -> None:
    """Reads what comes over so many connections."""
    with socket.create_server((address, PORT)) as server:
        print("ready", flush=True)
        for _ in range(count):
            threading.Thread(target=_empty, args=(server.accept()[0],), daemon=True).start()
        sys.stdin.read()


def _empty(link: socket.socket) -> None:
    buffer = bytearray(CHUNK)
    while link.recv_into(buffer):
        pass


VERBS = {"send": send, "bounce": bounce, "stream": stream, "echo": echo, "sink": sink, "swallow": swallow}
RECEIVE = {"echo", "sink", "swallow"}

if __name__ == "__main__":
    verb, where, number = sys.argv[1:]
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1] if verb in RECEIVE else cores[0]})
    VERBS[verb](where, int(number))
