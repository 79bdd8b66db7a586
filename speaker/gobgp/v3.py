"""The session with a gobgpd of version 3, over gRPC."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from protos.gobgp_v3 import gobgp_pb2 as api
from protos.gobgp_v3.stub import GobgpStub
from speaker.gobgp import v3_codec as codec
from speaker.gobgp.session import (
    Address,
    BgpGlobal,
    DaemonLostError,
    DaemonRefusedError,
    Destination,
    Event,
    ExportPolicy,
    Family,
    LocalPath,
    Peer,
    PeerStatus,
    Prefix,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator

# Seconds. A call is answered in milliseconds; a listing of a full Internet table takes some seconds.
CALL_TIMEOUT = 10.0
TABLE_TIMEOUT = 120.0
# Paths in one message of AddPathStream: the daemon works them off under one lock.
BATCH = 500
GLOBAL_TABLE = "global"
# The policy's and the statement's name: whoever looks with `gobgp policy` sees whose it is.
POLICY = "anypod-export-local"

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # events of a large table come in one message
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
_GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """The daemon's errors as ours. Almost all of them come as UNKNOWN with a text."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        text = error.details() or error.code().name
        # A daemon that was restarted between two calls answers, and knows nothing.
        if error.code() in _GONE or "hasn't started" in text:
            raise DaemonLostError(text) from None
        if error.code() == grpc.StatusCode.UNIMPLEMENTED:
            text += " (is it a gobgpd of version 3?)"
        raise DaemonRefusedError(text) from None


