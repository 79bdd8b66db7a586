"""Asks a speaker in a namespace for its metrics, as Prometheus does."""

from __future__ import annotations

import os
import socket

from prometheus_client.parser import text_string_to_metric_families
from pyroute2 import netns

PORT = 9179
SECONDS = 15


def connect(namespace: str) -> socket.socket:
    """A connection within the namespace: a socket stays where it was made."""
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        netns.setns(namespace)
        client = socket.create_connection(("127.0.0.1", PORT), SECONDS)
    finally:
        netns.setns(here)
        os.close(here)
    return client


def ask(namespace: str, request: bytes) -> tuple[str, str]:
    """The status line and the body of the answer."""
    with connect(namespace) as client, client.makefile("rb") as stream:
        client.sendall(request)
        head, _, body = stream.read().partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode(), body.decode()


def scrape(namespace: str) -> dict[str, float]:
    """Values by name and labels."""
    status, body = ask(namespace, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == "HTTP/1.1 200 OK"
    return {
        "/".join(
            [sample.name, *(sample.labels[name] for name in ("peer", "asn") if sample.labels)]
        ): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }
