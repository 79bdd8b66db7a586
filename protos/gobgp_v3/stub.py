"""The calls of `apipb.GobgpApi` that the speaker makes, typed.

Written by hand: the generator's own stub for asyncio carries no types, and would
need every call of the service in our .proto file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from google.protobuf.empty_pb2 import Empty

from protos.gobgp_v3 import gobgp_pb2 as api

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Iterable

    from google.protobuf.message import Message
    from grpc.aio import Channel

SERVICE = "/apipb.GobgpApi/"

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


def _encode(message: Message) -> bytes:
    return message.SerializeToString()


class GobgpStub:
    """One attribute for each call, named like the call."""

    def __init__(self, channel: Channel) -> None:
        def unary(name: str, answer: type[Message]) -> object:
            return channel.unary_unary(SERVICE + name, _encode, answer.FromString)

        def listing(name: str, answer: type[Message]) -> object:
            return channel.unary_stream(SERVICE + name, _encode, answer.FromString)

        self.get_bgp = cast(
            "Unary[api.GetBgpRequest, api.GetBgpResponse]", unary("GetBgp", api.GetBgpResponse)
        )
        self.start_bgp = cast("Unary[api.StartBgpRequest, Empty]", unary("StartBgp", Empty))
        self.add_peer = cast("Unary[api.AddPeerRequest, Empty]", unary("AddPeer", Empty))
        self.delete_peer = cast("Unary[api.DeletePeerRequest, Empty]", unary("DeletePeer", Empty))
        self.reset_peer = cast("Unary[api.ResetPeerRequest, Empty]", unary("ResetPeer", Empty))
        self.add_policy = cast("Unary[api.AddPolicyRequest, Empty]", unary("AddPolicy", Empty))
        self.set_policy_assignment = cast(
            "Unary[api.SetPolicyAssignmentRequest, Empty]", unary("SetPolicyAssignment", Empty)
        )
        self.list_policy_assignment = cast(
            "Listing[api.ListPolicyAssignmentRequest, api.ListPolicyAssignmentResponse]",
            listing("ListPolicyAssignment", api.ListPolicyAssignmentResponse),
        )
        self.list_peer = cast(
            "Listing[api.ListPeerRequest, api.ListPeerResponse]", listing("ListPeer", api.ListPeerResponse)
        )
        self.list_path = cast(
            "Listing[api.ListPathRequest, api.ListPathResponse]", listing("ListPath", api.ListPathResponse)
        )
        self.watch_event = cast(
            "Listing[api.WatchEventRequest, api.WatchEventResponse]",
            listing("WatchEvent", api.WatchEventResponse),
        )
        self.add_path_stream = cast(
            "Sending[api.AddPathStreamRequest, Empty]",
            channel.stream_unary(SERVICE + "AddPathStream", _encode, Empty.FromString),
        )
