"""The daemon's side of the comparison: what it holds, and the calls that make it hold what it should."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from speaker import log
from speaker.gobgp.session import DaemonRefusedError, Destination, ExportPolicy
from speaker.plan import plan_paths, plan_peers, same_daemon

if TYPE_CHECKING:
    from collections.abc import Collection

    from speaker.config import Config
    from speaker.gobgp.session import Address, LocalPath, Peer, PeerStatus, Prefix, Session

# With more prefixes than this to look at again, the whole table is read instead.
MANY = 300


class WrongDaemonError(Exception):
    """A BGP daemon of somebody else runs there; starting ours would wipe its tables."""


class Daemon:
    """What the daemon was last seen to hold. Every method may raise the session's errors."""

    def __init__(self, config: Config, session: Session) -> None:
        self._config = config
        self._session = session
        self._up: dict[str, bool] = {}
        self._refused: dict[Address, str] = {}
        self.table: dict[Prefix, Destination] = {}
        self.peers: list[PeerStatus] = []
        # Off while it is not known what should be announced: what an earlier process announced stays.
        self.withdraws = True

    def forget(self) -> None:
        """Nothing that was read is true any more."""
        self.table = {}
        self.peers = []
        self._up = {}

    async def restore(self, wanted: Collection[LocalPath]) -> None:
        """Brings everything to where it should be, in the order that a daemon which lost all needs.

        Paths come before peers: the first thing a peer hears is everything, and nothing is withdrawn.
        A daemon that holds it all already sees no write.
        """
        await self._start()
        await self._export_policy()
        await self._read_table()
        await self.close_paths(wanted)
        await self.read_peers()
        await self._close_peers()

    async def _start(self) -> None:
        wanted = self._config.bgp
        found = await self._session.identity()
        if found is None:
            await self._session.start(wanted)
            log.info("gobgpd started", asn=wanted.asn, router_id=wanted.router_id, port=wanted.listen_port)
        elif not same_daemon(wanted, found):
            raise WrongDaemonError(
                f"gobgpd at {self._config.api} runs as AS {found.asn}, router id {found.router_id}, and"
                f" not as AS {wanted.asn}, router id {wanted.router_id}; restart that gobgpd if it is"
                " the speaker's, else set gobgpd.api to one of its own"
            )

    async def _export_policy(self) -> None:
        wanted = ExportPolicy.ALL if self._config.announce.transit else ExportPolicy.LOCAL
        if await self._session.export_policy() is not wanted:
            await self._session.set_export_policy(wanted)
            log.info("export policy set", exports=wanted.value)
            if wanted is ExportPolicy.LOCAL:
                await self._forget_exports()

    async def _forget_exports(self) -> None:
        """Only the end of a session takes back what must not be exported any more; peers are added below."""
        for status in await self._session.peers():
            if status.managed:
                await self._session.remove_peer(status.peer.address)
                log.warning("peer removed to take back its exports", peer=status.peer.address)

    # ---- paths

    async def _read_table(self) -> None:
        self.table = {found.prefix: found for found in await self._session.table()}

    async def reread(self, prefixes: Collection[Prefix]) -> None:
        """Looks again at these prefixes."""
        if len(prefixes) > MANY:
            await self._read_table()
        elif prefixes:
            found = {entry.prefix: entry for entry in await self._session.table(prefixes)}
            for prefix in prefixes:
                self.table.pop(prefix, None)
            self.table.update(found)

    async def close_paths(self, wanted: Collection[LocalPath]) -> None:
        """Announces and withdraws what differs; the table is told, so that nothing is written twice."""
        plan = plan_paths(wanted, self.table)
        if plan.announce:
            await self._session.announce(plan.announce)
            for path in plan.announce:
                before = self.table.get(path.prefix) or Destination(path.prefix, None, False, ())
                self.table[path.prefix] = replace(before, ours=path)
            log.info_each("announced", ({"prefix": path.prefix} for path in plan.announce))
        if plan.withdraw and self.withdraws:
            await self._session.withdraw(plan.withdraw)
            for prefix in plan.withdraw:
                self.table[prefix] = replace(self.table[prefix], ours=None)
            log.info_each("withdrawn", ({"prefix": prefix} for prefix in plan.withdraw))

    # ---- peers

    async def read_peers(self) -> None:
        """Looks again at the peers, and tells which sessions came and went."""
        self.peers = await self._session.peers()
        up = {str(status.peer.address): status.established for status in self.peers}
        for status in self.peers:
            address = str(status.peer.address)
            if status.established and not self._up.get(address):
                log.info("peer up", peer=address, asn=status.peer.asn)
            elif self._up.get(address) and not status.established:
                log.warning("peer down", peer=address, asn=status.peer.asn, state=status.state)
        self._up = up

    async def _close_peers(self) -> None:
        plan = plan_peers(self._config.peers, self.peers)
        changed = {peer.address for peer in plan.add} & set(plan.remove)
        for address in plan.remove:
            await self._session.remove_peer(address)
            if address not in changed:
                log.info("peer removed", peer=address)
        for peer in plan.add:
            if await self._add_peer(peer):
                event = "peer replaced" if peer.address in changed else "peer added"
                log.info(event, peer=peer.address, asn=peer.asn)
        if plan.add or plan.remove:
            await self.read_peers()

    async def _add_peer(self, peer: Peer) -> bool:
        """One peer that the daemon refuses must not keep the others out; the next full pass tries again."""
        try:
            await self._session.add_peer(peer)
        except DaemonRefusedError as error:
            if self._refused.get(peer.address) != str(error):
                log.error("peer refused by gobgpd", peer=peer.address, reason=error)
            self._refused[peer.address] = str(error)
            return False
        self._refused.pop(peer.address, None)
        return True
