"""What an HTTP probe asks, and what it takes for an answer, in whatever pieces it comes."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni.healthcheck import parse_check
from speaker.anycast.health import Target
from speaker.anycast.probes.errors import ProbeFailedError
from speaker.anycast.probes.http import LIMIT, host_of, request_for, status_in


def verdict(answer: bytes) -> int | str | None:
    try:
        return status_in(answer)
    except ProbeFailedError as error:
        return str(error)


@pytest.mark.parametrize(
    ("vip", "port", "host"),
    [
        ("198.51.100.10", 80, "198.51.100.10"),
        ("198.51.100.10", 8080, "198.51.100.10:8080"),
        ("2001:db8::10", 80, "[2001:db8::10]"),
        ("2001:db8::10", 8080, "[2001:db8::10]:8080"),
    ],
)
def test_the_vip_is_asked_for_as_clients_do(vip: str, port: int, host: str) -> None:
    assert host_of(ip_address(vip), port, 80) == host


def test_the_request() -> None:
    check = parse_check("https://:443/ready?full=1")
    target = Target(ip_address("10.0.0.1"), check, ip_address("2001:db8::10"), "dns/a")
    assert request_for(target).split(b"\r\n") == [
        b"GET /ready?full=1 HTTP/1.1",
        b"Host: [2001:db8::10]",
        b"User-Agent: anypod",
        b"Accept: */*",
        b"Connection: close",
        b"",
        b"",
    ]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"", None),
        (b"HT", None),
        (b"HTTP/1.1 200", None),
        (b"HTTP/1.1 200 OK\r\n", None),
        (b"HTTP/1.1 200 OK\r\nServer: x\r\n\r", None),
        (b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\r\n\r\nbody", 200),
        (b"HTTP/1.1 200\r\n\r\n", 200),
        (b"HTTP/1.0 503 Service Unavailable\n\n", 503),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n", 404),
        (b"HTTP/1.1 100 Continue\r\n\r\nx", "an answer that is not HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "an answer that is not HTTP"),
        (b"HTTP/1.1 600 OK\r\n\r\n", "an answer that is not HTTP"),
        (b"HTTP/2 200\r\n\r\n", "an answer that is not HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "an answer that is not HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "an answer that is not HTTP"),
        (b"HTTP/1.1 " + b"x" * LIMIT, "an answer that is not HTTP"),
    ],
)
def test_the_status_of_an_answer(answer: bytes, found: int | str | None) -> None:
    assert verdict(answer) == found


@given(st.binary(max_size=80) | st.binary(max_size=40).map(lambda tail: b"HTTP/1.1 200 " + tail))
def test_more_bytes_never_take_a_verdict_back(answer: bytes) -> None:
    verdicts = [verdict(answer[:end]) for end in range(len(answer) + 1)]
    decided = [one for one in verdicts if one is not None]
    assert verdicts[len(verdicts) - len(decided) :] == decided
    assert len(set(decided)) <= 1


@given(st.integers(200, 599), st.lists(st.integers(100, 199), max_size=4), st.binary(max_size=30))
def test_the_final_status_is_found_behind_interim_ones(status: int, interim: list[int], body: bytes) -> None:
    head = b"".join(b"HTTP/1.1 %d X\r\nA: b\r\n\r\n" % one for one in [*interim, status])
    assert status_in(head + body) == status
    assert all(status_in(head[:end]) is None for end in range(len(head) - 1))
