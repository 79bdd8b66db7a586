"""Calls of the installed plugin at the price of a fork: its modules are loaded once; zygote_main.py has how."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.injector import Ended

if TYPE_CHECKING:
    from collections.abc import Mapping

MAIN = Path(__file__).with_name("zygote_main.py")


def installed(plugin: Path) -> tuple[str, str]:
    """The interpreter and the modules of the installed executable."""
    lines = plugin.read_text().splitlines()
    site = next(line for line in lines if line.startswith("sys.path.insert(0, "))
    return lines[0].removeprefix("#!").split()[0], site.partition("'")[2].rpartition("'")[0]


class Zygote:
    """Lives in the network namespace that the caller is in; may write to one directory only."""

    def __init__(self, plugin: Path, writable: Path, boot: Path | None = None) -> None:
        self._plugin = plugin
        interpreter, site = installed(plugin)
        argv = [interpreter, "-IS", str(MAIN), site, str(writable), *([str(boot)] if boot else [])]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def call(self, env: Mapping[bytes, bytes], stdin: bytes) -> Ended:
        """One call of the plugin, by a fork."""
        return self._ask("", env, stdin)

    def execute(self, env: Mapping[bytes, bytes], stdin: bytes) -> Ended:
        """One call of the executable itself, with the same things in sight."""
        return self._ask(str(self._plugin), env, stdin)

    def _ask(self, plugin: str, env: Mapping[bytes, bytes], stdin: bytes) -> Ended:
        pickle.dump((plugin, dict(env), stdin), self._requests, protocol=4)
        self._requests.flush()
        status, stdout, stderr = pickle.load(self._answers)  # noqa: S301 - from our own process
        return Ended(status, stdout, stderr, hit=False)

    def close(self) -> None:
        """Ends it, and with it all that still runs there."""
        self._requests.close()
        self._process.wait(30)
        self._answers.close()


def encoded(env: Mapping[str, str]) -> dict[bytes, bytes]:
    """An environment as a process has it."""
    return {key.encode(): value.encode() for key, value in env.items()}
