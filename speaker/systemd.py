"""What the speaker tells systemd: that it is ready, that it lives, and how long gobgpd may go on without it."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from speaker import log

if TYPE_CHECKING:
    from collections.abc import Callable

# Where the unit of the dead man's switch reads its seconds.
DEAD_MAN_FILE = "ANYPOD_DEAD_MAN_FILE"


def notify(state: str) -> None:
    """Tells systemd (sd_notify(3)), where it listens; a name that begins with @ is in the abstract space."""
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(state.encode(), "\0" + name[1:] if name.startswith("@") else name)
        except OSError as error:
            log.warning("systemd not notified", reason=error)


def watchdog_seconds() -> float | None:
    """How often systemd wants to hear from this process at the latest (sd_watchdog_enabled(3)); None: not at all."""
    text, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not text.isdecimal() or int(text) == 0 or process not in {"", str(os.getpid())}:
        return None
    return int(text) / 1e6


async def heartbeat(lives: Callable[[], bool]) -> None:
    """Tells systemd three times in its interval, as long as it is true."""
    seconds = watchdog_seconds()
    while seconds is not None:
        if lives():
            notify("WATCHDOG=1")
        await asyncio.sleep(seconds / 3)


def set_dead_man(seconds: int) -> None:
    """Writes down for how long gobgpd may go on without a speaker, where the unit asks for it."""
    name = os.environ.get(DEAD_MAN_FILE)
    if not name:
        return
    new = Path(f"{name}.new")
    try:
        new.write_text(f"{seconds}\n", "ascii")
        new.rename(name)
    except OSError as error:
        log.warning("dead man's switch not set", path=name, reason=error)
