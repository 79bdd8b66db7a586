"""What sessions with all versions of gobgpd have in common: what is asked in which order, and why. No messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from speaker.bgp import Family
from speaker.gobgp import validate
from speaker.gobgp.channel import NOT_STARTED, translated
from speaker.gobgp.neighbours import Beacon, as_found, links_of, neighbour, told
from speaker.gobgp.session import DaemonLostError, DaemonRefusedError

if TYPE_CHECKING:
    from collections.abc import Collection

    from speaker.bgp import BgpGlobal, Destination, LocalPath, Peer, PeerStatus, Policies, Prefix
    from speaker.gobgp.channel import Connection
    from speaker.gobgp.policytable import PolicyTable

NOWHERE = ip_network("192.0.2.0/32")  # RFC 5737: nobody's


class Adapter(ABC):
    """Implements that part of `Session`. The connection becomes its own."""

    def __init__(self, connection: Connection, policies: PolicyTable[Any]) -> None:
        self._connection = connection
        self._policies = policies
        self._daemon: BgpGlobal | None = None
        # Interfaces by the link-local neighbours on them; None: not asked yet.
        self._links: dict[str, str] | None = None
        self._beacon = Beacon()
        self._counting = False  # what peers are told; not before it is known how many there are
        self._restarted: set[str] = set()

    async def identity(self) -> BgpGlobal | None:
        """Who the daemon is, None while it has not been started."""
        self._daemon = await self._get_bgp()
        return self._daemon

    async def start(self, wanted: BgpGlobal) -> None:
        """Starts BGP."""
        validate.check_global(wanted)
        if await self._has_table():
            raise DaemonLostError("it says that it was never started, and has a table")
        await self._start_bgp(wanted)
        self._daemon = wanted

    async def _has_table(self) -> bool:
        """A second witness, since one wrong answer must not lead to a start that wipes the table."""
        try:
            await self._look_up(NOWHERE)
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
        """Whether exactly these are in force."""
        return await self._policies.holds(wanted)

    async def set_policies(self, wanted: Policies) -> None:
        """Puts them in force whole, in place of all others."""
        validate.check_policies(wanted)
        found = await self.peers()
        links = {status.peer.interface: status.address for status in found if status.peer.interface}
        await self._policies.put(wanted, links)
        # A policy applies to what changes from now on. The reset judges anew what peers told, and sends what
        # passes now; it withdraws nothing (softResetOut in GoBGP's server.go).
        await self._reset("all", inbound=True)
        await self._policies.clean(wanted)

    # ---- peers

    async def peers(self) -> list[PeerStatus]:
        """All peers that the daemon has."""
        listed, waiting = await self._list_peers(await self._started(), self._counting)
        # What has no address is no peer, and the daemon's process ends when told to remove "".
        async with translated():
            found = [as_found(status) for status in listed if status.address]
        self._beacon.light(status.peer.interface for status in found if not status.established)
        found, self._counting = told(found, self._counting)
        self._links = links_of(found)
        await self._tell_others(found, waiting)
        return found

    async def _tell_others(self, found: list[PeerStatus], waiting: set[str]) -> None:
        """After its restart the daemon tells nothing until all have told it everything, and then only those that
        restart gracefully; the others would hear nothing at all.
        """
        for status in found:
            if status.peer.key in self._restarted and status.established:
                if not status.graceful:
                    await self._reset(status.address, inbound=False)
                if status.address not in waiting:
                    self._restarted.discard(status.peer.key)

    async def add_peer(self, peer: Peer, restarting: bool) -> None:
        """Adds a peer."""
        validate.check_peer(peer, await self._started())
        address = await self._meet(peer.interface) if peer.interface else ""
        await self._add_peer(peer, restarting, address)
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
        """Removes a peer; one that is gone already is no error."""
        if status.peer.options.password:
            await self._forget_password(status)
        try:
            # By its address, also where an interface names it: that is what the daemon finds it by.
            await self._delete_peer(status.address)
        except DaemonRefusedError as error:
            if "can't delete a peer configuration" not in str(error):
                raise  # that text says that it is gone already

    async def _forget_password(self, status: PeerStatus) -> None:
        """DeletePeer leaves the password on the daemon's listening socket, where it would shut out the same
        neighbour without one; a change of the peer takes it away.
        """
        options = replace(status.peer.options, password="", passive=True)
        try:
            await self._update_peer(replace(status.peer, options=options))
        except DaemonRefusedError as error:
            if "doesn't exist" not in str(error):
                raise

    # ---- paths

    async def announce(self, paths: Collection[LocalPath]) -> None:
        """Adds or replaces paths of ours."""
        validate.check_paths(paths)
        await self._add_paths(paths, (await self._started()).asn)

    async def table(self, prefixes: Collection[Prefix] | None = None) -> list[Destination]:
        """The whole table, or only these prefixes."""
        if self._links is None:
            await self.peers()
        found: list[Destination] = []
        for family in Family:
            wanted = [prefix for prefix in prefixes or () if prefix.version == family]
            if prefixes is None or wanted:
                found += await self._list(family, wanted)
        return found

    async def close(self) -> None:
        """Lets go of the daemon, which keeps everything."""
        self._beacon.light(())
        await self._connection.close()

    # ---- one call each, in the version's own messages

    @abstractmethod
    async def _get_bgp(self) -> BgpGlobal | None: ...

    @abstractmethod
    async def _start_bgp(self, wanted: BgpGlobal) -> None: ...

    @abstractmethod
    async def _reset(self, address: str, inbound: bool) -> None:
        """Judges anew what goes out to one peer or "all", with `inbound` also what came in, and resets no session."""

    @abstractmethod
    async def _list_peers(self, daemon: BgpGlobal, counting: bool) -> tuple[list[PeerStatus], set[str]]:
        """All of them; and the addresses of those to which the daemon still tells nothing since it restarts.

        `counting`: with how many paths they are told, which costs the daemon much.
        """

    @abstractmethod
    async def _add_peer(self, peer: Peer, restarting: bool, address: str) -> None:
        """`address` is where an interface's neighbour was found."""

    @abstractmethod
    async def _update_peer(self, peer: Peer) -> None: ...

    @abstractmethod
    async def _delete_peer(self, address: str) -> None: ...

    @abstractmethod
    async def _add_paths(self, paths: Collection[LocalPath], asn: int) -> None: ...

    @abstractmethod
    async def _look_up(self, prefix: Prefix) -> None:
        """Asks whether the table has it, of whoever the daemon is; the answer is of no interest."""

    @abstractmethod
    async def _list(self, family: Family, prefixes: list[Prefix]) -> list[Destination]:
        """The destinations of these prefixes, of all if there are none."""
