"""The daemon's peers and groups of dynamic ones: read, told, added and removed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from speaker import log
from speaker.bgp import DynamicPeers, Refusals
from speaker.gobgp.session import DaemonRefusedError
from speaker.plan import plan_dynamic, plan_peers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from speaker.bgp import Peer, PeerStatus
    from speaker.gobgp.session import Session
    from speaker.settings import Config


class Peers:
    """What the daemon was last seen to have. Every method that is given a session may raise its errors."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._up: dict[str, bool] = {}
        self.refused: dict[str, str] = {}
        self._renew: set[str] = set()
        self.found: list[PeerStatus] = []
        self.flaps: dict[str, int] = {}  # sessions that ended, by what a log calls the peer
        self._ended: set[str] = set()
        self._refusals: dict[
            str, Refusals
        ] = {}  # how many there were when the peer was first seen to be down

    def configure(self, config: Config) -> None:
        """From the next `close` on, these should be there."""
        # Not every daemon tells the password that it has: a new one is known only here.
        before = _passwords(self._config)
        self._renew |= {name for name, word in _passwords(config).items() if before.get(name, word) != word}
        self._config = config

    def forget(self) -> None:
        """Nothing that was read is true any more."""
        self.found = []
        self._up = {}
        self._ended = set()

    def take_ended(self) -> set[str]:
        """Where the sessions led that ended since this was last asked, but for those that gobgpd waits for."""
        ended, self._ended = self._ended, set()
        return ended

    def names(self) -> set[str]:
        """What the policies call those that the daemon has now: keys of peers, names of groups."""
        return {status.group or status.peer.key for status in self.found}

    async def read(self, session: Session) -> None:
        """Looks again, and tells which sessions came and went."""
        before = {name_of(status): status for status in self.found}
        self.found = [self._explained(status) for status in await session.peers()]
        up = {name_of(status): status.established for status in self.found}
        for status in self.found:
            name = name_of(status)
            fields: dict[str, object] = {"peer": name, "asn": status.peer.options.asn}
            if status.established and not self._up.get(name):
                log.info("peer up", **fields)
            elif self._up.get(name) and not status.established:
                self.flaps[name] = self.flaps.get(name, 0) + 1
                self._note_end(before[name])
                because = {"reason": status.reason} if status.reason else {}
                log.warning("peer down", **fields, state=status.state, **because)
        for name in [name for name, was_up in self._up.items() if was_up and name not in up]:
            log.info("peer gone", peer=name)  # a dynamic one, which the daemon drops with its session
            self._note_end(before[name])
        self._up = up

    def _note_end(self, before: PeerStatus) -> None:
        if not before.graceful:
            self._ended.add(before.address or before.peer.key)

    def _explained(self, status: PeerStatus) -> PeerStatus:
        """With a reason where the daemon gives none: what was refused since the session was lost."""
        name, now = name_of(status), status.refusals
        if status.established:
            self._refusals.pop(name, None)
            return status
        before = self._refusals.setdefault(name, now)
        if now.by_peer < before.by_peer or now.by_daemon < before.by_daemon:  # the peer was added anew
            before = self._refusals[name] = Refusals()
        reason = status.reason or refusal(
            status, now.by_peer - before.by_peer, now.by_daemon - before.by_daemon
        )
        return replace(status, reason=reason)

    async def end(self, session: Session, names: Collection[str]) -> None:
        """Ends their sessions by removing them, so that they forget what they were told; `close` adds them again."""
        for status in self.found:
            if not status.group and status.peer.key in names:
                await session.remove_peer(status)
                self._up.pop(status.peer.key, None)
                log.warning("peer removed to take back its exports", peer=status.peer.key)
        for group in await session.dynamic_peers():
            if group.name in names:
                await session.remove_dynamic_peers(group)
                log.warning("peers removed to take back their exports", group=group.name)
        if names:
            await self.read(session)

    async def close(self, session: Session, restarting: bool) -> None:
        """Adds and removes what differs. `restarting`: the daemon has lost what it had."""
        found = await session.dynamic_peers()
        for name in list(self._renew):
            await self._drop(session, name, found)
            self._renew.discard(name)
        wanted = {_key(peer) for peer in _configured(self._config)}
        self.refused = {name: why for name, why in self.refused.items() if name in wanted}
        plan, groups = plan_peers(self._config.peers, self.found), plan_dynamic(self._config.dynamic, found)
        changed = {peer.key for peer in plan.add} & {status.peer.key for status in plan.remove}
        changed |= {group.name for group in groups.add} & {group.name for group in groups.remove}
        for status in plan.remove:
            await session.remove_peer(status)
            self._gone(status.peer.key, changed)
        for group in groups.remove:
            await session.remove_dynamic_peers(group)
            self._gone(group.name, changed)
        new: list[Peer | DynamicPeers] = [*plan.add, *groups.add]
        for one in new:
            await self._add(session, one, restarting, changed)
        if any((plan.add, plan.remove, groups.add, groups.remove)):
            await self.read(session)

    async def _drop(self, session: Session, name: str, groups: list[DynamicPeers]) -> None:
        for status in [status for status in self.found if not status.group and status.peer.key == name]:
            await session.remove_peer(status)
            self.found.remove(status)
            self._up.pop(name, None)
            log.info("peer removed for its new password", peer=name)
        for group in [group for group in groups if group.name == name]:
            await session.remove_dynamic_peers(group)
            groups.remove(group)
            log.info("peers removed for their new password", group=name)

    def _gone(self, name: str, changed: Collection[str]) -> None:
        # Its session ends by our own hand: that is told here and not as a loss.
        self._up.pop(name, None)
        if name not in changed:
            log.info("peer removed", peer=name)

    async def _add(
        self, session: Session, new: Peer | DynamicPeers, restarting: bool, changed: Collection[str]
    ) -> None:
        """One that the daemon refuses must not keep the others out; the next full pass tries again."""
        name = _key(new)
        try:
            if isinstance(new, DynamicPeers):
                await session.add_dynamic_peers(new)
            else:
                await session.add_peer(new, restarting)
        except DaemonRefusedError as error:
            if self.refused.get(name) != str(error):
                log.error("peer refused by gobgpd", peer=name, reason=error)
            self.refused[name] = str(error)
            return
        self.refused.pop(name, None)
        log.info("peer replaced" if name in changed else "peer added", peer=name, asn=new.options.asn)


def refusal(status: PeerStatus, by_peer: int, by_daemon: int) -> str:
    """What it means that a session is refused each time that it is about to begin; empty where it is not."""
    if by_daemon:
        return (
            "gobgpd refuses what the peer says of itself, most often because its AS is not"
            f" {status.peer.options.asn}"
        )
    if by_peer:
        return (
            "the peer refuses what gobgpd says of itself, most often because it has another AS for this node,"
            " or does not know it"
        )
    return ""


def _key(peer: Peer | DynamicPeers) -> str:
    return peer.name if isinstance(peer, DynamicPeers) else peer.key


def _configured(config: Config) -> list[Peer | DynamicPeers]:
    return [*config.peers, *config.dynamic]


def name_of(status: PeerStatus) -> str:
    """What a log calls it: of an interface's neighbour the interface, of a dynamic one its address."""
    return status.peer.key if not status.group else status.address or status.peer.key


def _passwords(config: Config) -> Mapping[str, str]:
    return {_key(peer): peer.options.password for peer in _configured(config)}
