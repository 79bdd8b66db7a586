"""Metrics and page over HTTP: what is answered to whom, with which guards."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from speaker.history import History
from speaker.web import WebServer, is_local, is_loopback
from tests.unit.test_speaker_metrics import parts

if TYPE_CHECKING:
    from pathlib import Path


def ask(directory: Path, request: str, page: bool = True) -> tuple[str, dict[str, str], str]:
    """Status, header fields and body of an answer, over a real connection."""

    async def converse() -> bytes:
        speaker, reload, md5 = parts(directory)
        speaker.config = replace(speaker.config, page=page)
        speaker.look = _at_once  # type: ignore[method-assign, assignment]
        server = WebServer(speaker, reload, md5, History())
        await server.listen("127.0.0.1:0")
        assert server._server is not None
        try:
            reader, writer = await asyncio.open_connection(*server._server.sockets[0].getsockname())
            writer.write(request.encode())
            found = await reader.read()
            writer.close()
            return found
        finally:
            server.close()

    head, _, body = asyncio.run(converse()).decode().partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    return status.partition(" ")[2], dict(line.split(": ", 1) for line in lines), body


async def _at_once(_seconds: float) -> None:
    pass


def test_the_page_has_its_guards(tmp_path: Path) -> None:
    status, fields, body = ask(tmp_path, "GET / HTTP/1.1\r\nHost: localhost:9179\r\n\r\n")
    assert status == "200 OK"
    assert fields["Content-Type"] == "text/html; charset=utf-8"
    assert fields["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert fields["X-Content-Type-Options"] == "nosniff"
    assert fields["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in fields
    assert body.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("request_line", "page", "status"),
    [
        ("GET / HTTP/1.1\r\nHost: rebound.example", True, "403 Forbidden"),
        ("GET / HTTP/1.1\r\nhOsT:rebound.example", True, "403 Forbidden"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: rebound.example", True, "403 Forbidden"),
        ("GET / HTTP/1.1", False, "404 Not Found"),
        ("GET /metrics HTTP/1.1\r\nHost: prometheus.example", False, "200 OK"),
        ("GET /favicon.ico HTTP/1.1", True, "404 Not Found"),
        ("HEAD / HTTP/1.1", True, "405 Method Not Allowed"),
        ("POST / HTTP/1.1", True, "405 Method Not Allowed"),
    ],
)
def test_nothing_else_is_answered(tmp_path: Path, request_line: str, page: bool, status: str) -> None:
    assert ask(tmp_path, f"{request_line}\r\n\r\n", page)[0] == status


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1:9179", True),
        ("localhost:8080", True),
        ("[::1]:9179", True),
        ("[::1]", True),
        ("10.0.0.1", True),
        ("rebound.example:9179", False),
        ("127.0.0.1.example", False),
        ("", False),
        ("[evil", False),
    ],
)
def test_a_name_that_was_made_to_lead_here_is_known(host: str, local: bool) -> None:
    assert is_local(host) is local


@pytest.mark.parametrize(
    ("target", "loopback"),
    [
        ("127.0.0.1:9179", True),
        ("[::1]:9179", True),
        ("localhost:1", True),
        ("0.0.0.0:9179", False),
        ("", False),
    ],
)
def test_loopback_is_known(target: str, loopback: bool) -> None:
    assert is_loopback(target) is loopback
