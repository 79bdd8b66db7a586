"""The session with a gobgpd of version 4, over gRPC."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from protos.gobgp_v4 import gobgp_pb2 as api
from protos.gobgp_v4.stub import SERVICE, GobgpStub
from speaker.bgp import Family
from speaker.gobgp import v4_paths, v4_peers, validate
from speaker.gobgp.adapter import Adapter
from speaker.gobgp.channel import (
    batches,
    call,
    collect,
    timeout_for,
    translated,
)
from speaker.gobgp.session import DaemonRefusedError
from speaker.gobgp.streams import Hint, Streams, events, listed
from speaker.gobgp.v4_table import PolicyTableV4

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

    from speaker.bgp import (
        BgpGlobal,
        Destination,
        DynamicPeers,
        LocalPath,
        Peer,
        PeerStatus,
        Prefix,
    )
    from speaker.gobgp.channel import Connection, T
    from speaker.gobgp.session import Event

# Paths in one event at most.
EVENT_BATCH = 10_000
_FILTER = api.WatchEventRequest.Table.Filter
_PEER_EVENT = api.WatchEventResponse.PeerEvent
_RESET = api.ResetPeerRequest


class GobgpV4(Adapter):
    """Implements `Session`. The connection becomes its own."""

    def __init__(self, connection: Connection) -> None:
        self._stub = GobgpStub(connection.calls)
        super().__init__(connection, PolicyTableV4(self._stub))
        self._streams = Streams(connection, SERVICE)

    async def _get_bgp(self) -> BgpGlobal | None:
        answer = await call(self._stub.get_bgp, api.GetBgpRequest())
        return v4_peers.global_from_api(getattr(answer, "global"))  # a keyword here, a field in the message

    async def _start_bgp(self, wanted: BgpGlobal) -> None:
        request = api.StartBgpRequest(**{"global": v4_peers.global_to_api(wanted)})
        await call(self._stub.start_bgp, request)

    # ---- peers

    async def _reset(self, address: str, inbound: bool) -> None:
        direction = _RESET.DIRECTION_BOTH if inbound else _RESET.DIRECTION_OUT
        request = api.ResetPeerRequest(address=address, soft=True, direction=direction)
        await call(self._stub.reset_peer, request)

    async def _list_peers(self, daemon: BgpGlobal, counting: bool) -> tuple[list[PeerStatus], set[str]]:
        request = api.ListPeerRequest(enable_advertised=counting)
        found = [answer.peer for answer in await collect(self._stub.list_peer, request)]
        waiting = {peer.state.neighbor_address for peer in found if peer.graceful_restart.local_restarting}
        async with translated():
            return [v4_peers.status_from_api(peer, daemon, time.time()) for peer in found], waiting

    async def _add_peer(self, peer: Peer, restarting: bool, address: str) -> None:
        request = api.AddPeerRequest(peer=v4_peers.peer_to_api(peer, restarting, address))
        await call(self._stub.add_peer, request)

    async def _update_peer(self, peer: Peer) -> None:
        request = api.UpdatePeerRequest(peer=v4_peers.peer_to_api(peer, restarting=False))
        await call(self._stub.update_peer, request)

    async def _delete_peer(self, address: str) -> None:
        await call(self._stub.delete_peer, api.DeletePeerRequest(address=address))

    async def dynamic_peers(self) -> list[DynamicPeers]:
        daemon = await self._started()
        members = await self._dynamic_neighbours()
        groups = await collect(self._stub.list_peer_group, api.ListPeerGroupRequest())
        async with translated():
            return [v4_peers.group_from_api(answer.peer_group, members, daemon) for answer in groups]

    async def _dynamic_neighbours(self) -> list[api.DynamicNeighbor]:
        request = api.ListDynamicNeighborRequest()
        return [
            answer.dynamic_neighbor for answer in await collect(self._stub.list_dynamic_neighbor, request)
        ]

    async def add_dynamic_peers(self, group: DynamicPeers) -> None:
        validate.check_dynamic_peers(group, await self._started())
        await call(
            self._stub.add_peer_group, api.AddPeerGroupRequest(peer_group=v4_peers.group_to_api(group))
        )
        for prefix in group.prefixes:
            entry = api.DynamicNeighbor(prefix=str(prefix), peer_group=group.name)
            await call(self._stub.add_dynamic_neighbor, api.AddDynamicNeighborRequest(dynamic_neighbor=entry))
        self._counting = False

    async def remove_dynamic_peers(self, group: DynamicPeers) -> None:
        # In this order nobody comes back meanwhile. The daemon's process ends when told of a group that it
        # does not have: it is asked what it has.
        for found in await self._dynamic_neighbours():
            if found.peer_group == group.name:
                request = api.DeleteDynamicNeighborRequest(prefix=found.prefix, peer_group=group.name)
                await call(self._stub.delete_dynamic_neighbor, request)
        for status in await self.peers():
            if status.group == group.name:
                await self.remove_peer(status)
        try:
            await call(self._stub.delete_peer_group, api.DeletePeerGroupRequest(name=group.name))
        except DaemonRefusedError as error:
            if "which does not exist" not in str(error):
                raise

    # ---- paths

    async def _add_paths(self, paths: Collection[LocalPath], asn: int) -> None:
        await self._send([*paths], lambda path: v4_paths.path_to_api(path, asn))

    async def withdraw(self, prefixes: Collection[Prefix]) -> None:
        await self._send([*prefixes], v4_paths.withdrawal_to_api)

    async def _send(self, items: Sequence[T], to_api: Callable[[T], api.Path]) -> None:
        # Never DeletePath: with an empty path it removes everybody's local paths. A withdrawal in this
        # stream says exactly which path it means.
        # Each message is made while the daemon works at the one before.
        requests = (
            api.AddPathStreamRequest(table_type=api.TABLE_TYPE_GLOBAL, paths=map(to_api, some))
            for some in batches(items)
        )
        async with translated():
            await self._stub.add_path_stream(requests, timeout=timeout_for(len(items)))

    async def _look_up(self, prefix: Prefix) -> None:
        await collect(self._stub.list_path, _listing(Family(prefix.version), [prefix]))

    async def _list(self, family: Family, prefixes: list[Prefix]) -> list[Destination]:
        asn, links = (await self._started()).asn, self._links or {}

        def read(data: bytes) -> Destination | None:
            found = api.ListPathResponse.FromString(data).destination
            return v4_paths.destination_from_api(found, asn, links)

        return await listed(self._streams, lambda some: _listing(family, some), read, prefixes)

    # ---- events

    def watch(self) -> AsyncIterator[Event]:
        request = api.WatchEventRequest(
            peer=api.WatchEventRequest.Peer(),
            table=api.WatchEventRequest.Table(
                filters=[_FILTER(type=_FILTER.TYPE_BEST), _FILTER(type=_FILTER.TYPE_EOR)]
            ),
            batch_size=EVENT_BATCH,
        )
        return events(self._streams, request, _hint)


def _listing(family: Family, prefixes: Collection[Prefix]) -> api.ListPathRequest:
    exact = api.TableLookupPrefix.TYPE_EXACT
    return api.ListPathRequest(
        table_type=api.TABLE_TYPE_GLOBAL,
        family=v4_paths.FAMILIES[family],
        prefixes=[api.TableLookupPrefix(prefix=str(prefix), type=exact) for prefix in prefixes],
    )


def _hint(data: bytes) -> Hint | None:
    answer = api.WatchEventResponse.FromString(data)
    if answer.WhichOneof("event") == "table":
        paths = answer.table.paths
        prefixes, ours = v4_paths.prefixes_of_paths(paths), v4_paths.paths_of_ours(paths)
        return Hint(prefixes, ours, v4_paths.ends_of_rib(paths))
    return Hint(peers=True) if answer.peer.type == _PEER_EVENT.TYPE_STATE else None
