"""What the speaker shows of itself: one JSON document for each connection to its socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from itertools import islice
from typing import TYPE_CHECKING

from speaker import log
from speaker.answers import answer, heard, is_list
from speaker.anycast import show
from speaker.ask import FILE
from speaker.peers import name_of
from speaker.place import make_place, place
from speaker.serve import BACKLOG, LIMIT, Doorman

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from speaker.bgp import LocalPath, PeerStatus
    from speaker.kernel.routes import Routes
    from speaker.reconcile import Speaker
    from speaker.reload import Reload


# Seconds: for the newest state of the peers, and between two looks at the socket's file.
FRESH = 2.0
LOOK = 2.0
# Of longer lists the first are shown, and how many there are.
LISTED = 100


def document(
    speaker: Speaker, reload: Reload, passwords: Mapping[str, str] | None = None
) -> dict[str, object]:
    """Everything, in values that JSON has. docs/speaker.md names the fields.

    `passwords`: which peers' may differ from ours, and why it looks so.
    """
    config, routes, table = speaker.config, speaker.routes, speaker.daemon.table
    wanted = speaker.wanted()
    # gobgpd keeps the description that a peer was added with.
    words = {
        **{peer.key: peer.description for peer in config.peers},
        **{group.name: group.description for group in config.dynamic},
    }
    return {
        "asn": config.bgp.asn,
        "router_id": config.bgp.router_id,
        "gobgpd": {
            "api": config.api.target,
            "connected": speaker.connected,
            "in_step": speaker.in_step,
            "trouble": speaker.trouble,
            "lost": speaker.losses,
        },
        "configuration": {
            "loaded": round(reload.loaded_at, 3),
            "refused": reload.refused,
            "waiting": reload.waiting,
        },
        "peers": [
            _peer(status, speaker.daemon.flaps, words, passwords or {}) for status in speaker.daemon.peers
        ],
        "missing_peers": _missing(speaker),
        "announced": len(wanted),
        "paths": [_path(path) for path in islice(wanted, LISTED)],
        "learned": sum(1 for entry in table.values() if entry.learned),
        "routes": {
            "in_step": routes.in_step,
            "installed": installed(routes),
            "beyond_maximum": routes.beyond_maximum,
            "stale": len(routes.stale.routes),
            "refused": len(routes.refused),
            "refusals": {str(prefix): why for (prefix, _), why in islice(routes.refused.items(), LISTED)},
            "unreachable": len(routes.unresolved),
            "next_hops": {str(hop): count for hop, count in islice(routes.unresolved.items(), LISTED)},
        },
        "virtual_ips": len(speaker.anycast.verdicts),
        "vips": show.vips(speaker.anycast, table),
        "drains": show.drains(speaker.anycast, table, speaker.connected and speaker.in_step),
    }


def installed(routes: Routes) -> int:
    """How many learned routes are in the kernel."""
    return len(routes.wanted.keys() - routes.refused.keys())


def _peer(
    status: PeerStatus, flaps: Mapping[str, int], words: Mapping[str, str], passwords: Mapping[str, str]
) -> dict[str, object]:
    options = status.peer.options
    name = status.group or status.peer.key
    return {
        "peer": name,
        "address": status.address,
        "asn": options.asn,
        "description": words.get(name, status.peer.description),
        "dynamic": bool(status.group),
        "state": status.state,
        "uptime": int(status.uptime),
        "flaps": flaps.get(name_of(status), 0),
        "reason": status.reason,
        "password": passwords.get(status.peer.key, ""),
        "router_id": status.router_id,
        "received": status.received,
        "accepted": status.accepted,
        "advertised": status.advertised,
        "graceful_restart": status.graceful,
        "end_of_rib": sorted(family.name.lower() for family in status.end_of_rib),
    }


def _missing(speaker: Speaker) -> dict[str, str]:
    """Configured peers that gobgpd does not have, and its reason where it gave one."""
    present = {status.peer.key for status in speaker.daemon.peers}
    wanted = {peer.key for peer in speaker.config.peers} - present
    return {key: speaker.daemon.refused.get(key, "") for key in sorted(wanted)}


def _path(path: LocalPath) -> dict[str, object]:
    hop = "" if path.next_hop.is_unspecified else str(path.next_hop)
    return {"prefix": str(path.prefix), "next_hop": hop}


class StatusSocket:
    """`<state.dir>/speaker/speaker.sock`: who connects gets the document, or what was asked, and the stream's end."""

    def __init__(self, state_dir: str, speaker: Speaker, show: Callable[[], dict[str, object]]) -> None:
        self._state_dir = state_dir
        self._path = place(state_dir) / FILE
        self._speaker = speaker
        self._show = show
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._trouble = ""

    async def run(self) -> None:
        """Answers until it is cancelled, also after somebody took the socket's file away."""
        try:
            while True:
                if not self._is_there():
                    await self._listen()
                await asyncio.sleep(LOOK)
        finally:
            self._close()

    def _is_there(self) -> bool:
        try:
            return os.stat(self._path).st_ino == self._inode
        except OSError:
            return False

    async def _listen(self) -> None:
        new = self._path.with_name(f".{FILE}.new")
        try:
            make_place(self._state_dir)
            with contextlib.suppress(FileNotFoundError):
                new.unlink()
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            try:
                listener.bind(str(new))
                new.chmod(0o660)
            except OSError:
                listener.close()
                raise
            if self._server is not None:
                self._server.close()
            self._server = await asyncio.start_unix_server(
                Doorman(self._answer), sock=listener, limit=LIMIT, backlog=BACKLOG
            )
            self._inode = new.stat().st_ino
            # By renaming: a socket file that an earlier speaker left is replaced, and never without a listener.
            new.rename(self._path)
        except OSError as error:
            if str(error) != self._trouble:
                log.warning("no status socket", path=self._path, reason=error)
            self._trouble = str(error)
        else:
            self._trouble = ""

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        question = (await heard(reader)).strip()
        # Of long lists there are many parts, and none is about peers.
        late = not is_list(question) and not await self._speaker.look(FRESH)
        found = answer(self._speaker, question) if question else {**self._show(), "late": late}
        return json.dumps(found).encode() + b"\n"

    def _close(self) -> None:
        """Takes the file away, too, if it is still ours."""
        if self._server is not None:
            self._server.close()
        if self._is_there():
            with contextlib.suppress(OSError):
                self._path.unlink()
