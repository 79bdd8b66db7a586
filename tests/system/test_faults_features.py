"""ADD and DEL with all that an attachment can have, with each system call failing that does something with it.

The errors are those of test_faults_known.py, for what goes to the kernel, to the state file and to other programs.
Loading modules is left out: it fails there in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system import injector
from tests.system.crash_rig import Scene, add, delete, nothing
from tests.system.fault_rig import FaultWalk, Place, faults, narrowed
from tests.system.feature_stage import stage_with_delegate, stage_with_features
from tests.system.test_faults_known import CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.installed import Installation

pytestmark = [
    pytest.mark.skipif(not injector.SUPPORTED, reason="the injector knows the registers of x86-64"),
    pytest.mark.timeout(600),
]
SECONDS = 500
WALKS = {"add": FaultWalk("ADD", nothing, delete), "del": FaultWalk("DEL", add, delete)}


@pytest.fixture(scope="module")
def featured(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Scene]]:
    with stage_with_features(installation.plugin, tmp_path_factory) as made:
        yield made


@pytest.fixture(scope="module")
def delegating(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Scene]]:
    with stage_with_delegate(installation.plugin, tmp_path_factory) as made:
        yield made


def walked(walk: FaultWalk, scenes: list[Scene]) -> None:
    calls = walk.record(scenes[0], SECONDS)
    classes = {number: narrowed(wanted) for number, wanted in CLASSES.items()}
    found = [one for one in faults(calls, classes) if one.place is Place.CALL and not one.step.child]
    counts = walk.fail(scenes, found, SECONDS)
    print(f"{walk.verb}: {len(found)} faults, {dict(counts)}")
    assert counts["failure in the call"] > 50
    assert counts["missed"] < 0.05 * len(found)


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS.keys())
def test_a_call_with_ports_bandwidth_spoof_check_and_vips_is_whole_or_an_error_object(
    featured: list[Scene], walk: FaultWalk
) -> None:
    walked(walk, featured)


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS.keys())
def test_a_call_whose_addresses_another_plugin_gives_is_whole_or_an_error_object(
    delegating: list[Scene], walk: FaultWalk
) -> None:
    walked(walk, delegating)
