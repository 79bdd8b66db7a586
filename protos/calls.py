"""gRPC calls with types, whatever the service.

Written by hand: the generator's own stub for asyncio carries no types, and would need every call of the
service in our .proto files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from google.protobuf.message import DecodeError, Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable

    from grpc.aio import Channel, UnaryStreamCall

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
Q_contra = TypeVar("Q_contra", contravariant=True)
A_co = TypeVar("A_co", covariant=True)


class Unary(Protocol[Q_contra, A_co]):
    """One request, one answer; the timeout is in seconds."""

    def __call__(self, request: Q_contra, *, timeout: float) -> Awaitable[A_co]: ...


class Listing(Protocol[Q_contra, A_co]):
    """One request, a stream of answers; without a timeout it lasts until either side ends it."""

    def __call__(self, request: Q_contra, *, timeout: float | None = None) -> AsyncIterable[A_co]: ...


class Sending(Protocol[Q_contra, A_co]):
    """A stream of requests, one answer."""

    def __call__(self, requests: Iterable[Q_contra], *, timeout: float) -> Awaitable[A_co]: ...


class Calls:
    """Makes the calls of one service, which is named as on the wire ("apipb.GobgpApi").

    Answers are decoded here: an answer that is none raises DecodeError, where grpc would log it and give None.
    """

    def __init__(self, channel: Channel, service: str) -> None:
        self._channel = channel
        self._path = f"/{service}/"

    def unary(self, name: str, request: type[Q], answer: type[A]) -> Unary[Q, A]:
        """A call that is answered once."""
        call = self._channel.unary_unary(self._path + name, request.SerializeToString, _raw)

        def made(request: Q, *, timeout: float) -> Awaitable[A]:
            return _one(call(request, timeout=timeout), answer)

        return made

    def listing(self, name: str, request: type[Q], answer: type[A]) -> Listing[Q, A]:
        """A call that is answered by a stream; who stops reading ends it."""
        call = self._channel.unary_stream(self._path + name, request.SerializeToString, _raw)

        def made(request: Q, *, timeout: float | None = None) -> AsyncIterator[A]:
            return _each(call(request, timeout=timeout), answer)

        return made

    def sending(self, name: str, request: type[Q], answer: type[A]) -> Sending[Q, A]:
        """A call that takes a stream."""
        call = self._channel.stream_unary(self._path + name, request.SerializeToString, _raw)

        def made(requests: Iterable[Q], *, timeout: float) -> Awaitable[A]:
            return _one(call(iter(requests), timeout=timeout), answer)

        return made


def _raw(data: bytes | None) -> bytes | None:
    return data


async def _one(call: Awaitable[bytes | None], answer: type[A]) -> A:
    data = await call
    if data is None:
        raise DecodeError("no message")
    return answer.FromString(data)


async def _each(call: UnaryStreamCall[Q, bytes | None], answer: type[A]) -> AsyncIterator[A]:
    try:
        async for data in call:
            if data is None:
                raise DecodeError("no message")
            yield answer.FromString(data)
    finally:
        call.cancel()
