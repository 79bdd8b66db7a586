"""Probes against real servers, which answer, don't, or answer nonsense; nothing is left of any."""

from __future__ import annotations

import itertools
import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import wait
from tests.system.probe_rig import LATE, LOCAL, LOCAL6, NOTHING, OK, VIP, VIP6, port_of, request_on, said

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.probe_rig import Probes


# ---- tcp, and what all that connect have in common


@pytest.mark.parametrize("address", [LOCAL, LOCAL6])
def test_a_connection_that_is_taken_is_healthy(probes: Probes, address: str) -> None:
    port = port_of(probes.listen(address))
    verdict = probes.ask(f"tcp://:{port}", address)
    assert said(verdict) == "healthy"
    assert verdict.seconds < LATE


@pytest.mark.parametrize("address", [LOCAL, LOCAL6])
@pytest.mark.parametrize("kind", ["tcp", "http", "https", "grpc"])
def test_refused(probes: Probes, kind: str, address: str) -> None:
    verdict = probes.ask(f"{kind}://:9", address)
    assert said(verdict) == "connection refused"
    assert verdict.seconds < LATE


@pytest.mark.parametrize("address", NOTHING)
@pytest.mark.parametrize("kind", ["tcp", "http", "https", "grpc"])
def test_an_address_that_nobody_has_ends_with_the_timeout(probes: Probes, kind: str, address: str) -> None:
    verdict = probes.ask(f"{kind}://:80 timeout=500ms", address, times=20)
    assert said(verdict) == "no answer within 0.5 s"
    assert 0.5 <= verdict.seconds < 0.5 + LATE


def test_a_queue_that_is_full_ends_with_the_timeout(probes: Probes) -> None:
    listening = probes.listen(backlog=0)
    verdicts = [probes.ask(f"tcp://:{port_of(listening)} timeout=500ms") for _ in range(3)]
    # The kernel itself takes connections while there is room.
    assert [said(verdict) for verdict in verdicts][-1] == "no answer within 0.5 s"


@pytest.mark.parametrize("kind", ["http", "https", "grpc"])
def test_a_server_that_says_nothing_ends_with_the_timeout(probes: Probes, kind: str) -> None:
    verdict = probes.ask(f"{kind}://:{port_of(probes.listen())} timeout=500ms", times=20)
    assert said(verdict) == "no answer within 0.5 s"
    assert verdict.seconds < 0.5 + LATE


@pytest.mark.parametrize("kind", ["tcp", "http", "https", "grpc"])
def test_nothing_is_left_of_probes_that_are_cancelled(probes: Probes, kind: str) -> None:
    address = NOTHING[0] if kind == "tcp" else LOCAL
    port = 80 if kind == "tcp" else port_of(probes.listen())
    # grpc itself goes on connecting until the timeout.
    assert said(probes.ask(f"{kind}://:{port} timeout=500ms", address, times=20, patience=0.2)) == "cancelled"


def test_no_route_to_the_endpoint(probes: Probes) -> None:
    assert said(probes.ask("tcp://:80", "192.0.2.1")) == "network is unreachable"


# ---- http


@pytest.mark.parametrize(("status", "verdict"), [(200, "healthy"), (204, "healthy"), (302, "healthy")])
def test_http_that_is_healthy(probes: Probes, status: int, verdict: str) -> None:
    port = probes.answer(b"HTTP/1.1 %d X\r\nLocation: http://192.0.2.1/\r\n\r\n" % status)
    assert said(probes.ask(f"http://:{port}/")) == verdict


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_http_that_is_not(probes: Probes, status: int) -> None:
    port = probes.answer(b"HTTP/1.1 %d X\r\n\r\n" % status)
    assert said(probes.ask(f"http://:{port}/")) == f"HTTP {status}"


def test_http_503_and_then_200(probes: Probes) -> None:
    answers = itertools.chain([b"HTTP/1.1 503 Not yet\r\n\r\n"] * 2, itertools.repeat(OK))

    def handle(connection: socket.socket) -> None:
        request_on(connection)
        connection.sendall(next(answers))

    port = probes.serve(handle)
    found = [said(probes.ask(f"http://:{port}/")) for _ in range(4)]
    assert found == ["HTTP 503", "HTTP 503", "healthy", "healthy"]


