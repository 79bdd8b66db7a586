"""A gobgpd steered by the adapter alone, without a speaker, amid FRR routers.

Version 3 is the distribution's; the tests run with a gobgpd of version 4, too, where ANYPOD_GOBGPD_V4 names one.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from speaker.bgp import BgpGlobal, Family, Peer, Policies, Rule, SessionOptions, Source
from speaker.gobgp.connect import connect
from speaker.settings import Api
from tests.system.gobgp_daemons import V4
from tests.system.gobgp_rig import wait
from tests.system.peers_rig import Stage
from tests.system.peers_routers import frr_conf

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from speaker.bgp import PeerStatus
    from tests.system.peers_routers import Frr

T = TypeVar("T")

V4_KIND = "gobgpd-4"
KINDS = ["gobgpd-3", *([V4_KIND] if V4 in os.environ else [])]
DAEMON = BgpGlobal(65001, "10.98.0.1")
BOTH = frozenset(Family)
# What a speaker with one announcement and no rules of peers would put in force.
OPEN = Policies(imports=(Rule(accept=True),), exports=(Rule(accept=True, source=Source.LOCAL),))


def options(asn: int, **more: object) -> SessionOptions:
    """Those of a session that comes up fast, for both families unless said."""
    values = {"families": BOTH, "connect_retry": 1, "hold": 9, "keepalive": 3, **more}
    return SessionOptions(asn, **values)  # type: ignore[arg-type]


@contextmanager
def steered_in(directory: Path, kind: str, own: BgpGlobal = DAEMON) -> Iterator[Steered]:
    """A started gobgpd of one of KINDS, and all of its stage cleared away at the end."""
    steered = Steered(directory, os.environ[V4] if kind == V4_KIND else "gobgpd", own)
    try:
        steered.start()
        yield steered
    finally:
        steered.close()


class Steered:
    """The node of a stage, its gobgpd, and the adapter as a test's own hands."""

    def __init__(self, directory: Path, gobgpd: str, own: BgpGlobal = DAEMON) -> None:
        self.stage = Stage(directory)
        self.node = self.stage.node
        self.node.gobgpd = gobgpd
        self._own = own
        self._runner = asyncio.Runner()

    def start(self) -> None:
        """A new daemon, and an adapter for it."""
        self.node.start_gobgpd()
        self.session = self.do(connect(Api(f"unix://{self.node.socket}")))
        self.do(self.session.start(self._own))

    def do(self, work: Coroutine[object, object, T]) -> T:
        """The result of one call of the adapter."""
        return self._runner.run(work)

    def add(self, peer: Peer, restarting: bool = False) -> None:
        self.do(self.session.add_peer(peer, restarting))

    def status(self, key: str) -> PeerStatus:
        """One peer, by its key or where it was found."""
        return next(one for one in self.do(self.session.peers()) if key in {one.peer.key, one.address})

    def remove(self, key: str) -> None:
        self.do(self.session.remove_peer(self.status(key)))

    def wait_up(self, *keys: str) -> None:
        for key in keys:
            wait(f"the session with {key}", lambda key=key: self.status(key).established)  # type: ignore[misc]

    def close(self) -> None:
        if hasattr(self, "session"):
            self.do(self.session.close())
        self._runner.close()
        self.stage.close()


def rack(steered: Steered, asn: int, *more: str, name: str = "") -> Frr:
    """A running FRR on a link of its own, which knows no neighbour yet; `more` are options of bgpd."""
    router = steered.stage.frr(name or f"frr{asn}")
    router.start_frr(frr_conf(asn, router.number, ""), *more)
    wait("bgpd answers", lambda: "BGP" in router.vtysh("show bgp summary"))
    return router


class Neighbour:
    """One neighbour in an FRR's configuration; it dials once a second. Used as a context."""

    def __init__(self, router: Frr, asn: int, name: str, remote: int, *lines: str) -> None:
        self.router, self.name = router, name
        self._enter = ("configure terminal", f"router bgp {asn}")
        self._lines = (f"remote-as {remote}", "timers connect 1", *lines)

    def __enter__(self) -> Self:
        per_neighbour = [f"neighbor {self.name} {line}" for line in self._lines]
        activate = [
            word
            for version in (4, 6)
            for word in (f"address-family ipv{version} unicast", f"neighbor {self.name} activate", "exit")
        ]
        self.router.vtysh(*self._enter, *per_neighbour, *activate)
        return self

    def __exit__(self, *_: object) -> None:
        self.router.vtysh(*self._enter, f"no neighbor {self.name}")

    def seen(self) -> dict[str, Any]:
        """What FRR says of it."""
        return self.router.neighbour(self.name)
