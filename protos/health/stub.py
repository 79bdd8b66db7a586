"""The call of `grpc.health.v1.Health` that the speaker makes, typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos.calls import Calls
from protos.health import health_pb2 as api

if TYPE_CHECKING:
    from grpc.aio import Channel


class HealthStub:
    """One attribute for each call, named like the call."""

    def __init__(self, channel: Channel) -> None:
        calls = Calls(channel, "grpc.health.v1.Health")
        self.check = calls.unary("Check", api.HealthCheckRequest, api.HealthCheckResponse)
