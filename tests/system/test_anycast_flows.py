"""Both nodes under one rack: connections are shared by pods, and stay with their pod while others come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.anycast import flows, sharing
from bench.anycast.stage import standing
from lab.topology import Layout
from tests.system.conftest import unique_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.anycast.stage import Stage
    from lab.installed import Installation

CONNECTIONS = 10_000
HELD = 300
LIVE = 30


@pytest.fixture(scope="module")
def lab(installation: Installation) -> Iterator[Stage]:
    with standing(installation, Layout.ANYCAST_RACK, unique_name()) as made:
        yield made


@pytest.fixture
def stage(lab: Stage) -> Iterator[Stage]:
    """The lab without pods, before and after."""
    yield lab
    lab.clear()


def test_pods_get_equal_shares_with_link_bandwidth_and_nodes_without(stage: Stage) -> None:
    for row in sharing.share(stage, CONNECTIONS):
        assert (row["failed"], row["wrong source"]) == (0, 0)
        assert float(str(row["off the nodes' shares, %"])) < 10
        if row["pool"] == "shared":
            assert float(str(row["off equal pods, %"])) < 10


def test_only_connections_of_the_pod_that_went_break(stage: Stage) -> None:
    fewer, more = flows.scale(stage, HELD)
    assert fewer["flows before"] == HELD
    assert int(str(fewer["of the pod that went"])) > HELD / 8
    assert fewer["broken of it"] == fewer["of the pod that went"]
    assert int(str(fewer["UDP flows of it moved"])) > HELD / 8
    for row in (fewer, more):
        assert (row["broken of others"], row["UDP flows of others moved"]) == (0, 0)


@pytest.mark.timeout(180)
def test_rolling_update_with_draining_breaks_nothing(stage: Stage) -> None:
    [row] = flows.roll(stage, LIVE, pods=2)
    assert int(str(row["connections"])) > LIVE
    assert (row["broken"], row["not made"]) == (0, 0)
