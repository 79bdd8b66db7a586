"""The first ADD of a node, killed before each system call that changes something.

Writes, sends, locks, links and removals of files, openings for writing, sockets, processes, namespaces: of
the plugin and of the nft that it starts. Not struck are the thousands of calls that only look: reading
and mapping the modules of the set-up. After each death DEL runs, then the next ADD must make the node
whole and succeed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system import injector, syscalls
from tests.system.crash_rig import Scene, Walk, del_add_del, make_bare, stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.installed import Installation

pytestmark = [
    pytest.mark.skipif(not injector.SUPPORTED, reason="the injector knows the registers of x86-64"),
    pytest.mark.timeout(600),
]
SECONDS = 500


@pytest.fixture(scope="module")
def scenes(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Scene]]:
    """Nodes that no pod was on yet."""
    with stage(installation.plugin, tmp_path_factory, ipMasq=True) as made:
        yield made


def test_a_first_add_killed_before_any_change_leaves_a_node_that_serves(scenes: list[Scene]) -> None:
    walk = Walk("ADD", make_bare, del_add_del)
    steps = syscalls.steps(walk.record(scenes[0], SECONDS), syscalls.changes)
    counts = walk.kill(scenes, steps, SECONDS)
    print(f"first ADD: {len(steps)} system calls that change something, {dict(counts)}")
    assert counts["killed"] > 0.95 * len(steps) > 100
    assert any(step.child for step in steps)
