"""Over HTTP, for people and for Prometheus: `/` is the status page, `/metrics` the metrics; there is nothing else."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest

from speaker import log
from speaker.metrics import Measures
from speaker.page.facts import facts
from speaker.page.render import render
from speaker.page.style import POLICY
from speaker.serve import BACKLOG, LIMIT, Doorman

if TYPE_CHECKING:
    from speaker.history import History
    from speaker.md5 import Md5Watch
    from speaker.reconcile import Speaker
    from speaker.reload import Reload

TEXT = "text/plain; charset=utf-8"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
HTML = "text/html; charset=utf-8"
# Seconds for the newest state of the peers.
LOOK = 2.0
# Of every answer: no other page may show it or read it, and nobody keeps it.
GUARDS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class WebServer:
    """Answers GET, one request for each connection."""

    def __init__(self, speaker: Speaker, reload: Reload, md5: Md5Watch, history: History) -> None:
        self._speaker = speaker
        self._reload = reload
        self._md5 = md5
        self._history = history
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Measures(speaker, reload, md5))
        self._server: asyncio.Server | None = None
        self._target = ""

    async def listen(self, target: str) -> None:
        """Moves to HOST:PORT, or nowhere if it is empty. An address that is taken is no end of the speaker."""
        if target == self._target and (self._server or not target):
            return
        self.close()
        self._target = target
        if not target:
            return
        host, _, port = target.rpartition(":")
        try:
            self._server = await asyncio.start_server(
                Doorman(self._answer), host.strip("[]"), int(port), limit=LIMIT, backlog=BACKLOG
            )
        except OSError as error:
            log.warning(
                "no metrics", address=target, reason=error, fix="set speaker.metrics to a free address"
            )

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return response("400 Bad Request", b"")
        words = head.split(b"\r\n", 1)[0].split()
        if len(words) < 2 or words[0] != b"GET":
            return response("405 Method Not Allowed", b"", Allow="GET")
        path = words[1].split(b"?", 1)[0]
        if path == b"/metrics":
            await self._speaker.look(LOOK)
            return response("200 OK", generate_latest(self._registry), METRICS)
        if path == b"/" and self._speaker.config.page:
            return await self._page(head)
        return response("404 Not Found", b"see /metrics\n")

    async def _page(self, head: bytes) -> bytes:
        if not self._meant(head):
            return response("403 Forbidden", b"ask for it by an IP address or as localhost\n")
        await self._speaker.look(LOOK)
        seen = facts(self._speaker, self._reload, self._md5.reasons, self._history)
        return response("200 OK", render(seen).encode("utf-8"), HTML, Content_Security_Policy=POLICY)

    def _meant(self, head: bytes) -> bool:
        """Whether the request is for us: a foreign site's name that was made to lead to loopback is not."""
        hosts = [
            line[5:].strip().decode("ascii", "replace")
            for line in head.split(b"\r\n")[1:]
            if line[:5].lower() == b"host:"
        ]
        return not is_loopback(self._target) or all(is_local(host) for host in hosts)

    def close(self) -> None:
        """Stops listening."""
        if self._server is not None:
            self._server.close()
        self._server = None


def is_loopback(target: str) -> bool:
    """Whether HOST:PORT is reached from this machine only."""
    host = target.rpartition(":")[0].strip("[]")
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def is_local(host: str) -> bool:
    """Whether a Host header names no site: an address, or localhost, whatever the port."""
    name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    return name.lower() == "localhost" or _is_address(name.strip("[]"))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def response(status: str, body: bytes, kind: str = TEXT, **more: str) -> bytes:
    """An HTTP answer that ends the connection."""
    fields = {
        "Content-Type": kind,
        "Content-Length": str(len(body)),
        "Connection": "close",
        **GUARDS,
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    head = f"HTTP/1.1 {status}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return head.encode("ascii") + b"\r\n" + body
