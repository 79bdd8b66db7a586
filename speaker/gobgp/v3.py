"""The session with a gobgpd of version 3, over gRPC."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from protos.gobgp_v3 import gobgp_pb2 as api
from protos.gobgp_v3.stub import SERVICE, GobgpStub
from speaker.bgp import Family
from speaker.gobgp import validate
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
    links_of,
    peer_from_api,
    peer_to_api,
)
from speaker.gobgp.v3_table import PolicyTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence

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
_TABLE = api.WatchEventRequest.Table
_PEER_EVENT = api.WatchEventResponse.PeerEvent


class GobgpV3:
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
        self._daemon = global_from_api(getattr(answer, "global"))  # a keyword here, a field in the message
        return self._daemon

    async def start(self, wanted: BgpGlobal) -> None:
        validate.check_global(wanted)
        if await self._has_table():
            raise DaemonLostError("it says that it was never started, and has a table")
        request = api.StartBgpRequest(**{"global": global_to_api(wanted)})
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
        # A policy applies to what changes from now on. The reset judges anew what peers told, and sends what
        # passes now; it withdraws nothing (softResetOut in GoBGP's server.go).
        await self._reset("all", api.ResetPeerRequest.BOTH)
        await self._policies.clean(wanted)

    async def _reset(self, address: str, direction: api.ResetPeerRequest.SoftResetDirection) -> None:
        request = api.ResetPeerRequest(address=address, soft=True, direction=direction)
        await call(self._stub.reset_peer, request)

    # ---- peers

    async def peers(self) -> list[PeerStatus]:
        daemon = await self._started()
        request = api.ListPeerRequest(enableAdvertised=self._counting)
        listed = [answer.peer for answer in await collect(self._stub.list_peer, request)]
        async with translated():
            found = [as_found(peer_from_api(peer, daemon, time.time())) for peer in listed]
        self._beacon.light(status.peer.interface for status in found if not status.established)
        found, self._counting = told(found, self._counting)
        self._links = links_of(found)
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
                    await self._reset(status.address, api.ResetPeerRequest.OUT)
                if status.address not in waiting:
                    self._restarted.discard(status.peer.key)

    async def add_peer(self, peer: Peer, restarting: bool) -> None:
        validate.check_peer(peer, await self._started())
        address = await self._meet(peer.interface) if peer.interface else ""
        await call(self._stub.add_peer, api.AddPeerRequest(peer=peer_to_api(peer, restarting, address)))
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
            await call(self._stub.delete_peer, api.DeletePeerRequest(address=status.address))
        except DaemonRefusedError as error:
            if "can't delete a peer configuration" not in str(error):
                raise  # that text says that it is gone already

    async def _forget_password(self, status: PeerStatus) -> None:
        """DeletePeer leaves the password on the daemon's listening socket, where it would shut out the same
        neighbour without one; a change of the peer takes it away.
        """
        options = replace(status.peer.options, password="", passive=True)
        peer = peer_to_api(replace(status.peer, options=options), restarting=False)
        try:
            await call(self._stub.update_peer, api.UpdatePeerRequest(peer=peer))
        except DaemonRefusedError as error:
            if "doesn't exist" not in str(error):
                raise

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

    async def announce(self, paths: Collection[LocalPath]) -> None:
        validate.check_paths(paths)
        asn = (await self._started()).asn
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
            return destination_from_api(api.ListPathResponse.FromString(data).destination, asn, links)

        return await listed(self._streams, lambda some: _listing(family, some), read, prefixes)

    # ---- events

    def watch(self) -> AsyncIterator[Event]:
        request = api.WatchEventRequest(
            peer=api.WatchEventRequest.Peer(), table=_TABLE(filters=[_TABLE.Filter(type=_TABLE.Filter.BEST)])
        )
        return events(self._streams, request, _hint)

    async def close(self) -> None:
        self._beacon.light(())
        await self._connection.close()


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
