"""Minutes of restarts, flaps, edits and pod churn from a printed seed; then everything is as it should be.

ANYPOD_SOAK_SECONDS says how long (600), ANYPOD_SOAK_SEED repeats what a seed has done.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.system import soak_log
from tests.system.soak_chaos import Chaos
from tests.system.soak_equal import kernel, settle
from tests.system.soak_judge import Judge
from tests.system.soak_rig import Soak

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.installed import Installation
    from tests.system.soak_rig import Node

SECONDS = float(os.environ.get("ANYPOD_SOAK_SECONDS", "600"))
SEED = int(os.environ.get("ANYPOD_SOAK_SEED", str(time.time_ns() % 10**9)))
GRACE_SECONDS = 2.0  # the last session's lines
QUIET_SECONDS = 6.0
MORE_DESCRIPTORS = 2
MORE_MEMORY = {"speaker": 4 << 10, "gobgpd": 12 << 10}  # KiB


@pytest.fixture
def soak(tmp_path: Path, installation: Installation) -> Iterator[Soak]:
    soak = Soak(tmp_path, installation.plugin)
    try:
        soak.up()
        yield soak
    finally:
        soak.close()


@pytest.mark.timeout(SECONDS + 400)
def test_after_minutes_of_trouble_everything_is_as_it_should_be(soak: Soak) -> None:
    print(f"repeat with ANYPOD_SOAK_SEED={SEED}")
    chaos = Chaos(soak, SEED)
    try:
        settle(soak)
        chaos.run(SECONDS / 3)
        took = [settle(soak)]
        before = usages(soak)
        chaos.run(SECONDS * 2 / 3)
        took.append(settle(soak))
        after = usages(soak)
        chaos.remove_pods()
        took.append(settle(soak))
        time.sleep(GRACE_SECONDS)
        quiet(soak)
        for node in soak.nodes.values():
            explained(soak, node, chaos)
    except BaseException:
        print("\n".join(chaos.journal))
        raise
    print(f"settled within {max(took):.1f} s; descriptors and KiB: {before}, then {after}")
    for key, (descriptors, memory) in after.items():
        assert descriptors <= before[key][0] + MORE_DESCRIPTORS, (key, before, after)
        assert memory <= before[key][1] + MORE_MEMORY[key[1]], (key, before, after)
    for node in soak.nodes.values():
        assert node.pods.left() == {"links": set(), "held": {}, "namespaces": []}


def usages(soak: Soak) -> dict[tuple[int, str], tuple[int, int]]:
    """Descriptors and resident KiB of the daemons of each node, after they have served everybody."""
    for node in soak.nodes.values():
        node.status()
        node.metrics()
    return {(n, name): node.usage(name) for n, node in soak.nodes.items() for name in MORE_MEMORY}


def quiet(soak: Soak) -> None:
    """Where nothing changes, nothing is logged."""
    sizes = [node.member.log.stat().st_size for node in soak.nodes.values()]
    time.sleep(QUIET_SECONDS)
    assert [node.member.log.stat().st_size for node in soak.nodes.values()] == sizes


def explained(soak: Soak, node: Node, chaos: Chaos) -> None:
    """The log accounts for every route, announcement and session."""
    assert soak.watch is not None
    lines = soak_log.read(node.member.log)
    judge = Judge(node, soak.watch.changes[node.number], lines, chaos)
    complaints = [*judge.routes(), *judge.adopted(), *judge.paths(soak.bird.heard()), *judge.announced()]
    assert complaints == []
    assert judge.replayed() == kernel(node)
    assert soak_log.peers(lines) == node.settings.peers
    print(f"node{node.number}: {dict(+judge.counts)}")
