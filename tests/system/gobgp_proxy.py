"""Between a speaker and its gobgpd of any version: passes calls on, and now and then the answers are wrong.

In front of it passes a relay the bytes on, and now and then ends a connection amid a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio

from tests.system.gobgp_mangle import mangled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from speaker.gobgp.session import Session

SEED = int(os.environ.get("ANYPOD_GOBGP_SEED", time.time_ns()))

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
# What a broken server may say instead of an answer.
# Bytes of answers after which the relay may cut a connection: within HTTP/2's first frames, or amid a message.
CUT_AFTER = (1, 600)
CODES = [
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAUTHENTICATED,
]


class Proxy(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # has no [] when it runs
    """`share` of the answers, from 0 to 1, are wrong; `wrongs` counts them."""

    def __init__(self, front: str, back: str, random: Random) -> None:
        self.share = 0.0
        self.wrongs = 0
        self._front = front
        self._back = grpc.aio.insecure_channel(
            back, options=[*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)]
        )
        self._random = random
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listens."""
        self._server = grpc.aio.server(options=UNLIMITED)
        self._server.add_generic_rpc_handlers((self,))
        self._server.add_insecure_port(self._front)
        await self._server.start()

    async def cut(self) -> None:
        """Ends every connection at once, and listens again."""
        if self._server is not None:
            await self._server.stop(None)
        await self.start()

    async def stop(self) -> None:
        """Lets go of both sides."""
        if self._server is not None:
            await self._server.stop(None)
        await self._back.close(None)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """All calls are streams here: on the wire there is no difference."""
        method = details.method

        async def passed(
            asked: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
        ) -> AsyncIterator[bytes]:
            if self._errs():
                await self._refuse(context)
            call = self._back.stream_stream(method, bytes, bytes)(asked)
            try:
                async for answer in call:
                    if not self._errs():
                        yield answer
                        continue
                    match self._random.randrange(6):
                        case 0:
                            return  # as if that had been all
                        case 1:
                            await self._refuse(context)
                        case 2:
                            await asyncio.sleep(self._random.random())
                            yield answer
                        case _:
                            yield mangled(answer, self._random)
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            finally:
                call.cancel()

        return grpc.stream_stream_rpc_method_handler(passed)

    def _errs(self) -> bool:
        wrong = self._random.random() < self.share
        self.wrongs += wrong
        return wrong

    async def _refuse(self, context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
        await context.abort(
            self._random.choice(CODES), self._random.choice(["", "no", "bgp server hasn't started yet"])
        )


class Relay:
    """Passes bytes from a unix socket to another; connections made while `cutting` end after some of the answer."""

    def __init__(self, front: str, back: str, random: Random) -> None:
        self.cutting = False
        self.cuts = 0
        self._front, self._back = (address.removeprefix("unix://") for address in (front, back))
        self._random = random
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listens."""
        self._server = await asyncio.start_unix_server(self._serve, self._front)

    def stop(self) -> None:
        """Lets go of both sides."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, to_there = await asyncio.open_unix_connection(self._back)
        except OSError:
            writer.transport.abort()
            return
        limit = self._random.randint(*CUT_AFTER) if self.cutting else None
        self._open |= {writer, to_there}
        ways = [self._pass(reader, to_there, None), self._pass(there, writer, limit)]
        await asyncio.wait([asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
        for one in (writer, to_there):
            one.transport.abort()
        self._open -= {writer, to_there}

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None
    ) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if limit is not None and self.cutting and passed + len(data) > limit:
                    writer.write(data[: limit - passed])
                    await writer.drain()
                    self.cuts += 1
                    return
                passed += len(data)
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def relayed(directory: Path, back: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay in front of a proxy or a daemon, and where it listens."""
    front = f"unix://{directory}/relay.sock"
    relay = Relay(front, back, Random(SEED))  # noqa: S311
    await relay.start()
    try:
        yield relay, front
    finally:
        relay.stop()


@asynccontextmanager
async def proxied(directory: Path, back: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy in front of a daemon, and where it listens."""
    front = f"unix://{directory}/front.sock"
    proxy = Proxy(front, back, Random(SEED))  # noqa: S311
    await proxy.start()
    try:
        yield proxy, front
    finally:
        await proxy.stop()


async def seen(session: Session) -> object:
    """What a daemon holds, but for what changes by itself."""
    table = {found.prefix: (found.ours, found.learned) for found in await session.table()}
    peers = {status.peer.key: (status.peer, status.established) for status in await session.peers()}
    return table, peers, await session.dynamic_peers()
