"""What both versions of gobgpd's API share: the connection, its limits, and the daemon's errors as ours."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from speaker.gobgp.session import DaemonLostError, DaemonRefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from protos.calls import Listing, Unary
    from speaker.settings import Api

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

# Seconds. A call is answered in milliseconds; a listing of a full Internet table takes some seconds.
CALL_TIMEOUT = 10.0
TABLE_TIMEOUT = 120.0
# Paths in one message of AddPathStream: the daemon works them off under one lock.
BATCH = 1000
# Bytes, as gobgpd's own limit. The loss of a peer with a large table comes as one event; a larger one than
# this ends the subscription, and then everything is read again in small messages.
MESSAGE = 256 << 20
# Part of what a daemon says that runs and knows nothing.
NOT_STARTED = "hasn't started"

_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
_REFUSALS = {
    grpc.StatusCode.UNKNOWN,  # almost everything that gobgpd says
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
}


class OtherVersionError(DaemonLostError):
    """The daemon that answers now does not speak this version of the API."""


class Beside(Protocol):
    """A call that has a connection of its own."""

    def close(self) -> None:
        """Ends it."""


class Connection:
    """To the daemon at `api`, by grpc: `calls`. It connects at the first call. `beside`: calls by other connections."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.beside: set[Beside] = set()
        self.closed = False
        if api.ca:
            self.calls = grpc.aio.secure_channel(api.target, _credentials(api), options=_OPTIONS)
        else:
            self.calls = grpc.aio.insecure_channel(api.target, options=_OPTIONS)

    async def close(self) -> None:
        """Ends its calls."""
        self.closed = True
        for one in tuple(self.beside):
            one.close()
        await self.calls.close(None)

    def check(self) -> None:
        """DaemonLostError once it is closed."""
        if self.closed:
            raise DaemonLostError("the session is closed")


def _credentials(api: Api) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=_read("ca", api.ca),
        private_key=_read("key", api.key) if api.key else None,
        certificate_chain=_read("certificate", api.certificate) if api.certificate else None,
    )


def _read(key: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DaemonRefusedError(
            f"gobgpd.{key}: {path} can't be read: {error.strerror}; name a file that the speaker may read"
        ) from None


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Around every call: whatever goes wrong in it comes out as DaemonLostError or DaemonRefusedError."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise _as_ours(error) from None
    except (DecodeError, ValueError) as error:
        raise DaemonLostError(f"it answers what is no answer: {error}") from None
    except TimeoutError:
        raise DaemonLostError("it does not answer in time") from None
    except grpc.aio.BaseError as error:  # such as the use of a channel that was closed meanwhile
        raise DaemonLostError(str(error)) from None
    except asyncio.CancelledError:
        # Closing a channel cancels its calls, and not the tasks that wait for them.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise DaemonLostError("the connection was closed") from None


def _short(text: str) -> str:
    """Without what gRPC says around the one reason why there is no connection: whoever tells it names the address."""
    found = re.search(r"; last error: .*(?: error| to remote host): ([^:]+)$", text)
    return found[1] if found else text


def _as_ours(error: grpc.aio.AioRpcError) -> DaemonLostError | DaemonRefusedError:
    text = _short(error.details() or error.code().name)
    if error.code() == grpc.StatusCode.UNIMPLEMENTED and "unknown method" not in text:
        return OtherVersionError(text)
    # A daemon that was restarted between two calls answers, and knows nothing.
    if error.code() in _REFUSALS and NOT_STARTED not in text:
        return DaemonRefusedError(text)
    return DaemonLostError(text)


async def call(unary: Unary[Q, A], request: Q) -> A:
    """One request and its answer."""
    async with translated():
        return await unary(request, timeout=CALL_TIMEOUT)


async def collect(listing: Listing[Q, A], request: Q) -> list[A]:
    """One request and all of its answers."""
    async with translated():
        return [answer async for answer in listing(request, timeout=CALL_TIMEOUT)]


def timeout_for(count: int) -> float:
    """Seconds for so many paths: a daemon that hangs must be noticed before the hold timer runs out."""
    return CALL_TIMEOUT + count / 1000


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items in pieces of BATCH."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
