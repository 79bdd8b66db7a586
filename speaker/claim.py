"""One speaker for one gobgpd: two would each withdraw what the other announces, without an end."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from cni.speakerfile import WHOLE_FILE
from speaker.place import make_place

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIX = "unix:"
LOCK = "lock"


class TakenError(Exception):
    """Another speaker has it."""


@contextlib.contextmanager
def claim(api: str, state_dir: str) -> Iterator[None]:
    """Holds gobgpd and the state directory as long as the process lives; TakenError where another does.

    The locks are on files, so that they count between containers that share those. A gobgpd behind TCP is
    claimed by a name in the network namespace's abstract socket space.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # a directory that can't be written is told elsewhere
            _lock(make_place(state_dir) / LOCK, held)
        if not api.startswith(UNIX) or not _lock_beside(api, held):
            _take_name(api, held)
        yield


def _lock_beside(api: str, held: contextlib.ExitStack) -> bool:
    """Beside gobgpd's socket; False where nothing can be written there, or it is not there yet."""
    path = os.path.realpath("/" + api.removeprefix(UNIX).lstrip("/"))
    try:
        _lock(Path(f"{path}.{LOCK}"), held)
    except OSError:
        return False
    return True


def _lock(path: Path, held: contextlib.ExitStack) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    held.callback(os.close, descriptor)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, WHOLE_FILE)
    except BlockingIOError:
        raise TakenError from None


def _take_name(api: str, held: contextlib.ExitStack) -> None:
    name = hashlib.blake2b(api.encode(), digest_size=16).hexdigest()
    taken = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC))
    try:
        taken.bind(f"\0anypod-speaker-{name}")
    except OSError:
        raise TakenError from None
