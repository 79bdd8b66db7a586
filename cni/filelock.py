"""An advisory lock between the plugin's processes, with a deadline."""

from __future__ import annotations

import posix
import time
from fcntl import LOCK_EX, LOCK_NB, flock

from cni.errors import TRY_AGAIN_LATER, CniError


class FileLock:
    """Held while the `with` block runs; CniError 11 when another process holds it past `seconds`.

    The kernel drops it when its holder dies, however that happens.
    """

    def __init__(self, path: str, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._fd = -1

    def __enter__(self) -> None:
        self._fd = posix.open(
            self._path, posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW, 0o600
        )
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                flock(self._fd, LOCK_EX | LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    posix.close(self._fd)
                    raise CniError(
                        TRY_AGAIN_LATER,
                        f"{self._path} was held by another call for {self._seconds:.0f} s; try again later",
                    ) from None
                time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        posix.close(self._fd)
