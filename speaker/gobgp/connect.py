"""Which version of gobgpd's API answers: asked at each connection, since an upgrade may change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speaker.gobgp.channel import Connection, OtherVersionError
from speaker.gobgp.session import DaemonRefusedError
from speaker.gobgp.v3 import GobgpV3
from speaker.gobgp.v4 import GobgpV4

if TYPE_CHECKING:
    from speaker.gobgp.session import Session
    from speaker.settings import Api


async def connect(api: Api) -> Session:
    """A session with the gobgpd that runs now, good until its first DaemonLostError; then close it and connect anew.

    DaemonLostError: nobody answers. DaemonRefusedError: who answers is no gobgpd, or a file for TLS is missing.
    """
    connection = Connection(api)
    try:
        for adapter in (GobgpV4, GobgpV3):
            session = adapter(connection)
            try:
                await session.identity()
            except OtherVersionError:
                continue
            return session
        raise DaemonRefusedError(
            f"{api.target} takes gRPC and is no gobgpd of version 3 or 4; set gobgpd.api to where one listens"
        )
    except BaseException:
        await connection.close()
        raise
