"""Probes by gRPC's health protocol, against a server that answers it in every way, and against others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.system.probe_rig import LATE, LOCAL, LOCAL6, OK, VIP, VIP6, said

if TYPE_CHECKING:
    import socket

    from tests.system.probe_rig import Probes


@pytest.fixture(scope="module")
def health_server(probes: Probes) -> tuple[int, int]:
    return probes.grpc_server()


@pytest.mark.parametrize(
    ("service", "verdict"),
    [
        ("", "healthy"),
        ("/serving", "healthy"),
        ("/longer", "healthy"),
        ("/down", "gRPC health NOT_SERVING"),
        ("/unknown", "gRPC health UNKNOWN"),
        ("/odd", "gRPC health 77"),
        ("/nobody", "gRPC NOT_FOUND: unknown service"),
        ("/garbage", "an answer that is not of the gRPC health protocol"),
        ("/slow", "no answer within 1 s"),
    ],
)
@pytest.mark.parametrize("address", [LOCAL, LOCAL6])
def test_grpc(
    probes: Probes, health_server: tuple[int, int], service: str, verdict: str, address: str
) -> None:
    vip = VIP6 if ":" in address else VIP
    asked = probes.ask(f"grpc://:{health_server[0]}{service} timeout=1", address, vip)
    assert said(asked) == verdict
    assert asked.seconds < 1 + LATE


def test_grpc_with_an_answer_that_is_too_long(probes: Probes, health_server: tuple[int, int]) -> None:
    verdict = said(probes.ask(f"grpc://:{health_server[0]}/huge"))
    assert verdict.startswith("gRPC RESOURCE_EXHAUSTED")
    assert len(verdict) <= 100


def test_grpc_without_the_health_protocol(probes: Probes, health_server: tuple[int, int]) -> None:
    assert said(probes.ask(f"grpc://:{health_server[1]}")).startswith("gRPC UNIMPLEMENTED")


@pytest.mark.parametrize("answer", [OK, bytes(range(256)) * 64])
def test_grpc_where_there_is_none(probes: Probes, answer: bytes) -> None:
    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    assert said(probes.ask(f"grpc://:{probes.serve(handle)}")) == "no gRPC server answers"


def test_a_goaway_that_grpc_does_not_know_ends_nobody(probes: Probes) -> None:
    """HTTP_1_1_REQUIRED, 13, is in the RFC and not in grpc 1.85: it aborted the process."""

    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(bytes.fromhex("000000040000000000"))
        time.sleep(0.05)
        connection.sendall(bytes.fromhex("00000b070000000000000000000000000d") + b"bye")
        time.sleep(0.1)

    assert said(probes.ask(f"grpc://:{probes.serve(handle)}")) == "no gRPC server answers"
    assert said(probes.ask(f"grpc://:{probes.serve(handle)}")) == "no gRPC server answers"


def test_hundreds_at_a_time_leave_nothing(probes: Probes, health_server: tuple[int, int]) -> None:
    port = health_server[0]
    assert said(probes.ask(f"grpc://:{port} timeout=5", times=200)) == "healthy"
    assert said(probes.ask(f"tcp://:{port} timeout=5", times=500)) == "healthy"
