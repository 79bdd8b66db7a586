"""Work spread over processes, each with a node of its own: for tests of thousands of cases."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Owner = TypeVar("Owner")
Result = TypeVar("Result")
WORKERS = max(2, min(8, os.cpu_count() or 2))
_FORK = multiprocessing.get_context("fork")


def spread(
    work: Callable[[Owner, Iterator[Item]], Result],
    owners: Sequence[Owner],
    items: Sequence[Item],
    seconds: float,
) -> list[Result]:
    """Runs `work` once for each owner in a process of its own; whoever is free takes the next item.

    AssertionError with the traceback of the first that failed, or past `seconds`.
    """
    taken = _FORK.Value("q", 0)

    def turns() -> Iterator[Item]:
        while True:
            with taken.get_lock():
                number = taken.value
                taken.value += 1
            if number >= len(items):
                return
            yield items[number]

    def labour(owner: Owner, channel: Any) -> None:
        try:
            channel.send((work(owner, turns()), ""))
        except BaseException:  # noqa: BLE001 - the parent tells of it
            with taken.get_lock():
                taken.value = len(items)
            channel.send((None, traceback.format_exc()))

    return _gather([_start(labour, owner) for owner in owners], seconds)


def _start(labour: Callable[..., None], owner: object) -> tuple[Any, Any]:
    receiver, sender = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=labour, args=(owner, sender), daemon=True)
    process.start()
    sender.close()
    return process, receiver


def _gather(started: list[tuple[Any, Any]], seconds: float) -> list[Any]:
    results = []
    try:
        for _, receiver in started:
            assert receiver.poll(seconds), f"a worker did not end within {seconds} s"
            result, trouble = receiver.recv()
            assert not trouble, trouble
            results.append(result)
    finally:
        for process, receiver in started:
            process.join(2)
            process.kill()
            process.join()
            receiver.close()
    return results
