"""What a person sees of the demo: one line for each step, what was observed beneath it, a verdict."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

INDENT = "      "


@dataclass(slots=True)
class Report:
    """Runs steps and says how each went. A step returns what it observed, or raises LabError."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    held: int = 0
    failed: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """A line that is no step."""
        print(text, file=self.out, flush=True)

    def step(self, title: str, action: Callable[[], Iterable[str]]) -> bool:
        """One step; True when it held. Anything but a LabError goes on to the caller, who has to clean up."""
        try:
            observed = list(action())
        except LabError as error:
            self.failed.append(title)
            self.say(f"  ✗ {title}")
            self.detail(str(error).splitlines())
            return False
        self.held += 1
        self.say(f"  ✓ {title}")
        self.detail(observed)
        return True

    def detail(self, lines: Iterable[str]) -> None:
        """Lines beneath a step."""
        for line in lines:
            self.say(f"{INDENT}{line}")

    def verdict(self) -> bool:
        """The last line; True when every step held."""
        seconds = time.monotonic() - self.started
        if self.failed:
            names = "; ".join(self.failed)
            self.say(f"\nFAILED after {seconds:.0f} s: this did not hold: {names}.")
            return False
        self.say(f"\nPASSED: all {self.held} steps held, in {seconds:.0f} s.")
        return True
