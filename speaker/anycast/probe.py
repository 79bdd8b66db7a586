"""Asks an endpoint once whether it serves, within its check's timeout."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from speaker.anycast.probes.command import ask_command
from speaker.anycast.probes.errors import ProbeFailedError, from_os
from speaker.anycast.probes.grpc_health import ask_grpc
from speaker.anycast.probes.http import ask_http
from speaker.anycast.probes.stream import connected

if TYPE_CHECKING:
    from speaker.anycast.health import Target


async def ask_tcp(target: Target) -> None:
    """Connects. OSError where nobody takes it."""
    async with connected(target.address, target.check.port):
        pass


_ASK = {"tcp": ask_tcp, "http": ask_http, "https": ask_http, "grpc": ask_grpc, "exec": ask_command}


async def probe(target: Target) -> None:
    """Returns if it serves. ProbeFailedError says in what way it does not, NoVerdictError why it was not asked."""
    try:
        async with asyncio.timeout(target.check.timeout):
            await _ASK[target.check.kind](target)
    except TimeoutError:
        raise ProbeFailedError(f"no answer within {target.check.timeout:g} s") from None
    except OSError as error:
        raise from_os(error) from None
