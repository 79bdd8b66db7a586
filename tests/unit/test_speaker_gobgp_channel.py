"""What goes wrong in a call comes out as one of two errors; and values that both versions share."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from google.protobuf.message import DecodeError
from grpc.aio import AioRpcError, Metadata

from speaker.gobgp import streams, values
from speaker.gobgp.channel import Connection, OtherVersionError, batches, translated
from speaker.gobgp.session import DaemonLostError, DaemonRefusedError
from speaker.settings import Api
from tests.system.gobgp_mangle import built, parsed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

Code = grpc.StatusCode


def outcome(error: BaseException) -> Exception:
    """What a call that fails so is for the speaker."""

    async def run() -> None:
        async with translated():
            raise error

    with pytest.raises(Exception) as caught:  # noqa: PT011
        asyncio.run(run())
    return caught.value


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (Code.UNKNOWN, "can't overwrite the existing peer: 10.0.0.1", DaemonRefusedError),
        (Code.UNKNOWN, "bgp server hasn't started yet", DaemonLostError),
        (Code.INVALID_ARGUMENT, "unknown direction", DaemonRefusedError),
        (Code.UNAUTHENTICATED, "who?", DaemonRefusedError),
        (Code.UNAVAILABLE, "connection refused", DaemonLostError),
        (Code.DEADLINE_EXCEEDED, "", DaemonLostError),
        (Code.RESOURCE_EXHAUSTED, "larger than max", DaemonLostError),
        (Code.INTERNAL, "RST_STREAM", DaemonLostError),
        (Code.UNIMPLEMENTED, "unknown service api.GoBgpService", OtherVersionError),
        (Code.UNIMPLEMENTED, "unknown method X for service apipb.GobgpApi", DaemonRefusedError),
    ],
)
def test_the_daemons_errors_are_losses_or_refusals(code: Code, text: str, expected: type[Exception]) -> None:
    found = outcome(AioRpcError(code, Metadata(), Metadata(), text, ""))
    assert type(found) is expected
    assert str(found) == (text or code.name)


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (
            "FAILED_PRECONDITION: unix:/run/x: connect failed: addr: unix:/run/x error: No such file or directory",
            "No such file or directory",
        ),
        (
            "UNKNOWN: ipv4:127.0.0.1:50051: Failed to connect to remote host: Connection refused",
            "Connection refused",
        ),
    ],
)
def test_of_a_connection_that_fails_the_reason_is_told(last: str, reason: str) -> None:
    text = f"failed to connect to all addresses; last error: {last}"
    found = outcome(AioRpcError(Code.UNAVAILABLE, Metadata(), Metadata(), text, ""))
    assert str(found) == reason


@pytest.mark.parametrize(
    "error",
    [
        DecodeError("no message"),
        ValueError("'x' is no address"),
        TimeoutError(),
        grpc.aio.UsageError("closed"),
    ],
)
def test_an_answer_that_is_none_is_a_loss(error: Exception) -> None:
    assert type(outcome(error)) is DaemonLostError


def test_a_call_that_is_cancelled_is_a_loss_and_a_task_that_is_cancelled_ends() -> None:
    assert type(outcome(asyncio.CancelledError())) is DaemonLostError

    async def run() -> bool:
        async def wait() -> None:
            async with translated():
                await asyncio.sleep(60)

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(run())


def test_the_first_answer_has_to_come_in_time_and_the_others_may_take_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "CALL_TIMEOUT", 0.1)

    async def answers(first: float, second: float) -> AsyncGenerator[list[int], None]:
        await asyncio.sleep(first)
        yield [1]
        await asyncio.sleep(second)
        yield [2]

    async def read(first: float, second: float) -> list[int]:
        found: list[int] = []
        async with translated():
            found += [one async for bunch in streams._punctual(answers(first, second)) for one in bunch]
        return found

    assert asyncio.run(read(0, 0.2)) == [1, 2]
    with pytest.raises(DaemonLostError, match="in time"):
        asyncio.run(read(5, 0))


def test_a_stream_without_an_answer_is_empty() -> None:
    async def nothing() -> AsyncGenerator[list[int], None]:
        bunches: list[list[int]] = []
        for bunch in bunches:
            yield bunch

    async def read() -> list[list[int]]:
        return [bunch async for bunch in streams._punctual(nothing())]

    assert asyncio.run(read()) == []


def test_a_file_for_tls_that_cannot_be_read_is_named_with_its_key(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    good = str(tmp_path / "ca.pem")
    for key, api in (
        ("ca", Api("127.0.0.1:1", ca="/nowhere/ca.pem")),
        ("certificate", Api("127.0.0.1:1", good, certificate="/nowhere/speaker.pem")),
        ("key", Api("127.0.0.1:1", good, key="/nowhere/speaker.key")),
    ):
        with pytest.raises(
            DaemonRefusedError, match=rf"^gobgpd\.{key}: /nowhere/\S+ can't be read: No such file"
        ):
            Connection(api)


def test_paths_go_in_batches() -> None:
    pieces = list(batches(range(2201)))
    assert [len(piece) for piece in pieces] == [1000, 1000, 201]
    assert [number for piece in pieces for number in piece] == list(range(2201))
    assert list(batches([])) == []


# ---- values


def test_texts_that_are_no_addresses_are_none() -> None:
    for text in ("", "<nil>", "invalid IP", "256.0.0.1"):
        assert values.address_of(text) is None
        assert values.specified(text) is None
    assert values.specified("0.0.0.0") is values.specified("::") is None
    assert values.specified("::ffff:10.0.0.1") == ip_address("10.0.0.1")


def test_a_set_counts_as_one_as_and_a_confederation_as_none() -> None:
    assert values.as_path_length([(values.AS_SEQUENCE, 3), (values.AS_SET, 5), (3, 7), (4, 9)]) == 4


# ---- what the fuzz tests stand on


def test_a_message_is_taken_apart_and_put_together() -> None:
    message = built([(1, 0, 1 << 40), (2, 2, b"abc"), (3, 5, b"1234"), (4, 1, b"12345678")])
    fields = parsed(message)
    assert fields is not None
    assert len(fields) == 4
    assert built(fields) == message
    assert all(parsed(message[:length]) is None for length in (1, 4, len(message) - 1))
