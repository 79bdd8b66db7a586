"""A fake gobgpd 4 on a socket: GoBGP 4's service around the state in gobgp_v4_fake.

python -m tests.system.gobgp_v4_servicer --api-hosts TARGET runs one as a process, in place of a real daemon.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio

from protos.gobgp_v4 import gobgp_pb2 as api
from protos.gobgp_v4.stub import SERVICE
from tests.system.gobgp_v4_fake import FakeDaemon, PanicError, RefusalError, invalid
from tests.system.gobgp_v4_fake_policies import FakePolicies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from google.protobuf.message import Message

Peers = api.WatchEventResponse.PeerEvent
Filter = api.WatchEventRequest.Table.Filter


class FakeGobgp4:
    """Serves one fake daemon; `daemon` is what a test looks at and changes."""

    def __init__(self, panic: Callable[[], None] | None = None) -> None:
        self.daemon = FakeDaemon()
        self.policies = FakePolicies(self.daemon)
        self.routers: dict[str, list[api.Path]] = {}  # who answers at an address, and what it tells
        self.panics: list[str] = []
        self._panic = panic or (lambda: None)
        self._watchers: set[asyncio.Queue[api.WatchEventResponse]] = set()
        self._server: grpc.aio.Server | None = None

    async def serve(self, target: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listens until `stop`; gives the TCP port."""
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, self._handlers()),)
        )
        add = self._server.add_insecure_port
        port = add(target) if credentials is None else self._server.add_secure_port(target, credentials)
        await self._server.start()
        return port

    async def stop(self) -> None:
        """Cuts every connection."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def _handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        daemon, policies = self.daemon, self.policies
        one, many = self._one, self._many
        return {
            "GetBgp": one(api.GetBgpRequest, self._get_bgp),
            "StartBgp": one(api.StartBgpRequest, lambda asked: daemon.start(getattr(asked, "global"))),
            "AddPeer": one(api.AddPeerRequest, self._add_peer),
            "UpdatePeer": one(api.UpdatePeerRequest, lambda asked: daemon.update_peer(asked.peer)),
            "DeletePeer": one(api.DeletePeerRequest, self._delete_peer),
            "ListPeer": many(
                api.ListPeerRequest,
                lambda _: [api.ListPeerResponse(peer=peer) for peer in daemon.peers.values()],
            ),
            "ResetPeer": one(api.ResetPeerRequest, daemon.reset),
            "AddPeerGroup": one(api.AddPeerGroupRequest, lambda asked: daemon.add_group(asked.peer_group)),
            "DeletePeerGroup": one(api.DeletePeerGroupRequest, lambda asked: daemon.delete_group(asked.name)),
            "ListPeerGroup": many(
                api.ListPeerGroupRequest,
                lambda _: [api.ListPeerGroupResponse(peer_group=group) for group in daemon.groups.values()],
            ),
            "AddDynamicNeighbor": one(
                api.AddDynamicNeighborRequest, lambda asked: daemon.add_dynamic(asked.dynamic_neighbor)
            ),
            "DeleteDynamicNeighbor": one(
                api.DeleteDynamicNeighborRequest,
                lambda asked: daemon.delete_dynamic(asked.prefix, asked.peer_group),
            ),
            "ListDynamicNeighbor": many(
                api.ListDynamicNeighborRequest,
                lambda _: [api.ListDynamicNeighborResponse(dynamic_neighbor=one) for one in daemon.dynamic],
            ),
            "AddPathStream": grpc.stream_unary_rpc_method_handler(
                self._add_path_stream, api.AddPathStreamRequest.FromString, api.Done.SerializeToString
            ),
            "DeletePath": grpc.unary_unary_rpc_method_handler(self._delete_path),
            "ListPath": many(
                api.ListPathRequest,
                lambda asked: [api.ListPathResponse(destination=one) for one in daemon.destinations(asked)],
            ),
            "AddDefinedSet": one(api.AddDefinedSetRequest, lambda asked: policies.add_set(asked.defined_set)),
            "DeleteDefinedSet": one(
                api.DeleteDefinedSetRequest, lambda asked: policies.delete_set(asked.defined_set, asked.all)
            ),
            "ListDefinedSet": many(
                api.ListDefinedSetRequest,
                lambda asked: [
                    api.ListDefinedSetResponse(defined_set=one) for one in policies.sets(asked.defined_type)
                ],
            ),
            "AddPolicy": one(api.AddPolicyRequest, lambda asked: policies.add_policy(asked.policy)),
            "DeletePolicy": one(
                api.DeletePolicyRequest, lambda asked: policies.delete_policy(asked.policy.name)
            ),
            "ListPolicy": many(
                api.ListPolicyRequest,
                lambda _: [api.ListPolicyResponse(policy=one) for one in daemon.tables.policies.values()],
            ),
            "SetPolicyAssignment": one(
                api.SetPolicyAssignmentRequest, lambda asked: policies.assign(asked.assignment)
            ),
            "ListPolicyAssignment": many(
                api.ListPolicyAssignmentRequest,
                lambda asked: [
                    api.ListPolicyAssignmentResponse(assignment=one)
                    for one in policies.assigned(asked.direction)
                ],
            ),
            "WatchEvent": grpc.unary_stream_rpc_method_handler(
                self._watch, api.WatchEventRequest.FromString, api.WatchEventResponse.SerializeToString
            ),
        }

    # ---- the ways of a call

    def _one(
        self, request: type[Message], work: Callable[[Any], Message | None]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def answer(asked: Message, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            try:
                return (work(asked) or api.Done()).SerializeToString()
            except (RefusalError, PanicError) as error:
                await self._fail(context, error)

        return grpc.unary_unary_rpc_method_handler(answer, request.FromString)

    def _many(
        self, request: type[Message], work: Callable[[Any], Iterable[Message]]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def answer(asked: Message, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
            try:
                found = list(work(asked))
            except (RefusalError, PanicError) as error:
                await self._fail(context, error)
            for one in found:
                yield one.SerializeToString()

        return grpc.unary_stream_rpc_method_handler(answer, request.FromString)

    async def _fail(self, context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
        if isinstance(error, RefusalError):
            await context.abort(error.code, str(error))
        self.panics.append(str(error))
        self._panic()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "error reading from server: EOF")

    # ---- calls with more to them

    def _get_bgp(self, _: api.GetBgpRequest) -> api.GetBgpResponse:
        return api.GetBgpResponse(**{"global": self.daemon.own})

    def _add_peer(self, asked: api.AddPeerRequest) -> None:
        self.daemon.add_peer(asked.peer)
        address = asked.peer.state.neighbor_address
        if address in self.routers:
            self.daemon.establish(address)
            for path in self.routers[address]:
                self.daemon.learn(path)
        self.tell_peer(asked.peer)

    def _delete_peer(self, asked: api.DeletePeerRequest) -> None:
        peer = self.daemon.peers.get(asked.address)
        self.daemon.delete_peer(asked.address)
        if peer is not None:
            self.tell_peer(peer)

    async def _add_path_stream(
        self, asked: AsyncIterator[api.AddPathStreamRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> api.Done:
        async for message in asked:
            try:
                self.tell_paths(self.daemon.apply(message))
            except RefusalError as error:
                await context.abort(error.code, str(error))
        return api.Done()

    async def _delete_path(self, asked: bytes, _: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        if not asked:  # no path, no uuid, no family: everybody's
            self.daemon.tables.paths.clear()
        return b""

    async def _watch(
        self, asked: api.WatchEventRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[api.WatchEventResponse]:
        kinds = {one.type for one in asked.table.filters}
        if Filter.TYPE_UNSPECIFIED in kinds or not (kinds or asked.HasField("peer")):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(invalid("no events to watch")))
        queue: asyncio.Queue[api.WatchEventResponse] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            if asked.HasField("peer"):
                for peer in self.daemon.peers.values():
                    yield api.WatchEventResponse(peer=Peers(type=Peers.TYPE_INIT, peer=peer))
                yield api.WatchEventResponse(peer=Peers(type=Peers.TYPE_END_OF_INIT))
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(queue)

    # ---- events

    def tell_peer(self, peer: api.Peer) -> None:
        """A change of a session's state."""
        self._tell(api.WatchEventResponse(peer=Peers(type=Peers.TYPE_STATE, peer=peer)))

    def tell_paths(self, paths: Iterable[api.Path]) -> None:
        """Changes among the best paths, as version 4.7 and later tell them: what came and what went."""
        self._tell(api.WatchEventResponse(table=api.WatchEventResponse.TableEvent(paths=paths)))

    def _tell(self, event: api.WatchEventResponse) -> None:
        for queue in self._watchers:
            queue.put_nowait(event)


async def main(target: str) -> None:
    """Runs until SIGTERM, or until a call that ends the real daemon."""
    fake = FakeGobgp4(panic=lambda: os._exit(2))
    await fake.serve(target)
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    await end.wait()
    await fake.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[sys.argv.index("--api-hosts") + 1]))
