"""Probes by gRPC's health protocol, against a server that answers it in every way, and against others."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import wait
from tests.system.probe_rig import LATE, LOCAL, LOCAL6, OK, VIP, VIP6, said

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.probe_rig import Probes


@pytest.fixture(scope="module")
def health_server(probes: Probes) -> tuple[int, int]:
    return probes.grpc_server()


@pytest.fixture
def containerd(tmp_path: Path) -> Iterator[Path]:
    """The socket of a server written in Go that knows the health protocol."""
    place = tmp_path / "socket"
    (tmp_path / "config.toml").write_text(
        f"""
version = 2
root = "{tmp_path}/root"
state = "{tmp_path}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{place}"
[ttrpc]
  address = "{tmp_path}/ttrpc"
"""
    )
    argv = ["unshare", "--net", "--mount", "containerd", "--config", str(tmp_path / "config.toml")]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            wait("containerd", place.exists)
            yield place
        finally:
            process.kill()


def pump(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(4096):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


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


def test_a_server_in_go(probes: Probes, containerd: Path) -> None:
    """Its headers are in Huffman code."""

    def handle(connection: socket.socket) -> None:
        with socket.socket(socket.AF_UNIX) as server, ThreadPoolExecutor() as pool:
            server.connect(str(containerd))
            pool.submit(pump, server, connection)
            pump(connection, server)

    port = probes.serve(handle)
    assert said(probes.ask(f"grpc://:{port}")) == "healthy"
    assert said(probes.ask(f"grpc://:{port}/nobody")) == "gRPC NOT_FOUND: unknown service"


def test_a_goaway_with_a_code_that_grpc_does_not_know(probes: Probes) -> None:
    """HTTP_1_1_REQUIRED, 13, is in the RFC and not in grpc 1.85, whose process it would end."""

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
