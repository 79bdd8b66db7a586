"""The session with a gobgpd of version 4, over gRPC."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from protos.gobgp_v4 import gobgp_pb2 as api
from protos.gobgp_v4.stub import SERVICE, GobgpStub
from speaker.bgp import Family
from speaker.gobgp import v4_paths, v4_peers, validate
from speaker.gobgp.channel import (
    NOT_STARTED,
    batches,
    call,
    collect,
    timeout_for,
    translated,
)
from speaker.gobgp.neighbours import Beacon, as_found, neighbour, told
from speaker.gobgp.session import DaemonLostError, DaemonRefusedError
from speaker.gobgp.streams import Hint, Streams, events, listed
from speaker.gobgp.v4_table import PolicyTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

    from speaker.bgp import (
        BgpGlobal,
        Destination,
        DynamicPeers,
        LocalPath,
        Peer,
        PeerStatus,
        Policies,
        Prefix,
    )
    from speaker.gobgp.channel import Connection, T
    from speaker.gobgp.session import Event

NOWHERE = ip_network("192.0.2.0/32")  # RFC 5737: nobody's
# Paths in one event at most.
EVENT_BATCH = 10_000
_FILTER = api.WatchEventRequest.Table.Filter
_PEER_EVENT = api.WatchEventResponse.PeerEvent
_RESET = api.ResetPeerRequest


class GobgpV4:
    """Implements `Session`. The connection becomes its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = GobgpStub(connection.calls)
        self._streams = Streams(connection, SERVICE)
        self._policies = PolicyTable(self._stub)
        self._daemon: BgpGlobal | None = None
        # Interfaces by the link-local neighbours on them; None: not asked yet.
        self._links: dict[str, str] | None = None
        self._beacon = Beacon()
        self._counting = False  # what peers are told; not before it is known how many there are
        self._restarted: set[str] = set()

    async def identity(self) -> BgpGlobal | None:
        answer = await call(self._stub.get_bgp, api.GetBgpRequest())
        self._daemon = v4_peers.global_from_api(getattr(answer, "global"))  # a keyword here, a field there
        return self._daemon

    async def start(self, wanted: BgpGlobal) -> None:
        validate.check_global(wanted)
        if await self._has_table():
            raise DaemonLostError("it says that it was never started, and has a table")
        request = api.StartBgpRequest(**{"global": v4_peers.global_to_api(wanted)})
        await call(self._stub.start_bgp, request)
        self._daemon = wanted

    async def _has_table(self) -> bool:
        """A second witness, since one wrong answer must not lead to a start that wipes the table."""
        try:
            await collect(self._stub.list_path, _listing(Family.IPV4, [NOWHERE]))
        except DaemonLostError as error:
            if NOT_STARTED in str(error):
                return False
            raise
        return True

    async def _started(self) -> BgpGlobal:
        daemon = self._daemon or await self.identity()
        if daemon is None:
            raise DaemonLostError("it was restarted meanwhile")
        return daemon

    # ---- policies

    async def holds_policies(self, wanted: Policies) -> bool:
        return await self._policies.holds(wanted)

    async def set_policies(self, wanted: Policies) -> None:
        validate.check_policies(wanted)
        found = await self.peers()
        links = {status.peer.interface: status.address for status in found if status.peer.interface}
        await self._policies.put(wanted, links)
        # A policy applies to what changes from now on; the reset judges anew what is there.
        await self._reset("all", _RESET.DIRECTION_BOTH)
        await self._policies.clean(wanted)

    async def _reset(self, address: str, direction: api.ResetPeerRequest.Direction) -> None:
        request = api.ResetPeerRequest(address=address, soft=True, direction=direction)
        await call(self._stub.reset_peer, request)

    # ---- peers

    async def peers(self) -> list[PeerStatus]:
        daemon = await self._started()
        request = api.ListPeerRequest(enable_advertised=self._counting)
        listed = [answer.peer for answer in await collect(self._stub.list_peer, request)]
        async with translated():
            read = [v4_peers.status_from_api(peer, daemon, time.time()) for peer in listed]
        # What has no address is no peer, and the daemon's process ends when told to remove "".
        found = [as_found(status) for status in read if status.address]
        self._beacon.light(status.peer.interface for status in found if not status.established)
        found, self._counting = told(found, self._counting)
        zones = (status.address.partition("%") for status in found)
        self._links = {address: zone for address, _, zone in zones if zone}
        waiting = {peer.state.neighbor_address for peer in listed if peer.graceful_restart.local_restarting}
        await self._tell_others(found, waiting)
        return found

    async def _tell_others(self, found: list[PeerStatus], waiting: set[str]) -> None:
        """After its restart the daemon tells nothing until all have told it everything, and then only those that
        restart gracefully; the others would hear nothing at all.
        """
        for status in found:
            if status.peer.key in self._restarted and status.established:
                if not status.graceful:
                    await self._reset(status.address, _RESET.DIRECTION_OUT)
                if status.address not in waiting:
                    self._restarted.discard(status.peer.key)

    async def add_peer(self, peer: Peer, restarting: bool) -> None:
        validate.check_peer(peer, await self._started())
        address = await self._meet(peer.interface) if peer.interface else ""
        request = api.AddPeerRequest(peer=v4_peers.peer_to_api(peer, restarting, address))
        await call(self._stub.add_peer, request)
        if restarting and peer.options.restart_time:
            self._restarted.add(peer.key)
        self._counting = False

    async def _meet(self, interface: str) -> str:
        """The address of an interface's neighbour; rules for that peer fit it from now on."""
        address = await neighbour(interface)
        await self._policies.join(interface, address)
        self._links = {**(self._links or {}), address.partition("%")[0]: interface}
        return address

    async def remove_peer(self, status: PeerStatus) -> None:
        if status.peer.options.password:
            await self._forget_password(status)
        try:
            # By its address, also where an interface names it: that is what the daemon finds it by.
            await call(self._stub.delete_peer, api.DeletePeerRequest(address=status.address))
        except DaemonRefusedError as error:
            if "can't delete a peer configuration" not in str(error):
                raise  # that text says that it is gone already

    async def _forget_password(self, status: PeerStatus) -> None:
        """DeletePeer leaves the password on the daemon's listening socket, where it would shut out the same
        neighbour without one; a change of the peer takes it away.
        """
        options = replace(status.peer.options, password="", passive=True)
        peer = v4_peers.peer_to_api(replace(status.peer, options=options), restarting=False)
        try:
            await call(self._stub.update_peer, api.UpdatePeerRequest(peer=peer))
        except DaemonRefusedError as error:
            if "doesn't exist" not in str(error):
                raise

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

    async def announce(self, paths: Collection[LocalPath]) -> None:
        validate.check_paths(paths)
        asn = (await self._started()).asn
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

    async def table(self, prefixes: Collection[Prefix] | None = None) -> list[Destination]:
        if self._links is None:
            await self.peers()
        found: list[Destination] = []
        for family in Family:
            wanted = [prefix for prefix in prefixes or () if prefix.version == family]
            if prefixes is None or wanted:
                found += await self._list(family, wanted)
        return found

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

    async def close(self) -> None:
        self._beacon.light(())
        await self._connection.close()


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
