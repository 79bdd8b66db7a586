"""Keeping a session: connected anew whenever it ends, and let go when a call shows that it is worth nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from speaker import follow
from speaker.follow import Follower
from speaker.gobgp.session import DaemonLostError, DaemonRefusedError, Event, Session
from speaker.settings import Api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


class FakeSession:
    """A fake whose subscription lasts until it is told to end."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.closed = False

    async def watch(self) -> AsyncIterator[Event]:
        yield Event(subscribed=True)
        await self.over.wait()
        raise DaemonLostError("it went")

    async def close(self) -> None:
        self.closed = True


class Story:
    """A follower, and what it told."""

    def __init__(self, *troubles: Exception) -> None:
        self.troubles = list(troubles)
        self.sessions: list[FakeSession] = []
        self.events = 0
        self.lost: list[str] = []
        self.follower = Follower(Api("unix:///s"), self.connect, self.heard, self.lost.append)

    async def connect(self, _api: Api) -> Session:
        if self.troubles:
            raise self.troubles.pop(0)
        self.sessions.append(FakeSession())
        return cast("Session", self.sessions[-1])

    def heard(self, _event: Event) -> None:
        self.events += 1

    async def connected(self, times: int) -> None:
        async with asyncio.timeout(5):
            for _ in range(500):
                if self.events >= times:
                    return
                await asyncio.sleep(0.01)


def tell(story: Callable[[Story], Awaitable[None]], *troubles: Exception) -> Story:
    async def run() -> Story:
        told = Story(*troubles)
        task = asyncio.ensure_future(told.follower.run())
        try:
            await story(told)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return told

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "RECONNECT", 0.01)


def test_it_tries_until_somebody_answers() -> None:
    async def story(told: Story) -> None:
        await told.connected(1)
        assert told.follower.session is cast("Session", told.sessions[0])

    told = tell(story, DaemonLostError("nobody"), DaemonRefusedError("no gobgpd"))
    assert told.lost == ["nobody", "no gobgpd"]
    assert told.sessions[0].closed


def test_a_subscription_that_ends_is_followed_by_another() -> None:
    async def story(told: Story) -> None:
        await told.connected(1)
        told.sessions[0].over.set()
        await told.connected(2)
        assert [session.closed for session in told.sessions] == [True, False]

    assert tell(story).lost == ["it went"]


def test_a_session_that_does_not_answer_is_dropped_and_only_that_one() -> None:
    async def story(told: Story) -> None:
        await told.connected(1)
        first = cast("Session", told.sessions[0])
        told.follower.drop(first)
        assert told.follower.session is None
        await told.connected(2)
        told.follower.drop(first)
        await asyncio.sleep(0.05)
        assert told.follower.session is cast("Session", told.sessions[1])

    # Who drops it knows that it is lost.
    assert tell(story).lost == []


def test_what_is_told_while_it_is_deaf_is_heard_afterwards() -> None:
    async def story(told: Story) -> None:
        with told.follower.deaf():
            await asyncio.sleep(0.05)
            assert told.sessions
            assert told.follower.session is None
            assert told.events == 0
        await told.connected(1)

    tell(story)
