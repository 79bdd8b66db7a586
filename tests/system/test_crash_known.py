"""ADD, DEL and GC of a node whose network is known, killed before each system call in turn: all of them.

The interpreter's start is part of it. After each death a DEL runs as a runtime would run it, and links,
addresses, nftables and state must be as they were before the call. Where GC cleans up instead, and is killed
itself, the start is left out: it was walked over before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system import injector, syscalls
from tests.system.crash_rig import Scene, Walk, add, collect, delete, nothing, own_steps, stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.installed import Installation
    from tests.system.injector import Step

pytestmark = [
    pytest.mark.skipif(not injector.SUPPORTED, reason="the injector knows the registers of x86-64"),
    pytest.mark.timeout(600),
]
SECONDS = 500


@pytest.fixture(scope="module")
def scenes(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Scene]]:
    """Nodes with a pod attached, and a namespace for another one."""
    with stage(installation.plugin, tmp_path_factory, ipMasq=True, cniVersion="1.1.0") as made:
        for scene in made:
            scene.node.add("warm", scene.node.pods[0], scene.conf)
        yield made


WHOLE = {"add": Walk("ADD", nothing, delete), "del": Walk("DEL", add, delete)}
COLLECTED = {
    "add": Walk("ADD", nothing, collect),
    "del": Walk("DEL", add, collect),
    "gc": Walk("GC", add, collect),
}


def check(walk: Walk, scenes: list[Scene], steps: list[Step]) -> None:
    counts = walk.kill(scenes, steps, SECONDS)
    print(f"{walk.verb}: {len(steps)} system calls, {dict(counts)}")
    # A DEL asks until its links are gone: the one that is recorded may ask more often than those that are killed.
    assert counts["killed"] > 0.9 * len(steps) > 100


@pytest.mark.parametrize("walk", WHOLE.values(), ids=WHOLE.keys())
def test_a_call_killed_before_any_system_call_leaves_nothing_behind_a_del(
    scenes: list[Scene], walk: Walk
) -> None:
    check(walk, scenes, syscalls.steps(walk.record(scenes[0], SECONDS)))


@pytest.mark.parametrize("walk", COLLECTED.values(), ids=COLLECTED.keys())
def test_a_call_killed_before_any_system_call_of_its_own_leaves_nothing_behind_a_gc(
    scenes: list[Scene], walk: Walk
) -> None:
    check(walk, scenes, own_steps(walk.record(scenes[0], SECONDS)))
