"""The configuration while the speaker runs: when it is read again, and what is said."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from speaker import log
from speaker import reload as module
from speaker.bgp import BgpGlobal
from speaker.config.speaker_toml import ConfigError
from speaker.reload import Reload, changeable
from speaker.settings import Api, Config, Kernel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

LOOK = 0.02


class Files:
    """A configuration of two files: the resync in one, dead-man in the other; "broken" is refused."""

    def __init__(self, directory: Path) -> None:
        self.first, self.second = directory / "first", directory / "second"
        self.first.write_text("60")
        self.second.write_text("300")
        self.loads = 0
        self.used: list[Config] = []

    def load(self) -> Config:
        self.loads += 1
        texts = self.first.read_text(), self.second.read_text()
        if "broken" in texts:
            raise ConfigError("first: resync: broken; write a number\nfirst: more")
        return Config(
            BgpGlobal(65001, "10.0.0.1"),
            Api("unix:///s"),
            resync=int(texts[0]),
            dead_man=int(texts[1]),
            files=frozenset({str(self.first), str(self.second)}),
        )

    async def use(self, config: Config) -> None:
        self.used.append(config)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setattr(module, "LOOK", LOOK)
    return Files(tmp_path)


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    log.set_up("info", stream)
    return stream


def follow(files: Files, story: Callable[[Reload], Awaitable[None]]) -> None:
    """Runs the story while the files are followed."""

    async def both() -> None:
        reload = Reload(files.load, files.load())
        task = asyncio.ensure_future(reload.run(files.use))
        try:
            await story(reload)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(both())


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while True:
            if what():
                return
            await asyncio.sleep(LOOK / 4)


@pytest.mark.parametrize("which", ["first", "second"])
@pytest.mark.parametrize("by_renaming", [False, True])
def test_a_change_of_any_file_counts(
    files: Files, stream: io.StringIO, which: str, by_renaming: bool
) -> None:
    path: Path = getattr(files, which)

    async def story(reload: Reload) -> None:
        new = path.with_name("new") if by_renaming else path
        new.write_text("77")
        new.rename(path)
        await until(lambda: files.used)
        assert 77 in {reload.config.resync, reload.config.dead_man}

    follow(files, story)
    assert len(files.used) == 1
    changed = "resync" if which == "first" else "dead_man"
    assert f'event="configuration loaded" changed={changed}\n' in stream.getvalue()


def test_nothing_is_loaded_while_nothing_changes(files: Files) -> None:
    async def story(_reload: Reload) -> None:
        await asyncio.sleep(10 * LOOK)

    follow(files, story)
    assert (files.loads, files.used) == (1, [])


def test_a_file_that_is_still_written_is_waited_for(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.1)

    async def story(reload: Reload) -> None:
        for number in range(70, 90):
            files.first.write_text(str(number))
            await asyncio.sleep(0.02)
        assert files.loads == 1
        await until(lambda: files.used)
        assert reload.config.resync == 89

    follow(files, story)


def test_a_broken_file_is_refused_once_and_the_old_one_stays(files: Files, stream: io.StringIO) -> None:
    async def story(reload: Reload) -> None:
        files.first.write_text("broken")
        await until(lambda: reload.refused)
        assert reload.config.resync == 60
        await asyncio.sleep(5 * LOOK)
        files.first.write_text("61")
        await until(lambda: not reload.refused)
        assert reload.config.resync == 61

    follow(files, story)
    lines = [line.split("level=")[1] for line in stream.getvalue().splitlines()]
    assert [line.split(" kept=")[0] for line in lines[:2]] == [
        'error event="configuration refused" reason="first: resync: broken; write a number"',
        'error event="configuration refused" reason="first: more"',
    ]
    assert lines[2:] == ['info event="configuration loaded" changed=resync']


def test_a_refused_configuration_is_tried_again_without_a_change(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY", 2 * LOOK)
    missing = True

    def load() -> Config:
        if missing:
            raise ConfigError("a file that it names is not there")
        return Files.load(files)

    async def story(reload: Reload) -> None:
        nonlocal missing
        reload._load = load
        reload.demand()
        await until(lambda: reload.refused)
        missing = False
        await until(lambda: not reload.refused)

    follow(files, story)


def test_a_demand_loads_at_once_and_says_that_nothing_changed(
    files: Files, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK", 60.0)

    async def story(reload: Reload) -> None:
        reload.demand()
        await until(lambda: files.loads == 2)
        await until(stream.getvalue)

    follow(files, story)
    assert "changed=nothing" in stream.getvalue()
    assert files.used == []


def test_what_a_running_daemon_cant_change_stays_and_is_named(files: Files, stream: io.StringIO) -> None:
    running = files.load()
    new = replace(running, bgp=BgpGlobal(65002, "10.0.0.1"), kernel=Kernel(metric=7))
    assert changeable(running, new) == replace(running, kernel=Kernel(metric=7))
    assert 'event="not changed before a restart" key=bgp' in stream.getvalue()
    assert "anypod-gobgpd anypod-speaker" in stream.getvalue()


def test_what_waits_for_a_restart_is_known_until_it_is_as_it_was(files: Files) -> None:
    load, asn = files.load, 65002
    files.load = lambda: replace(load(), bgp=BgpGlobal(asn, "10.0.0.1"))  # type: ignore[method-assign]
    reload = Reload(files.load, load())
    asyncio.run(reload._reload(demanded=True))
    assert list(reload.waiting) == ["bgp"]
    assert reload.config.bgp.asn == 65001
    asn = 65001
    asyncio.run(reload._reload(demanded=True))
    assert reload.waiting == {}
