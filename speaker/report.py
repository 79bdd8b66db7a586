"""What the speaker tells the plugin's STATUS: how many sessions stand, and whether their routes are in the kernel."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cni.speakerfile import FILE, WHOLE_FILE
from speaker import log
from speaker.place import make_place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.bgp import Peer, PeerStatus


@dataclass(frozen=True, slots=True)
class Standing:
    """Configured peers, those with a session, and whether what was learned from them is installed."""

    peers: int
    established: int
    routes: bool


def standing(wanted: Iterable[Peer], found: Iterable[PeerStatus], routes: bool) -> Standing:
    """Counts the configured peers, and of dynamic neighbours those that are there."""
    keys = {peer.key for peer in wanted}
    up = 0
    dynamic = 0
    for status in found:
        dynamic += bool(status.group)
        up += status.established and (bool(status.group) or status.peer.key in keys)
    return Standing(len(keys) + dynamic, up, routes)


class Report:
    """Keeps `<state.dir>/speaker/speaker.json` true. The lock on it says that its writer lives, and ends with it."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir
        self._path = Path(state_dir) / FILE
        self._told: Standing | None = None
        self._fd = -1
        self._trouble = ""

    def tell(self, standing: Standing) -> bool:
        """Writes what changed; False if that failed. A directory that can't be written is complained of once."""
        if standing == self._told and self._is_there():
            return True
        try:
            self._write(standing)
        except OSError as error:
            self._fail(str(error))
            return False
        self._told = standing
        if self._trouble:
            log.info("report written again", path=self._path)
        self._trouble = ""
        return True

    def _is_there(self) -> bool:
        """Whether the file is still the one that was written: somebody may have emptied the directory."""
        try:
            return self._fd >= 0 and os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        except OSError:
            return False

    def _write(self, standing: Standing) -> None:
        make_place(self._state_dir)
        new = self._path.with_name(f".{self._path.name}.new")
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Before it has its name: whoever sees the file sees the lock.
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, WHOLE_FILE)
            os.write(fd, json.dumps({**asdict(standing), "pid": os.getpid()}).encode() + b"\n")
            new.rename(self._path)
        except OSError:
            os.close(fd)
            raise
        self._close()
        self._fd = fd

    def _fail(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("report not written", path=self._path, reason=trouble)
        self._trouble = trouble
        # What stands there is not true any more: without its lock nobody believes it.
        self._told = None
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def withdraw(self) -> None:
        """Takes the file away, if it is still ours: a speaker that came since has one of its own."""
        if self._is_there():
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._told = None
        self._close()
