"""Sessions that do not come up because the passwords (TCP MD5, RFC 2385) differ: the kernel counts and drops them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from speaker import log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.bgp import Peer, PeerStatus
    from speaker.reconcile import Speaker

# Seconds: between two looks, and for which a peer may be down without a word of passwords.
LOOK = 5.0
PATIENCE = 15.0
NETSTAT = Path("/proc/net/netstat")
# What counts the dropped segments where a password is configured, and where none is.
_SIGNED = {
    "TCPMD5Failure": "segments came with a signature of another password",
    "TCPMD5NotFound": "segments came without a signature",
}
_UNSIGNED = "TCPMD5Unexpected"


def counters(text: str) -> dict[str, int]:
    """The TcpExt counters of /proc/net/netstat: a line of names and one of values."""
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith("TcpExt:")]
    if len(lines) < 2:
        return {}
    return {name: int(value) for name, value in zip(lines[0], lines[1], strict=False)}


class Md5Watch:
    """Tells once of each peer that stays down while the kernel drops segments for their signature."""

    def __init__(self, netstat: Path = NETSTAT) -> None:
        self._netstat = netstat
        self._last = self._read()
        self._grown_at: dict[str, float] = {}
        self._down_since: dict[str, float] = {}
        self.suspects: set[str] = set()
        self.reasons: dict[str, str] = {}

    async def run(self, speaker: Speaker) -> None:
        """Looks every now and then, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            if speaker.in_step:
                now = asyncio.get_running_loop().time()
                self.look(speaker.config.peers, speaker.daemon.peers, now)

    def look(self, wanted: Iterable[Peer], found: Iterable[PeerStatus], now: float) -> None:
        """Compares the counters with those of the last look; `now` in seconds.

        The kernel does not say whose segments it dropped: all that are down for longer may be meant.
        """
        before, self._last = self._last, self._read()
        self._grown_at |= {name: now for name, value in self._last.items() if value > before.get(name, value)}
        up = {status.peer.key for status in found if status.established}
        down = {peer.key: peer for peer in wanted if peer.key not in up}
        self._down_since = {key: self._down_since.get(key, now) for key in down}
        suspects = {key: self._reason(peer) for key, peer in down.items() if self._is_suspect(peer, now)}
        self.suspects &= down.keys()
        for key in sorted(suspects.keys() - self.suspects):
            log.warning(
                "peer's password may differ" if len(suspects) > 1 else "peer's password differs",
                peer=key,
                reason=f"TCP MD5: {suspects[key]}",
                fix="set the same password on both sides (peer.password-file), or none on either",
            )
        self.suspects |= suspects.keys()
        self.reasons = {key: why for key, why in {**self.reasons, **suspects}.items() if key in self.suspects}

    def _is_suspect(self, peer: Peer, now: float) -> bool:
        since = self._down_since[peer.key]
        return now - since >= PATIENCE and any(
            self._grown_at.get(name, since) > since for name in _counted(peer)
        )

    def _reason(self, peer: Peer) -> str:
        if not peer.options.password:
            return "segments came with a signature, and no password is configured here"
        latest = max(_SIGNED, key=lambda name: self._grown_at.get(name, 0.0))
        return _SIGNED[latest]

    def _read(self) -> dict[str, int]:
        try:
            return counters(self._netstat.read_text("ascii"))
        except (OSError, ValueError):
            return {}


def _counted(peer: Peer) -> Iterable[str]:
    return _SIGNED if peer.options.password else (_UNSIGNED,)
