"""The table compared beside the loop: what differs is looked at again, and a long one is not listed all the time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, cast

from speaker import audit
from speaker.audit import Audit
from speaker.bgp import Destination, LocalPath
from speaker.gobgp.session import DaemonLostError, DaemonRefusedError

if TYPE_CHECKING:
    import pytest

    from speaker.bgp import Prefix
    from speaker.gobgp.session import Session


def entry(number: int, hop: str = "0.0.0.0") -> Destination:
    prefix = ip_network(f"10.0.{number}.0/24")
    return Destination(prefix, LocalPath(prefix, ip_address(hop)), False, ())


class Listed:
    """A session that lists this, or fails so."""

    def __init__(self, *found: Destination, trouble: Exception | None = None, seconds: float = 0.0) -> None:
        self.found = list(found)
        self.trouble = trouble
        self.seconds = seconds
        self.times = 0

    async def table(self) -> list[Destination]:
        self.times += 1
        await asyncio.sleep(self.seconds)
        if self.trouble:
            raise self.trouble
        return self.found


def audited(known: list[Destination], session: Listed, begins: int = 1) -> tuple[set[Prefix], list[str]]:
    async def run() -> tuple[set[Prefix], list[str]]:
        table = {one.prefix: one for one in known}
        differ: set[Prefix] = set()
        lost: list[str] = []
        made = Audit(lambda: table, differ.update, lambda _, reason: lost.append(reason))
        task = asyncio.create_task(made.run())
        for _ in range(begins):
            made.begin(cast("Session", session))
            await asyncio.sleep(session.seconds + 0.05)
        assert not task.done()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return differ, lost

    return asyncio.run(run())


def test_what_is_as_it_was_told_is_no_news() -> None:
    known = [entry(number) for number in range(5)]
    assert audited(known, Listed(*known)) == (set(), [])


def test_what_differs_is_missing_or_is_unknown_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PIECE", 2)
    differ, _ = audited([entry(1), entry(2), entry(3)], Listed(entry(1), entry(2, "10.9.9.9"), entry(4)))
    assert differ == {entry(number).prefix for number in (2, 3, 4)}


def test_a_daemon_that_does_not_answer_is_told_of_and_one_that_declines_is_not() -> None:
    assert audited([entry(1)], Listed(trouble=DaemonLostError("gone"))) == (set(), ["gone"])
    assert audited([entry(1)], Listed(trouble=DaemonRefusedError("no"))) == (set(), [])


def test_a_long_listing_is_not_repeated_at_once() -> None:
    slow = Listed(seconds=0.1)
    audited([], slow, begins=3)
    assert slow.times == 1