class GobgpV3:
    """Implements `Session`. Safe to make before the daemon runs: it connects at the first call."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        self._stub = GobgpStub(self._channel)
        self._asn = 0

    async def identity(self) -> BgpGlobal | None:
        async with _translated():
            answer = await self._stub.get_bgp(api.GetBgpRequest(), timeout=CALL_TIMEOUT)
        self._asn = getattr(answer, "global").asn  # a keyword in Python, a field in the message
        return codec.global_from_api(getattr(answer, "global"))

    async def start(self, wanted: BgpGlobal) -> None:
        request = api.StartBgpRequest(**{"global": codec.global_to_api(wanted)})
        async with _translated():
            await self._stub.start_bgp(request, timeout=CALL_TIMEOUT)
        self._asn = wanted.asn

    # ---- policy

    async def export_policy(self) -> ExportPolicy:
        request = api.ListPolicyAssignmentRequest(name=GLOBAL_TABLE, direction=api.EXPORT)
        async with _translated():
            async for answer in self._stub.list_policy_assignment(request, timeout=CALL_TIMEOUT):
                return _policy_from_api(answer.assignment)
        return ExportPolicy.ALL

    async def set_export_policy(self, wanted: ExportPolicy) -> None:
        local = wanted is ExportPolicy.LOCAL
        if local:
            await self._define_local_policy()
        assignment = api.PolicyAssignment(
            name=GLOBAL_TABLE,
            direction=api.EXPORT,
            policies=[api.Policy(name=POLICY)] if local else [],
            default_action=api.REJECT if local else api.ACCEPT,
        )
        async with _translated():
            await self._stub.set_policy_assignment(
                api.SetPolicyAssignmentRequest(assignment=assignment), timeout=CALL_TIMEOUT
            )
        # The daemon applies a policy to what changes from now on; peers hear of the rest by a soft reset,
        # which sends what passes the policy and withdraws nothing (softResetOut in GoBGP's server.go).
        if await self.peers():
            reset = api.ResetPeerRequest(address="all", soft=True, direction=api.ResetPeerRequest.OUT)
            async with _translated():
                await self._stub.reset_peer(reset, timeout=CALL_TIMEOUT)

    async def _define_local_policy(self) -> None:
        request = api.AddPolicyRequest(policy=_local_policy())
        try:
            async with _translated():
                await self._stub.add_policy(request, timeout=CALL_TIMEOUT)
        except DaemonRefusedError as error:
            if "already defined" not in str(error):
                raise

    # ---- peers

    async def peers(self) -> list[PeerStatus]:
        async with _translated():
            listing = self._stub.list_peer(api.ListPeerRequest(), timeout=CALL_TIMEOUT)
            return [codec.peer_from_api(answer.peer) async for answer in listing]

    async def add_peer(self, peer: Peer) -> None:
        request = api.AddPeerRequest(peer=codec.peer_to_api(peer))
        async with _translated():
            await self._stub.add_peer(request, timeout=CALL_TIMEOUT)

    async def remove_peer(self, address: Address) -> None:
        try:
            async with _translated():
                await self._stub.delete_peer(
                    api.DeletePeerRequest(address=str(address)), timeout=CALL_TIMEOUT
                )
        except DaemonRefusedError as error:
            if "can't delete a peer configuration" not in str(error):
                raise  # that text says that it is gone already

    # ---- paths

    async def announce(self, paths: Collection[LocalPath]) -> None:
        await self._send([codec.path_to_api(path) for path in paths])

    async def withdraw(self, prefixes: Collection[Prefix]) -> None:
        await self._send([codec.withdrawal_to_api(prefix) for prefix in prefixes])

    async def _send(self, paths: list[api.Path]) -> None:
        # Never DeletePath: with an empty path it removes everybody's local paths. A withdrawal in this
        # stream says exactly which path it means.
        async with _translated():
            await self._stub.add_path_stream(_batches(paths), timeout=_timeout(len(paths)))

    async def table(self, prefixes: Collection[Prefix] | None = None) -> list[Destination]:
        found: list[Destination] = []
        for family in Family:
            wanted = [prefix for prefix in prefixes or () if prefix.version == family]
            if prefixes is None or wanted:
                found += await self._list(family, wanted)
        return found

    async def _list(self, family: Family, prefixes: list[Prefix]) -> list[Destination]:
        request = api.ListPathRequest(
            table_type=api.GLOBAL,
            family=codec.family_to_api(family),
            prefixes=[api.TableLookupPrefix(prefix=str(prefix)) for prefix in prefixes],
        )
        async with _translated():
            # A few prefixes are answered at once, and while this waits nothing else is done.
            timeout = _timeout(len(prefixes)) if prefixes else TABLE_TIMEOUT
            listing = self._stub.list_path(request, timeout=timeout)
            read = [codec.destination_from_api(answer.destination, self._asn) async for answer in listing]
        return [destination for destination in read if destination is not None]

    # ---- events

    async def watch(self) -> AsyncIterator[Event]:
        request = api.WatchEventRequest(
            peer=api.WatchEventRequest.Peer(),
            table=api.WatchEventRequest.Table(
                filters=[api.WatchEventRequest.Table.Filter(type=api.WatchEventRequest.Table.Filter.BEST)]
            ),
        )
        async with _translated():
            async for answer in self._stub.watch_event(request):
                if answer.WhichOneof("event") == "table":
                    yield Event(prefixes=codec.prefixes_of_paths(answer.table.paths))
                elif answer.peer.type == api.WatchEventResponse.PeerEvent.END_OF_INIT:
                    yield Event(subscribed=True)
                elif answer.peer.type == api.WatchEventResponse.PeerEvent.STATE:
                    yield Event(peers=True)
        raise DaemonLostError("it closed the connection")

    async def close(self) -> None:
        await self._channel.close(None)


def _timeout(count: int) -> float:
    """Seconds for so many paths: a daemon that hangs must be noticed before the hold timer runs out."""
    return CALL_TIMEOUT + count / 1000


def _batches(paths: list[api.Path]) -> Iterator[api.AddPathStreamRequest]:
    for start in range(0, len(paths), BATCH):
        yield api.AddPathStreamRequest(table_type=api.GLOBAL, paths=paths[start : start + BATCH])


def _local_policy() -> api.Policy:
    conditions = api.Conditions(route_type=api.Conditions.ROUTE_TYPE_LOCAL)
    actions = api.Actions(route_action=api.ACCEPT)
    return api.Policy(
        name=POLICY, statements=[api.Statement(name=POLICY, conditions=conditions, actions=actions)]
    )


def _policy_from_api(found: api.PolicyAssignment) -> ExportPolicy:
    names = [policy.name for policy in found.policies]
    if names == [POLICY] and found.default_action == api.REJECT:
        return ExportPolicy.LOCAL
    return ExportPolicy.ALL if not names and found.default_action == api.ACCEPT else ExportPolicy.OTHER
