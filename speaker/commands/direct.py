"""gobgpd asked by a command itself, for when the speaker does not answer. Nothing is changed in it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from speaker.bgp import BgpGlobal, Destination, PeerStatus, Prefix
    from speaker.settings import Api, Config

# Seconds for all that is asked.
PATIENCE = 8.0
DEFAULT_API = "unix:///run/anypod/gobgpd/api.sock"


@dataclass(slots=True)
class Gobgpd:
    """What it says; `trouble` in words why it says nothing. `version` is that of its API."""

    api: str
    trouble: str = ""
    version: int = 0
    identity: BgpGlobal | None = None
    peers: list[PeerStatus] = field(default_factory=list)
    table: list[Destination] = field(default_factory=list)


def look(api: Api, prefixes: Collection[Prefix] | None = ()) -> Gobgpd:
    """Asks for the peers and these prefixes; None: all."""
    from speaker.gobgp.session import DaemonLostError, DaemonRefusedError

    found = Gobgpd(api.target)
    try:
        asyncio.run(_ask(api, prefixes, found))
    except TimeoutError:
        found.trouble = f"it does not answer within {PATIENCE:.0f} s"
    except (DaemonLostError, DaemonRefusedError) as error:
        found.trouble = str(error)
    return found


async def _ask(api: Api, prefixes: Collection[Prefix] | None, found: Gobgpd) -> None:
    from speaker.gobgp.connect import connect

    async with asyncio.timeout(PATIENCE):
        session = await connect(api)
        try:
            found.version = 4 if type(session).__name__.endswith("4") else 3
            found.identity = await session.identity()
            if found.identity is not None:
                found.peers = await session.peers()
                if prefixes is None or prefixes:
                    found.table = await session.table(prefixes)
        finally:
            await session.close()


def configuration(path: str) -> Config | str:
    """The node's configuration; in words what is wrong with it. A cluster's file is meant by its [cluster] table."""
    from pathlib import Path

    from speaker.config.checks import ConfigError
    from speaker.config.source import Source

    try:
        is_cluster = any(line.strip() == "[cluster]" for line in Path(path).read_text("utf-8").splitlines())
        return Source(path, cluster=is_cluster).load()
    except ConfigError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"{path} can't be read: {getattr(error, 'strerror', None) or error}"


def api_of(config: Config | str) -> Api:
    """Where gobgpd listens; where the configuration does not say, where the units have it."""
    from speaker.settings import Api

    return Api(DEFAULT_API) if isinstance(config, str) else config.api
