"""The session with a gobgpd of version 3, over gRPC."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from protos.gobgp_v3 import gobgp_pb2 as api
from protos.gobgp_v3.stub import SERVICE, GobgpStub
from speaker.bgp import Family
from speaker.gobgp import validate
from speaker.gobgp.adapter import Adapter
from speaker.gobgp.channel import (
    batches,
    call,
    collect,
    timeout_for,
    translated,
)
from speaker.gobgp.streams import Hint, Streams, events, listed
from speaker.gobgp.v3_paths import (
    destination_from_api,
    family_to_api,
    path_to_api,
    paths_of_ours,
    prefixes_of_paths,
    withdrawal_to_api,
)
from speaker.gobgp.v3_peers import (
    global_from_api,
    global_to_api,
    group_from_api,
    group_to_api,
    peer_from_api,
    peer_to_api,
)
from speaker.gobgp.v3_table import PolicyTableV3

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence

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

_TABLE = api.WatchEventRequest.Table
_PEER_EVENT = api.WatchEventResponse.PeerEvent


class GobgpV3(Adapter):
    """Implements `Session`. The connection becomes its own."""

    def __init__(self, connection: Connection) -> None:
        self._stub = GobgpStub(connection.calls)
        super().__init__(connection, PolicyTableV3(self._stub))
        self._streams = Streams(connection, SERVICE)

    async def _get_bgp(self) -> BgpGlobal | None:
        answer = await call(self._stub.get_bgp, api.GetBgpRequest())
        return global_from_api(getattr(answer, "global"))  # a keyword here, a field in the message

    async def _start_bgp(self, wanted: BgpGlobal) -> None:
        request = api.StartBgpRequest(**{"global": global_to_api(wanted)})
        await call(self._stub.start_bgp, request)

    # ---- peers

    async def _reset(self, address: str, inbound: bool) -> None:
        direction = api.ResetPeerRequest.BOTH if inbound else api.ResetPeerRequest.OUT
        request = api.ResetPeerRequest(address=address, soft=True, direction=direction)
        await call(self._stub.reset_peer, request)

    async def _list_peers(self, daemon: BgpGlobal, counting: bool) -> tuple[list[PeerStatus], set[str]]:
        request = api.ListPeerRequest(enableAdvertised=counting)
        found = [answer.peer for answer in await collect(self._stub.list_peer, request)]
        waiting = {peer.state.neighbor_address for peer in found if peer.graceful_restart.local_restarting}
        async with translated():
            return [peer_from_api(peer, daemon, time.time()) for peer in found], waiting

    async def _add_peer(self, peer: Peer, restarting: bool, address: str) -> None:
        request = api.AddPeerRequest(peer=peer_to_api(peer, restarting, address))
        await call(self._stub.add_peer, request)

    async def _update_peer(self, peer: Peer) -> None:
        request = api.UpdatePeerRequest(peer=peer_to_api(peer, restarting=False))
        await call(self._stub.update_peer, request)

    async def _delete_peer(self, address: str) -> None:
        await call(self._stub.delete_peer, api.DeletePeerRequest(address=address))

    async def dynamic_peers(self) -> list[DynamicPeers]:
        daemon = await self._started()
        members = await collect(self._stub.list_dynamic_neighbor, api.ListDynamicNeighborRequest())
        groups = await collect(self._stub.list_peer_group, api.ListPeerGroupRequest())
        prefixes: dict[str, list[str]] = {}
        for answer in members:
            entry = answer.dynamic_neighbor
            prefixes.setdefault(entry.peer_group, []).append(entry.prefix)
        async with translated():
            return [
                group_from_api(
                    answer.peer_group, prefixes.get(answer.peer_group.conf.peer_group_name, ()), daemon
                )
                for answer in groups
            ]

    async def add_dynamic_peers(self, group: DynamicPeers) -> None:
        validate.check_dynamic_peers(group, await self._started())
        await call(self._stub.add_peer_group, api.AddPeerGroupRequest(peer_group=group_to_api(group)))
        for prefix in group.prefixes:
            entry = api.DynamicNeighbor(prefix=str(prefix), peer_group=group.name)
            await call(self._stub.add_dynamic_neighbor, api.AddDynamicNeighborRequest(dynamic_neighbor=entry))
        self._counting = False

    async def remove_dynamic_peers(self, group: DynamicPeers) -> None:
        # The daemon dies of a group that it does not know: it is asked what it has.
        for found in await self.dynamic_peers():
            if found.name == group.name:
                for prefix in found.prefixes:
                    request = api.DeleteDynamicNeighborRequest(prefix=str(prefix), peer_group=group.name)
                    await call(self._stub.delete_dynamic_neighbor, request)
                for status in await self.peers():
                    if status.group == group.name:
                        await self.remove_peer(status)
                await call(self._stub.delete_peer_group, api.DeletePeerGroupRequest(name=group.name))

    # ---- paths

    async def _add_paths(self, paths: Collection[LocalPath], asn: int) -> None:
        await self._send([*paths], lambda path: path_to_api(path, asn))

    async def withdraw(self, prefixes: Collection[Prefix]) -> None:
        await self._send([*prefixes], withdrawal_to_api)

    async def _send(self, items: Sequence[T], to_api: Callable[[T], api.Path]) -> None:
        # Never DeletePath: with an empty path it removes everybody's local paths. A withdrawal in this
        # stream says exactly which path it means.
        # Each message is made while the daemon works at the one before.
        requests = (
            api.AddPathStreamRequest(table_type=api.GLOBAL, paths=map(to_api, some))
            for some in batches(items)
        )
        async with translated():
            await self._stub.add_path_stream(requests, timeout=timeout_for(len(items)))

    async def _look_up(self, prefix: Prefix) -> None:
        await collect(self._stub.list_path, _listing(Family(prefix.version), [prefix]))

    async def _list(self, family: Family, prefixes: list[Prefix]) -> list[Destination]:
        asn, links = (await self._started()).asn, self._links or {}

        def read(data: bytes) -> Destination | None:
            return destination_from_api(api.ListPathResponse.FromString(data).destination, asn, links)

        return await listed(self._streams, lambda some: _listing(family, some), read, prefixes)

    # ---- events

    def watch(self) -> AsyncIterator[Event]:
        request = api.WatchEventRequest(
            peer=api.WatchEventRequest.Peer(), table=_TABLE(filters=[_TABLE.Filter(type=_TABLE.Filter.BEST)])
        )
        return events(self._streams, request, _hint)


def _listing(family: Family, prefixes: Iterable[Prefix]) -> api.ListPathRequest:
    """Asks for these prefixes, for all if there are none."""
    return api.ListPathRequest(
        table_type=api.GLOBAL,
        family=family_to_api(family),
        prefixes=[api.TableLookupPrefix(prefix=str(prefix)) for prefix in prefixes],
    )


def _hint(data: bytes) -> Hint | None:
    answer = api.WatchEventResponse.FromString(data)
    if answer.WhichOneof("event") == "table":
        paths = answer.table.paths
        return Hint(prefixes_of_paths(paths), paths_of_ours(paths))
    return Hint(peers=True) if answer.peer.type == _PEER_EVENT.STATE else None
