"""The daemon's side of the comparison: what it holds, and the calls that make it hold what it should."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from speaker import log
from speaker.bgp import Destination
from speaker.exports import narrowed
from speaker.inforce import InForce
from speaker.peers import Peers
from speaker.plan import plan_paths, same_daemon
from speaker.policy import policies
from speaker.table import Table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from speaker.bgp import BgpGlobal, LocalPath, PeerStatus, Policies, Prefix
    from speaker.gobgp.session import Event, Session
    from speaker.settings import Config
    from speaker.wake import Work


class WrongDaemonError(Exception):
    """A BGP daemon of somebody else runs there; starting ours would wipe its tables."""


class Daemon:
    """What the daemon was last seen to hold. Every method may raise the errors of the session that it is given."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._in_force: Policies | None = None
        self._written = InForce(config.state_dir)
        self._peers = Peers(config)
        self.table = Table()
        # What was wanted, and what the table held, when nothing was left to do.
        self._closed: tuple[object, int, bool] = (None, 0, False)
        # There was a daemon in this boot: peers may be waiting for it to come back.
        self._lived = self._written.read() is not None
        # Off while it is not known what should be announced: what an earlier process announced stays.
        self.withdraws = True

    @property
    def peers(self) -> list[PeerStatus]:
        """The peers as they were last read."""
        return self._peers.found

    @property
    def flaps(self) -> Mapping[str, int]:
        """How many sessions of each peer have ended, by what a log calls it."""
        return self._peers.flaps

    def take_ended(self) -> set[str]:
        """The peers whose sessions ended since this was last asked, but for those that gobgpd waits for."""
        return self._peers.take_ended()

    @property
    def awaits_peers(self) -> bool:
        """Whether some may come to stand unannounced: another neighbour on a link, or who was refused."""
        up = {status.peer.key for status in self.peers if status.established}
        return bool(self.refused) or any(one.interface and one.key not in up for one in self._config.peers)

    @property
    def refused(self) -> Mapping[str, str]:
        """Peers that could not be added, and why; they are worth another try."""
        return self._peers.refused

    def configure(self, config: Config) -> None:
        """From the next `restore` on, this is what should be."""
        self._config = config
        self._peers.configure(config)

    def forget(self) -> None:
        """Nothing that was read is true any more."""
        self.table.clear()
        self._peers.forget()

    async def bring(self, session: Session, wanted: Collection[LocalPath], work: Work) -> None:
        """Does what is to be done."""
        if work.everything:
            await self.restore(session, wanted)
            return
        if work.check:
            await self.check(session, wanted)
            return
        await self.close_paths(session, wanted)
        if work.peers:
            await self.close_peers(session)

    async def restore(self, session: Session, wanted: Collection[LocalPath]) -> None:
        """Brings everything to where it should be, in the order that a daemon which lost all needs.

        Paths come before peers: the first thing a peer hears is everything, and nothing is withdrawn. What
        goes is withdrawn before the policies could hold its withdrawal back, and what comes is announced
        when they say to whom. A daemon that holds it all already sees no write.
        """
        restarting = await self._start(session) and self._lived
        await self._read_table(session)
        await self._withdraw(session, plan_paths(wanted, self.table.ours).withdraw)
        await self._close_policies(session)
        await self._announce(session, plan_paths(wanted, self.table.ours).announce)
        await self._peers.read(session)
        await self._peers.close(session, restarting)
        self._lived = True

    async def check(self, session: Session, wanted: Collection[LocalPath]) -> None:
        """The same for a daemon that was followed since: its table is known, but by what events told of it."""
        found = await session.identity()
        if found is None:
            await self.restore(session, wanted)
            return
        self._recognise(found)
        await self._close_policies(session)
        await self.close_paths(session, wanted)
        await self.close_peers(session)

    async def _start(self, session: Session) -> bool:
        """Whether the daemon was empty."""
        wanted = self._config.bgp
        found = await session.identity()
        if found is None:
            await session.start(wanted)
            log.info("gobgpd started", asn=wanted.asn, router_id=wanted.router_id, port=wanted.listen_port)
        else:
            self._recognise(found)
        return found is None

    def _recognise(self, found: BgpGlobal) -> None:
        wanted = self._config.bgp
        if not same_daemon(wanted, found):
            raise WrongDaemonError(
                f"gobgpd at {self._config.api.target} runs as AS {found.asn}, router id {found.router_id}, and"
                f" not as AS {wanted.asn}, router id {wanted.router_id}; restart that gobgpd if it is"
                " the speaker's, else set gobgpd.api to one of its own"
            )

    async def _close_policies(self, session: Session) -> None:
        wanted = policies(self._config)
        if not await session.holds_policies(wanted):
            before = await self._in_force_before(session)
            await self._peers.read(session)
            less = narrowed(before, wanted, self._peers.names(), self.table.values())
            await self._peers.end(session, less)
            await session.set_policies(wanted)
            log.info("policies set", imports=len(wanted.imports), exports=len(wanted.exports))
        if self._in_force != wanted:
            self._in_force = wanted
            self._written.write(wanted)

    async def _in_force_before(self, session: Session) -> Policies | None:
        """None if the daemon has others than those that it was given last: nobody knows what peers were told."""
        before = self._in_force or self._written.read()
        return before if before is not None and await session.holds_policies(before) else None

    # ---- paths

    async def _read_table(self, session: Session) -> None:
        self.table.replace(await session.table())

    def news(self, event: Event) -> set[Prefix]:
        """The prefixes to look at again: not those of which the table says that very thing, for we have done it."""
        return set(event.prefixes).difference(
            path.prefix for path in event.ours if self.table.ours.get(path.prefix) == path
        )

    async def reread(self, session: Session, prefixes: Collection[Prefix]) -> None:
        """Looks again at these prefixes."""
        if prefixes:
            found = await session.table(prefixes)
            gone = set(prefixes)
            for entry in found:
                gone.discard(entry.prefix)
                self.table.put(entry)
            for prefix in gone:
                self.table.drop(prefix)

    async def close_paths(self, session: Session, wanted: Collection[LocalPath]) -> None:
        """Announces and withdraws what differs; the table is told, so that nothing is written twice."""
        if (wanted, self.table.changes, self.withdraws) == self._closed:
            return
        plan = plan_paths(wanted, self.table.ours)
        await self._announce(session, plan.announce)
        await self._withdraw(session, plan.withdraw)
        self._closed = wanted, self.table.changes, self.withdraws

    async def _announce(self, session: Session, paths: Collection[LocalPath]) -> None:
        if paths:
            await session.announce(paths)
            for path in paths:
                before = self.table.get(path.prefix) or Destination(path.prefix, None, False, ())
                self.table.put(replace(before, ours=path))
            log.info_each("announced", ({"prefix": path.prefix} for path in paths))

    async def _withdraw(self, session: Session, prefixes: Collection[Prefix]) -> None:
        if prefixes and self.withdraws:
            await session.withdraw(prefixes)
            for prefix in prefixes:
                if prefix in self.table:  # it may have been forgotten meanwhile
                    self.table.put(replace(self.table[prefix], ours=None))
            log.info_each("withdrawn", ({"prefix": prefix} for prefix in prefixes))

    async def withdraw_all(self, session: Session) -> None:
        """Takes everything back that was announced, for the end."""
        self.withdraws = True
        await self._read_table(session)  # a pass may have been cut off
        await self.close_paths(session, ())

    async def close_peers(self, session: Session) -> None:
        """Looks again at the peers, tells which sessions came and went, adds and removes what differs."""
        await self._peers.read(session)
        await self._peers.close(session, restarting=False)
