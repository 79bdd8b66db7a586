"""The process around the loop: signals, logging, systemd."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

from cni.reader import StateReader
from speaker import log
from speaker.fib import Fib
from speaker.gobgp.v3 import GobgpV3
from speaker.reconcile import Speaker
from speaker.report import Report
from speaker.statefile import PodAddresses

if TYPE_CHECKING:
    from speaker.config import Config


def run_speaker(config: Config, log_level: str) -> int:
    """Runs until SIGTERM or SIGINT; the exit status."""
    log.set_up(log_level, sys.stderr)
    try:
        claim = _claim(config.api)
    except OSError:
        log.error(
            "another speaker steers this gobgpd",
            api=config.api,
            fix="stop it, or give each speaker a gobgpd of its own",
        )
        return 1
    with claim:
        return _with_kernel(config)


def _claim(api: str) -> socket.socket:
    """A name that one process at a time can have, and that its end gives back. OSError: it is taken.

    Two speakers of one gobgpd would each withdraw what the other announces, without an end.
    """
    name = hashlib.blake2b(api.encode(), digest_size=16).hexdigest()
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        claim.bind(f"\0anypod-speaker-{name}")
    except OSError:
        claim.close()
        raise
    return claim


def _with_kernel(config: Config) -> int:
    try:
        fib = Fib(config.kernel)
    except OSError as error:
        log.error("no netlink socket", reason=error)
        return 1
    try:
        return asyncio.run(_run(config, fib))
    except OSError as error:
        log.error("speaker failed", reason=error)
        return 1
    finally:
        fib.close()


async def _run(config: Config, fib: Fib) -> int:
    pods = PodAddresses(StateReader(config.state_dir) if config.follow_state else None)
    speaker = Speaker(config, GobgpV3(config.api), fib, pods, Report(config.state_dir))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, speaker.stop)
    log.info("speaker started", asn=config.bgp.asn, peers=len(config.peers))
    await speaker.run(lambda: notify("READY=1"))
    notify("STOPPING=1")
    log.info("speaker stopped", kept="paths and routes")
    return 0


def notify(state: str) -> None:
    """Tells systemd (sd_notify(3)), where it listens; a name that begins with @ is in the abstract space."""
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(state.encode(), "\0" + name[1:] if name.startswith("@") else name)
        except OSError as error:
            log.warning("systemd not notified", reason=error)
