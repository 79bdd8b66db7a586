"""What systemd is told, and the dead man's switch as its unit has it."""

from __future__ import annotations

import asyncio
import configparser
import os
import shlex
import socket
import subprocess
from pathlib import Path

import pytest

from speaker.systemd import heartbeat, notify, set_dead_man, watchdog_seconds

UNITS = Path(__file__).resolve().parents[2] / "examples" / "systemd"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """The end of NOTIFY_SOCKET that is systemd's."""
    path = tmp_path / "notify"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    listener.settimeout(5)
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    return listener


def test_systemd_is_told(told: socket.socket) -> None:
    with told:
        notify("READY=1")
        assert told.recv(100) == b"READY=1"


def test_without_systemd_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("3000000", "", 3.0),
        ("3000000", str(os.getpid()), 3.0),
        ("3000000", "1", None),
        ("", "", None),
        ("0", "", None),
        ("-1", "", None),
        ("x", "", None),
    ],
)
def test_the_watchdog_is_as_systemd_says(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, seconds: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert watchdog_seconds() == seconds


def test_the_heart_beats_while_passes_come_to_an_end(
    told: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    lives = True

    async def beat() -> None:
        nonlocal lives
        task = asyncio.ensure_future(heartbeat(lambda: lives))
        await asyncio.sleep(0.1)
        lives = False
        await asyncio.sleep(0.02)
        told.setblocking(False)
        beats = 0
        while True:
            try:
                assert told.recv(100) == b"WATCHDOG=1"
                beats += 1
            except BlockingIOError:
                break
        assert beats >= 2
        await asyncio.sleep(0.1)
        with pytest.raises(BlockingIOError):
            told.recv(100)
        task.cancel()

    with told:
        asyncio.run(beat())


# ---- the dead man's switch


def switch(directory: Path) -> tuple[subprocess.CompletedProcess[str], str]:
    """Runs what the unit runs, with a fake systemctl and sleep; what they were called with."""
    for name in ("systemctl", "sleep"):
        fake = directory / name
        fake.write_text(f'#!/bin/sh\necho {name} "$@" >>{directory}/calls\n')
        fake.chmod(0o755)
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    text = (UNITS / "anypod-dead-man.service").read_text().replace("\\\n", " ")
    unit.read_string(text)
    command = unit["Service"]["ExecStart"].replace("$$", "$")
    argv = shlex.split(command.replace("/run/anypod/speaker/dead-man", str(directory / "dead-man")))
    path = f"{directory}:{os.environ['PATH']}"
    done = subprocess.run(argv, env={"PATH": path}, capture_output=True, text=True, timeout=10, check=False)
    calls = directory / "calls"
    return done, calls.read_text() if calls.exists() else ""


STOPPED = "systemctl stop anypod-gobgpd.service\n"


@pytest.mark.parametrize(
    ("seconds", "calls"), [(7, f"sleep 7\n{STOPPED}"), (0, ""), (None, f"sleep 300\n{STOPPED}")]
)
def test_gobgpd_is_stopped_after_the_configured_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int | None, calls: str
) -> None:
    monkeypatch.setenv("ANYPOD_DEAD_MAN_FILE", str(tmp_path / "dead-man"))
    if seconds is not None:
        set_dead_man(1)
        set_dead_man(seconds)
    done, called = switch(tmp_path)
    assert (done.returncode, called) == (0, calls)


@pytest.mark.parametrize("content", ["", "\n", "x\n", "7; touch /tmp/x\n", "-3\n", "$(id)\n", "7 8\n"])
def test_what_is_no_number_of_seconds_is_the_default(tmp_path: Path, content: str) -> None:
    (tmp_path / "dead-man").write_text(content)
    done, called = switch(tmp_path)
    assert (done.returncode, called) == (0, f"sleep 300\n{STOPPED}")


def test_without_the_unit_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANYPOD_DEAD_MAN_FILE", raising=False)
    set_dead_man(7)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("ANYPOD_DEAD_MAN_FILE", str(tmp_path / "missing" / "dead-man"))
    set_dead_man(7)
