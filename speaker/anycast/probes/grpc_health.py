"""The gRPC health checking protocol, without TLS: does the service say SERVING."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from protos.health import health_pb2 as api
from protos.health.stub import HealthStub
from speaker.anycast.probes.errors import ProbeFailedError, shortened
from speaker.anycast.probes.http import host_of
from speaker.anycast.probes.relay import relayed

if TYPE_CHECKING:
    from speaker.anycast.health import Target

_OPTIONS = (
    ("grpc.max_receive_message_length", 4096),
    ("grpc.max_metadata_size", 4096),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    # Else a connection that failed is shared with the next probe, which then fails without trying.
    ("grpc.use_local_subchannel_pool", 1),
)


async def ask_grpc(target: Target) -> None:
    """Asks once. ProbeFailedError where it does not serve."""
    check = target.check
    options = (*_OPTIONS, ("grpc.default_authority", host_of(target.vip, check.port, 0)))
    async with (
        relayed(target.address, check.port) as place,
        grpc.aio.insecure_channel(place, options=options) as channel,
    ):
        try:
            # The deadline is the caller's, who cancels; grpc's own comes soon after.
            answer = await HealthStub(channel).check(
                api.HealthCheckRequest(service=check.path), timeout=check.timeout + 1
            )
        except grpc.aio.AioRpcError as error:
            raise ProbeFailedError(_in_words(error)) from None
        except (DecodeError, grpc.aio.BaseError):
            raise ProbeFailedError("an answer that is not of the gRPC health protocol") from None
    if answer.status != api.HealthCheckResponse.SERVING:
        raise ProbeFailedError(f"gRPC health {_name(answer.status)}")


def _name(status: int) -> str:
    values = api.HealthCheckResponse.ServingStatus
    return values.Name(status) if status in values.values() else str(status)


def _in_words(error: grpc.aio.AioRpcError) -> str:
    details = error.details() or ""
    if error.code() == grpc.StatusCode.UNAVAILABLE:
        return "no gRPC server answers"
    return shortened(f"gRPC {error.code().name}: {details}" if details else f"gRPC {error.code().name}")
