"""What both versions of gobgpd tell in many answers: its table, and what changes in it.

They are read as bare HTTP/2 where that can be; by grpc with TLS, and where something went wrong, for the reason.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from speaker.gobgp.channel import CALL_TIMEOUT, MESSAGE, TABLE_TIMEOUT, timeout_for, translated
from speaker.gobgp.http2 import Call, UnclearError
from speaker.gobgp.session import DaemonLostError, Event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from google.protobuf.message import Message

    from speaker.bgp import Destination, LocalPath, Prefix
    from speaker.gobgp.channel import Connection

T = TypeVar("T")

# Prefixes that are asked for at a time: so many fit what a server takes at once, of 64 KiB.
ASKED = {4: 2500, 6: 1000}
# And so many questions at a time: while one is answered, gobgpd can make the answer to the next.
AT_A_TIME = 2
# Seconds for what is on this machine, or a network away.
CONNECT_TIMEOUT = 5.0


class Streams:
    """Calls of one service, which is named as on the wire, that are answered by many messages."""

    def __init__(self, connection: Connection, service: str) -> None:
        self._connection = connection
        self._path = f"/{service}/"

    async def whole(self, name: str, request: Message, read: Callable[[bytes], T], seconds: float) -> list[T]:
        """What `read` makes of each answer, once all are there."""
        try:
            return await self._whole(self._bare(name, request, read), seconds)
        except UnclearError:
            self._connection.check()
            return await self._whole(self._grpc(name, request, read), seconds)

    async def _whole(self, bunches: AsyncIterator[list[T]], seconds: float) -> list[T]:
        found: list[T] = []
        async with asyncio.timeout(seconds):
            async for bunch in bunches:
                found += bunch
        return found

    async def follow(self, name: str, request: Message, read: Callable[[bytes], T]) -> AsyncIterator[list[T]]:
        """What `read` makes of each answer, in bunches as they come; TimeoutError if the first one does not."""
        begun = False
        try:
            async with aclosing(_punctual(self._bare(name, request, read))) as bunches:
                async for bunch in bunches:
                    begun = True
                    yield bunch
        except UnclearError as error:
            self._connection.check()
            if begun:
                raise DaemonLostError(str(error)) from None
        else:
            return
        async for bunch in _punctual(self._grpc(name, request, read)):
            yield bunch

    async def _bare(
        self, name: str, request: Message, read: Callable[[bytes], T]
    ) -> AsyncGenerator[list[T], None]:
        self._connection.check()
        call = Call(self._path + name, request.SerializeToString(), read, MESSAGE)
        self._connection.beside.add(call)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._connect(call)
            self._connection.check()
            async for bunch in call.bunches():
                yield bunch
        except OSError as error:
            raise UnclearError(str(error)) from None
        finally:
            self._connection.beside.discard(call)
            call.close()

    async def _connect(self, call: Call[T]) -> None:
        loop, api = asyncio.get_running_loop(), self._connection.api
        if api.ca:
            raise UnclearError("TLS")
        scheme, _, rest = api.target.partition(":")
        if scheme == "unix":
            path = rest.removeprefix("//")
            await loop.create_unix_connection(lambda: call, path)
            return
        host, _, port = api.target.rpartition(":")
        if not port.isdecimal() or "/" in host:
            raise UnclearError("an address of another kind")
        await loop.create_connection(lambda: call, host.strip("[]"), int(port))

    async def _grpc(
        self, name: str, request: Message, read: Callable[[bytes], T]
    ) -> AsyncGenerator[list[T], None]:
        call = self._connection.calls.unary_stream(self._path + name, _encoded, _raw)(request)
        try:
            async for data in call:
                yield [read(data)]
        finally:
            call.cancel()


def _encoded(request: Message) -> bytes:
    return request.SerializeToString()


def _raw(data: bytes) -> bytes:
    return data


async def _punctual(bunches: AsyncGenerator[list[T], None]) -> AsyncGenerator[list[T], None]:
    try:
        async with asyncio.timeout(CALL_TIMEOUT):
            first = await anext(bunches, None)
        if first is not None:
            yield first
            async for bunch in bunches:
                yield bunch
    finally:
        await bunches.aclose()


class Hint(NamedTuple):
    """What one event names."""

    prefixes: Sequence[Prefix] = ()
    ours: Sequence[LocalPath] = ()
    peers: bool = False


async def listed(
    streams: Streams,
    listing: Callable[[Sequence[Prefix]], Message],
    read: Callable[[bytes], Destination | None],
    prefixes: Sequence[Prefix],
) -> list[Destination]:
    """The destinations of these prefixes, of all if there are none; `listing` makes the request."""
    asked = ASKED[prefixes[0].version] if prefixes else 1
    slots = asyncio.Semaphore(AT_A_TIME)

    async def ask(some: Sequence[Prefix]) -> list[Destination | None]:
        # A few prefixes are answered at once, and while this waits nothing else is done.
        async with slots, translated():
            return await streams.whole(
                "ListPath", listing(some), read, timeout_for(len(some)) if some else TABLE_TIMEOUT
            )

    pieces = [prefixes[start : start + asked] for start in range(0, len(prefixes) or 1, asked)]
    calls = [asyncio.ensure_future(ask(some)) for some in pieces]
    try:
        answers = await asyncio.gather(*calls)
    finally:
        for call in calls:
            call.cancel()
    return [destination for answer in answers for destination in answer if destination is not None]


async def events(
    streams: Streams, request: Message, read: Callable[[bytes], Hint | None]
) -> AsyncIterator[Event]:
    """The daemon's events from now on, those that come together as one."""
    subscribed = False
    async with translated():
        async for bunch in streams.follow("WatchEvent", request, read):
            if not subscribed:  # whatever the first answer says: the daemon tells changes from now on
                subscribed = True
                yield Event(subscribed=True)
            hints = [hint for hint in bunch if hint is not None]
            if hints:
                named = frozenset(chain.from_iterable(hint.prefixes for hint in hints))
                yield Event(named, _ours(hints), any(hint.peers for hint in hints))
    raise DaemonLostError("it closed the connection")


def _ours(hints: Sequence[Hint]) -> tuple[LocalPath, ...]:
    """The paths that are all that was told of their prefixes."""
    ours = {path.prefix: path for hint in hints for path in hint.ours}
    if ours:
        for hint in hints:
            mine = {path.prefix for path in hint.ours}
            for prefix in hint.prefixes:
                if prefix not in mine:
                    ours.pop(prefix, None)
    return tuple(ours.values())