def test_the_server_sees_the_vip_as_host(probes: Probes) -> None:
    requests: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        requests.append(request_on(connection))
        connection.sendall(OK)

    port = probes.serve(handle, LOCAL6)
    assert said(probes.ask(f"http://:{port}/ready?x", LOCAL6, VIP6)) == "healthy"
    assert requests[0].startswith(b"GET /ready?x HTTP/1.1\r\nHost: [%s]:%d\r\n" % (VIP6.encode(), port))


def test_an_answer_byte_by_byte_is_read(probes: Probes) -> None:
    port = probes.answer(*(bytes([byte]) for byte in OK))
    assert said(probes.ask(f"http://:{port}/")) == "healthy"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "closed without an answer"),
        (b"HTTP/1.1 200 OK\r\n", "closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "an answer that is not HTTP"),
        (bytes(range(256)) * 64, "an answer that is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 9000, "an answer with more than 16384 bytes before its body"),
    ],
)
def test_what_is_no_answer(probes: Probes, answer: bytes, error: str) -> None:
    assert said(probes.ask(f"http://:{probes.answer(answer)}/")) == error


def test_a_head_that_never_ends_ends_with_the_timeout(probes: Probes) -> None:
    def handle(connection: socket.socket) -> None:
        request_on(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X: y\r\n")
            time.sleep(0.05)

    verdict = probes.ask(f"http://:{probes.serve(handle)}/ timeout=500ms")
    assert said(verdict) == "no answer within 0.5 s"
    assert verdict.seconds < 0.5 + LATE


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_a_body_that_never_ends_is_cut_off(probes: Probes, pause: float) -> None:
    def handle(connection: socket.socket) -> None:
        request_on(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 4096)
            time.sleep(pause)

    verdict = probes.ask(f"http://:{probes.serve(handle)}/")
    assert said(verdict) == "healthy"
    assert verdict.seconds < LATE


def test_a_body_is_taken_so_that_the_server_is_not_cut_off(probes: Probes) -> None:
    ends: list[str] = []

    def handle(connection: socket.socket) -> None:
        request_on(connection)
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8192\r\n\r\n")
            time.sleep(0.02)
            connection.sendall(b"x" * 8192)
            connection.shutdown(socket.SHUT_WR)
            ends.append(connection.recv(1).decode())
        except OSError as error:
            ends.append(str(error))

    assert said(probes.ask(f"http://:{probes.serve(handle)}/")) == "healthy"
    wait("the server's end", lambda: ends)
    assert ends == [""]


# ---- https


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that nobody signed for another name, expired since yesterday, and its key."""
    directory = tmp_path_factory.mktemp("keys")
    for words in (
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=other.example -keyout key -out request",
        "x509 -req -in request -signkey key -days -1 -out certificate",
    ):
        subprocess.run(
            ["openssl", *words.split()], cwd=directory, check=True, capture_output=True, timeout=30
        )
    return directory


def test_https_with_an_expired_certificate_of_another_name(probes: Probes, keys: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "certificate", keys / "key")
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            request = request_on(secured)
            secured.sendall(OK if b"GET /ok " in request else b"HTTP/1.1 503 X\r\n\r\n")

    port = probes.serve(handle)
    assert said(probes.ask(f"https://:{port}/ok")) == "healthy"
    assert said(probes.ask(f"https://:{port}/")) == "HTTP 503"
    assert names == [None, None]


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28"]
)
def test_https_where_there_is_no_tls(probes: Probes, answer: bytes) -> None:
    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    assert said(probes.ask(f"https://:{probes.serve(handle)}/")).startswith("TLS: ")


# ---- over time


def test_a_server_that_hangs_is_down_and_is_up_again_when_it_answers(probes: Probes) -> None:
    hangs = False

    def handle(connection: socket.socket) -> None:
        request_on(connection)
        while hangs:
            time.sleep(0.01)
        connection.sendall(OK)

    port = probes.serve(handle)
    check = f"http://:{port}/ interval=1 timeout=200ms fast=200ms rise=2 fall=3"
    probes.order(follow=True, check=check, address=LOCAL, vip=VIP, pod="dns/a")
    wait("it is up", lambda: probes.order(health=True) == "up", 20)
    hangs, since = True, time.monotonic()
    wait("it is down", lambda: probes.order(health=True) == "down", 20)
    assert time.monotonic() - since < 1.13 + 3 * 0.23 + LATE  # interval, then three times the timeout
    hangs, since = False, time.monotonic()
    wait("it is up", lambda: probes.order(health=True) == "up", 20)
    assert time.monotonic() - since < 1.13 + 0.23 + LATE
    probes.order(follow=False)
    assert probes.order(health=True) == "unknown"
