"""Running commands: bounded in time, no shell, failures as one line."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECONDS = 20.0  # no command that the lab waits for takes a tenth of it


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended and what it wrote."""

    status: int
    stdout: str
    stderr: str

    @property
    def reason(self) -> str:
        """What a failed command said about it, in one line."""
        lines = (self.stderr or self.stdout).strip().splitlines()
        return lines[-1] if lines else f"exit status {self.status}"


def attempt(
    argv: Sequence[str], *, stdin: str = "", env: Mapping[str, str] | None = None, seconds: float = SECONDS
) -> Finished:
    """Runs a command and says how it ended; raises only when it cannot be started or takes too long."""
    try:
        done = subprocess.run(
            list(argv), input=stdin, env=env, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(argv)}: no end after {seconds:g} seconds") from None
    except OSError as error:
        raise LabError(f"{argv[0]}: cannot be run: {error.strerror}") from None
    return Finished(done.returncode, done.stdout, done.stderr)


def run(argv: Sequence[str], *, stdin: str = "", seconds: float = SECONDS) -> str:
    """Runs a command that must succeed; returns what it wrote to stdout."""
    done = attempt(argv, stdin=stdin, seconds=seconds)
    if done.status != 0:
        raise LabError(f"{' '.join(argv)}: {done.reason}")
    return done.stdout


def require(commands: Mapping[str, str]) -> None:
    """Refuses to go on when a command is missing; `commands` maps each to the package that has it."""
    for command, package in commands.items():
        if shutil.which(command) is None:
            raise LabError(f"{command} is not installed; install it with: apt-get install {package}")
