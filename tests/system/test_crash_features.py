"""ADD and DEL with all that an attachment can have, killed before each system call that the plugin makes itself.

Host ports, bandwidth and protection against forged hardware addresses leave traces in nftables and a second
link, virtual IPs on the pod's `lo`; another IPAM plugin keeps its own list. The interpreter's start is that of
test_crash_known.py. What the plugin started goes on when it dies; the DEL comes when that has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system import injector
from tests.system.crash_rig import Scene, Walk, add, delete, nothing, own_steps
from tests.system.feature_stage import stage_with_delegate, stage_with_features

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.installed import Installation

pytestmark = [
    pytest.mark.skipif(not injector.SUPPORTED, reason="the injector knows the registers of x86-64"),
    pytest.mark.timeout(600),
]
SECONDS = 500
WALKS = {"add": Walk("ADD", nothing, delete), "del": Walk("DEL", add, delete)}


@pytest.fixture(scope="module")
def featured(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Scene]]:
    with stage_with_features(installation.plugin, tmp_path_factory) as made:
        yield made


@pytest.fixture(scope="module")
def delegating(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Scene]]:
    with stage_with_delegate(installation.plugin, tmp_path_factory) as made:
        yield made


def walked(walk: Walk, scenes: list[Scene], least: int) -> None:
    steps = own_steps(walk.record(scenes[0], SECONDS))
    counts = walk.kill(scenes, steps, SECONDS)
    print(f"{walk.verb}: {len(steps)} system calls, {dict(counts)}")
    # A DEL asks until its links are gone: once more when it is recorded than when it is killed, perhaps.
    assert counts["killed"] > 0.9 * len(steps) > least


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS.keys())
def test_a_call_with_ports_bandwidth_spoof_check_and_vips_leaves_nothing_behind_a_del(
    featured: list[Scene], walk: Walk
) -> None:
    walked(walk, featured, 150)


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS.keys())
def test_a_call_whose_addresses_another_plugin_gives_leaves_nothing_behind_a_del(
    delegating: list[Scene], walk: Walk
) -> None:
    walked(walk, delegating, 150)
