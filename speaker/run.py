"""The process around the loop: signals, logging, systemd, and who may look at it."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from typing import TYPE_CHECKING

from cni.reader import StateReader
from speaker import log
from speaker.anycast.anycast import Anycast
from speaker.anycast.checker import Checker
from speaker.anycast.drainfile import DrainFile
from speaker.anycast.keeper import Keeper
from speaker.claim import TakenError, claim
from speaker.config.speaker_toml import ConfigError
from speaker.gobgp.connect import connect
from speaker.history import History
from speaker.kernel.fib import Fib
from speaker.kernel.vips import VipTable
from speaker.md5 import Md5Watch
from speaker.reconcile import Speaker
from speaker.reload import Reload
from speaker.report import Report
from speaker.statefile import Pods
from speaker.status import StatusSocket, document
from speaker.systemd import heartbeat, notify, set_dead_man
from speaker.web import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from speaker.settings import Config

# A large table is hundreds of thousands of values without a cycle. By its usual thresholds the collector looks at them
# again and again while they are made: that is a third of the time.
COLLECT = 100_000, 20, 50
MISTAKEN = 2  # exit status: the configuration has to be changed


def run_speaker(load: Callable[[], Config], log_level: str) -> int:
    """Runs until SIGTERM or SIGINT; the exit status. `load` reads the configuration, now and when it changes."""
    log.set_up(log_level, sys.stderr)
    gc.set_threshold(*COLLECT)
    try:
        config = load()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return MISTAKEN
    try:
        with claim(config.api.target, config.state_dir):
            return _with_kernel(load, config)
    except TakenError:
        log.error(
            "another speaker steers this gobgpd",
            api=config.api.target,
            state_dir=config.state_dir,
            fix="stop it, or give each speaker a gobgpd and a state.dir of its own",
        )
        return 1


def _with_kernel(load: Callable[[], Config], config: Config) -> int:
    try:
        fib = Fib(config.kernel)
        vips = VipTable(config, fib.port)
    except OSError as error:
        log.error("no netlink socket", reason=error)
        return 1
    status = 0
    try:
        asyncio.run(_with_checks(load, config, fib, vips))
    except* OSError as errors:
        log.error("speaker failed", reason=errors.exceptions[0])
        status = 1
    finally:
        fib.close()
        vips.close()
    return status


async def _with_checks(load: Callable[[], Config], config: Config, fib: Fib, vips: VipTable) -> None:
    pods = Pods(StateReader(config.state_dir) if config.follow_state else None)
    checker = Checker(lambda: keeper.news())  # noqa: PLW0108 - it is made in the next line
    keeper = Keeper(Anycast(config, vips, checker), vips, pods, DrainFile(config.state_dir))
    try:
        await _run(load, Speaker(config, connect, fib, pods, keeper, Report(config.state_dir)), checker)
    finally:
        await checker.close()


async def _run(load: Callable[[], Config], speaker: Speaker, checker: Checker) -> None:
    config, history = speaker.config, History()
    log.follow(history.note)
    reload = Reload(load, config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, speaker.stop)
    loop.add_signal_handler(signal.SIGHUP, reload.demand)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # one that came earlier counts from here
    status = StatusSocket(config.state_dir, speaker, lambda: document(speaker, reload, md5.reasons))
    md5 = Md5Watch()
    web = WebServer(speaker, reload, md5, history)

    async def use(changed: Config) -> None:
        speaker.use(changed)
        set_dead_man(changed.dead_man)
        await web.listen(changed.metrics)

    log.info("speaker started", asn=config.bgp.asn, peers=len(config.peers))
    set_dead_man(config.dead_man)
    await web.listen(config.metrics)
    work = (reload.run(use), status.run(), md5.run(speaker), checker.run(), heartbeat(speaker.lives))
    try:
        # If one of them fails, all end: a speaker that half works would look as if it did.
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(one) for one in work]
            await speaker.run(lambda: notify("READY=1"))
            for task in beside:
                task.cancel()
    finally:
        web.close()
    notify("STOPPING=1")
    log.info("speaker stopped", kept="nothing" if reload.config.withdraw_on_stop else "paths and routes")
