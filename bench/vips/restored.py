"""gobgpd is killed and started again: until it has all VIPs, from the first call that it answers."""

from __future__ import annotations

import asyncio
import signal
import time
from ipaddress import ip_network
from typing import TYPE_CHECKING

from bench.vips.crowd import VIPS
from lab.errors import LabError
from speaker.gobgp.connect import connect
from speaker.gobgp.session import DaemonLostError
from speaker.settings import Api

if TYPE_CHECKING:
    from bench.vips.crowd import Crowd
    from speaker.bgp import Prefix
    from speaker.gobgp.session import Session

SECONDS = 60.0
LOOK = 0.002


async def _restored(api: str, vips: int) -> float:
    """Seconds from the first answer until all paths are in the table."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                session = await connect(Api(api))
                break
            except DaemonLostError:
                await asyncio.sleep(LOOK)
        answered = time.monotonic()
        # Looked at by one prefix, which costs gobgpd next to nothing: the last one that comes. That nothing is missing
        # by then is seen by counting.
        last = ip_network(VIPS + vips - 1)
        try:
            while not await _has(session, last):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(LOOK)
            there = time.monotonic()
            found = await session.table()
        finally:
            await session.close()
    count = sum(entry.ours is not None and entry.prefix.prefixlen == 32 for entry in found)
    if count != vips:
        raise LabError(f"{count} of {vips} VIPs were there when the last one was")
    return there - answered


async def _has(session: Session, prefix: Prefix) -> bool:
    try:
        return bool(await session.table([prefix]))
    except DaemonLostError:  # not started yet
        return False


def restored(stage: Crowd, rounds: int) -> list[float]:
    """Seconds, of each round."""
    found = []
    for _ in range(rounds):
        time.sleep(1.0)
        stage.gobgpd.signal(signal.SIGKILL)
        time.sleep(1.0)
        stage.gobgpd.start()
        found.append(asyncio.run(_restored(f"unix://{stage.api}", stage.vips)))
        time.sleep(1.0)
    return found
