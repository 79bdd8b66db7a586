"""The first ADD of a node, with each system call failing that writes, locks, opens a socket or starts a process.

No space, a broken disk, a read-only file system, no descriptors, no process: also for the nft that is
started. Not struck are the thousands of calls that only load the modules of the set-up. After each failure DEL
runs, then the next ADD must make the node whole and succeed.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.system import injector
from tests.system.crash_rig import Scene, del_add_del, make_bare, stage
from tests.system.fault_rig import FaultWalk, faults, narrowed
from tests.system.test_faults_known import CLASSES as ALL_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.installed import Installation

pytestmark = [
    pytest.mark.skipif(not injector.SUPPORTED, reason="the injector knows the registers of x86-64"),
    pytest.mark.timeout(600),
]
SECONDS = 500
CLASSES = {
    number: wanted for number, wanted in ALL_CLASSES.items() if number not in (errno.ENFILE, errno.ENOBUFS)
}


@pytest.fixture(scope="module")
def scenes(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Scene]]:
    """Nodes that no pod was on yet."""
    with stage(installation.plugin, tmp_path_factory, ipMasq=True) as made:
        yield made


def test_a_first_add_with_any_failing_system_call_is_whole_or_an_error_object(scenes: list[Scene]) -> None:
    walk = FaultWalk("ADD", make_bare, del_add_del)
    classes = {number: narrowed(wanted) for number, wanted in CLASSES.items()}
    found = faults(walk.record(scenes[0], SECONDS), classes)
    counts = walk.fail(scenes, found, SECONDS)
    print(f"first ADD: {len(found)} faults, {dict(counts)}")
    assert counts["failure in the call"] > 100
    assert counts["missed"] < 0.05 * len(found)
