"""Waiting for a state by looking until it is there or a deadline has passed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from lab.errors import NotObservedError

if TYPE_CHECKING:
    from collections.abc import Callable

Seen = TypeVar("Seen")

INTERVAL = 0.1  # seconds between two looks


def until(
    look: Callable[[], Seen],
    accept: Callable[[Seen], bool],
    *,
    seconds: float,
    what: str,
    interval: float = INTERVAL,
) -> Seen:
    """Looks until `accept` is satisfied; after `seconds` raises NotObservedError with what was seen last."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if accept(seen):
            return seen
        if time.monotonic() >= deadline:
            raise NotObservedError(f"{what}: not so after {seconds:g} seconds; seen last: {seen}")
        time.sleep(interval)
