"""Keeps a session with gobgpd: connects, listens, and starts anew whenever that ends."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from speaker.gobgp.session import DaemonLostError, DaemonRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from speaker.gobgp.session import Event, Session
    from speaker.settings import Api

    Connect = Callable[[Api], Awaitable[Session]]

# Seconds.
RECONNECT = 0.25


class Follower:
    """`session` is there while its subscription stands. `lost` hears why there is none."""

    def __init__(
        self, api: Api, connect: Connect, heard: Callable[[Event], None], lost: Callable[[str], None]
    ) -> None:
        self._api = api
        self._connect = connect
        self._heard = heard
        self._lost = lost
        self._subscription: asyncio.Timeout | None = None
        self.session: Session | None = None
        self._listens = asyncio.Event()
        self._listens.set()

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Hears nothing meanwhile: each path that is announced is told back, which costs more than to announce it.

        Afterwards it is known what was our own doing.
        """
        self._listens.clear()
        try:
            yield
        finally:
            self._listens.set()

    async def run(self) -> None:
        """Until it is cancelled. The end of a subscription is how a restart is noticed."""
        while True:
            try:
                async with asyncio.timeout(None) as self._subscription:
                    await self._subscribe()
            except (DaemonLostError, DaemonRefusedError) as error:
                self._lost(str(error))
            except TimeoutError:
                pass  # drop has been called by who noticed
            await asyncio.sleep(RECONNECT)

    async def _subscribe(self) -> None:
        session = await self._connect(self._api)
        try:
            async for event in session.watch():
                await self._listens.wait()
                if event.subscribed:
                    self.session = session
                self._heard(event)
        finally:
            self.session = None
            await session.close()

    def drop(self, session: Session) -> None:
        """A call of this session was not answered: its subscription is worth nothing either."""
        if self.session is session and self._subscription is not None:
            self.session = None
            self._subscription.reschedule(asyncio.get_running_loop().time())
