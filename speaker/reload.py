"""The configuration while the speaker runs: noticed when its files change, and what of it needs a restart."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from speaker import log
from speaker.config.speaker_toml import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from speaker.settings import Config

# Seconds. A file counts once two looks in a row found it the same: an editor may still be writing.
LOOK = 0.5
# A refused configuration is tried again, also when nothing seems to have changed: a file that it names may come.
RETRY = 10.0

BOTH = "systemctl restart anypod-gobgpd anypod-speaker"
SPEAKER = "systemctl restart anypod-speaker"
# What a running gobgpd or speaker can't change, and which restart it takes.
_FIXED = {
    "bgp": ("bgp", BOTH),
    "api": ("gobgpd", BOTH),
    "state_dir": ("state.dir", SPEAKER),
    "follow_state": ("state.follow", SPEAKER),
}


def changeable(running: Config, new: Config) -> Config:
    """The new configuration with what can't change as it was; the log says what that is."""
    for key, restart in waiting(running, new).items():
        log.warning("not changed before a restart", key=key, fix=restart)
    return replace(new, **{name: getattr(running, name) for name in _FIXED})


def waiting(running: Config, new: Config) -> dict[str, str]:
    """What of the new configuration comes into force by a restart only, and by which."""
    return {
        key: restart
        for name, (key, restart) in _FIXED.items()
        if getattr(running, name) != getattr(new, name)
    }


def differences(running: Config, new: Config) -> list[str]:
    """Names of the parts that differ."""
    return [
        field.name
        for field in fields(new)
        if field.compare and getattr(running, field.name) != getattr(new, field.name)
    ]


class Reload:
    """Loads the configuration when its files change, or when `demand` is called (SIGHUP)."""

    def __init__(self, load: Callable[[], Config], config: Config) -> None:
        self._load = load
        self._demand = asyncio.Event()
        self._seen = self._loaded = _signature(config.files)
        self.config = config
        self.loaded_at = time.time()
        # Why the files are not in force, empty while they are.
        self.refused = ""
        # Keys of the files that are not in force, and the restart that each takes.
        self.waiting: dict[str, str] = {}

    def demand(self) -> None:
        """Loads at once."""
        self._demand.set()

    async def run(self, use: Callable[[Config], Awaitable[None]]) -> None:
        """Until it is cancelled; `use` is given each configuration that differs from the one before."""
        retry_at = 0.0
        while True:
            try:
                async with asyncio.timeout(LOOK):
                    await self._demand.wait()
            except TimeoutError:
                pass
            demanded = self._demand.is_set()
            self._demand.clear()
            late = bool(self.refused) and time.monotonic() >= retry_at
            if demanded or self._has_changed() or late:
                if await self._reload(demanded):
                    await use(self.config)
                retry_at = time.monotonic() + RETRY

    def _has_changed(self) -> bool:
        before, self._seen = self._seen, _signature(self.config.files)
        return self._seen == before and self._seen != self._loaded

    async def _reload(self, demanded: bool) -> bool:
        """Whether there is another configuration now."""
        self._loaded = self._seen = _signature(self.config.files)
        try:
            # A thread: a large file takes a while, and the loop has sessions to look after.
            new = await asyncio.to_thread(self._load)
        except ConfigError as error:
            if str(error) != self.refused or demanded:
                for line in str(error).splitlines():
                    log.error("configuration refused", reason=line, kept="the one before")
            self.refused = str(error)
            return False
        self.waiting = waiting(self.config, new)
        new = changeable(self.config, new)
        changed = differences(self.config, new)
        if changed or demanded or self.refused:
            log.info("configuration loaded", changed=",".join(changed) or "nothing")
        self.refused = ""
        self.loaded_at = time.time()
        # Of a file that was known before, what counts is how it was before it was read.
        self._loaded = self._seen = {
            path: self._loaded.get(path, found) for path, found in _signature(new.files).items()
        }
        self.config = new
        return bool(changed)


def _signature(files: frozenset[str]) -> dict[str, tuple[int, ...] | None]:
    """Changes when one of the files is written, replaced, or gets other permissions."""
    return {path: _stat(path) for path in files}


def _stat(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
