"""The end of a speaker that is to leave nothing: what it announced is withdrawn, its routes leave the kernel."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from speaker import log
from speaker.gobgp.session import DaemonLostError, DaemonRefusedError

if TYPE_CHECKING:
    from speaker.anycast.anycast import Anycast
    from speaker.daemon import Daemon
    from speaker.gobgp.session import Session
    from speaker.kernel.routes import Routes

# Seconds for the daemon to take it.
WITHDRAW = 5.0


async def take_back(session: Session | None, daemon: Daemon, anycast: Anycast, routes: Routes) -> None:
    """As far as it goes; what does not is told."""
    try:
        if session is None:
            raise DaemonLostError("there is no connection to gobgpd")
        async with asyncio.timeout(WITHDRAW):
            await daemon.withdraw_all(session)
    except TimeoutError:
        log.error("not withdrawn", reason=f"no answer within {WITHDRAW:.0f} s")
    except (DaemonLostError, DaemonRefusedError) as error:
        log.error("not withdrawn", reason=error)
    try:
        anycast.clear()
        routes.clear()
    except OSError as error:
        log.error("kernel routes not read or written", reason=error)
