"""Asks a speaker in a namespace for its metrics, as Prometheus does."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families
from pyroute2 import netns

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = 9179
SECONDS = 15


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Sockets that are made meanwhile, by this thread, stay in the namespace."""
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        netns.setns(namespace)
        yield
    finally:
        netns.setns(here)
        os.close(here)


def connect(namespace: str) -> socket.socket:
    """A connection within the namespace."""
    with inside(namespace):
        return socket.create_connection(("127.0.0.1", PORT), SECONDS)


def ask(namespace: str, request: bytes) -> tuple[str, str]:
    """The status line and the body of the answer."""
    with connect(namespace) as client, client.makefile("rb") as stream:
        client.sendall(request)
        head, _, body = stream.read().partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode(), body.decode()


def scrape(namespace: str) -> dict[str, float]:
    """Values by name and labels, as they stand there: sorted by the labels' names."""
    status, body = ask(namespace, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == "HTTP/1.1 200 OK"
    return {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }
