"""VIPs looked at: endpoints, health, drains and pools on one side, kernel and paths on the other."""

from __future__ import annotations

import io
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from speaker import log
from speaker.anycast.anycast import Anycast
from speaker.anycast.drain import Drain, Scope
from speaker.anycast.health import Health
from speaker.anycast.paths import PREFERENCE
from speaker.bgp import Attributes
from speaker.policy import GRACEFUL_SHUTDOWN
from speaker.settings import Announcement, LoadShare, Pool
from speaker.settings import Anycast as Settings
from tests.unit.anycast_rig import OTHER, VIP, MemoryChecks, MemoryKernel, endpoint
from tests.unit.memory_daemon import CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from speaker.anycast.endpoints import Endpoint

POOL = Pool(
    Announcement("edge", (ip_network("198.51.100.0/24"),), Attributes(med=5)),
    load_share=LoadShare.ENDPOINTS,
    damping=5,
)


class Scene:
    """An Anycast between fakes."""

    def __init__(self, *pools: Pool) -> None:
        self.kernel = MemoryKernel()
        self.checks = MemoryChecks()
        self.config = replace(CONFIG, anycast=Settings(pools=pools, drain=30))
        self.anycast = Anycast(self.config, self.kernel, self.checks)
        self.now = 0.0
        self.endpoints: Sequence[Endpoint] = ()

    def look(self, *drains: Drain) -> list[str]:
        """The VIPs that are announced, worse ones with a minus."""
        self.anycast.look(self.endpoints, drains, self.now, self.now)
        return sorted(
            f"{'-' * (GRACEFUL_SHUTDOWN in path.attributes.communities)}{path.prefix.network_address}"
            for path in self.anycast.paths
        )

    def due(self) -> float | None:
        return self.anycast.due

    def up(self, *numbers: int) -> None:
        self.checks.states = {
            one.key: Health.UP if one.nexthop in numbers else Health.DOWN for one in self.endpoints
        }


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    log.set_up("info", stream)
    yield stream
    log.set_up("error", io.StringIO())


def test_a_vip_follows_the_health_of_its_endpoints() -> None:
    scene = Scene()
    scene.endpoints = (endpoint(1), endpoint(2))
    assert scene.look() == []
    scene.up(1)
    assert scene.look() == [VIP]
    assert scene.kernel.members() == {1: 1}
    scene.up(2)
    assert scene.look() == [VIP]
    assert scene.kernel.members() == {2: 1}
    scene.up()
    assert scene.look() == []
    assert scene.kernel.members() == {}


def test_an_endpoint_without_a_check_serves_at_once() -> None:
    scene = Scene()
    scene.endpoints = (endpoint(1, check=None),)
    assert scene.look() == [VIP]
    assert scene.checks.targets == {}


def test_an_address_is_probed_once_whatever_it_serves() -> None:
    scene = Scene()
    scene.endpoints = (endpoint(1), endpoint(1, OTHER))
    scene.look()
    assert [str(one.vip) for one in scene.checks.targets.values()] == [VIP]


def test_what_was_in_the_kernels_groups_goes_on_serving_after_a_restart() -> None:
    scene = Scene()
    scene.kernel.left = {ip_network(f"{VIP}/32"): frozenset({1})}
    scene.endpoints = (endpoint(1), endpoint(2))
    scene.anycast.adopt()
    scene.look()
    assert scene.checks.adopted == {endpoint(1).key}
    scene.checks.states = {endpoint(1).key: Health.ADOPTED}
    assert scene.look() == [VIP]


def test_what_the_kernel_does_not_reach_is_not_announced(lines: io.StringIO) -> None:
    scene = Scene()
    scene.endpoints = (endpoint(1),)
    scene.up(1)
    scene.kernel.refuses = {1: "no link leads there"}
    assert scene.look() == []
    assert "no link leads there" in lines.getvalue()
    scene.kernel.refuses = {}
    assert scene.look() == [VIP]
    assert lines.getvalue().count('event="endpoint not reached"') == 1
    assert lines.getvalue().count('event="endpoint reached again"') == 1


def test_who_is_not_tried_is_not_reached_again(lines: io.StringIO) -> None:
    """The bridge is down, and the pod fails its checks for that."""
    scene = Scene()
    scene.endpoints = (endpoint(1),)
    scene.up(1)
    scene.kernel.refuses = {1: "the link is down"}
    scene.look()
    for numbers in ((), (1,)):
        scene.up(*numbers)
        scene.look()
    assert lines.getvalue().count('event="endpoint not reached"') == 1
    assert "reached again" not in lines.getvalue()
    scene.up()
    scene.look()
    scene.kernel.refuses = {}
    scene.up(1)
    scene.look()
    assert lines.getvalue().count('event="endpoint reached again"') == 1


def test_a_look_without_news_says_and_changes_nothing(lines: io.StringIO) -> None:
    scene = Scene(POOL)
    scene.endpoints = (endpoint(1), endpoint(2))
    scene.up(1, 2)
    scene.look()
    paths, told, writes = scene.anycast.paths, lines.getvalue(), scene.kernel.writes
    scene.look()
    assert scene.anycast.paths is paths
    assert (lines.getvalue(), scene.kernel.writes) == (told, writes)


def test_each_change_of_a_vip_is_one_line(lines: io.StringIO) -> None:
    scene = Scene()
    scene.endpoints = (endpoint(1),)
    scene.up(1)
    scene.look()
    scene.up()
    scene.look()
    scene.endpoints = ()
    scene.look()
    states = [line.partition("vip=")[2] for line in lines.getvalue().splitlines()]
    assert states == [
        f"{VIP} state=announced endpoints=1",
        f'{VIP} state=withdrawn reason="none of its endpoints here is healthy, of 1"',
        f'{VIP} state="no endpoint here"',
    ]


def test_a_pool_says_how_and_another_vip_is_told_like_a_pod() -> None:
    scene = Scene(POOL)
    scene.endpoints = (endpoint(1), endpoint(2, "203.0.113.7"))
    scene.up(1, 2)
    scene.look()
    found = {str(path.prefix): path.attributes for path in scene.anycast.paths}
    assert found["198.51.100.10/32"] == Attributes(local_pref=PREFERENCE, med=5, link_bandwidth=1_000_000)
    assert found["203.0.113.7/32"] == replace(CONFIG.announce.hosts.attributes, local_pref=PREFERENCE)


def test_a_drain_takes_its_two_steps_by_the_clock() -> None:
    scene = Scene()
    scene.endpoints = (endpoint(1), endpoint(1, OTHER))
    scene.up(1)
    drain = Drain(Scope.VIP, VIP, VIP, 10.0)
    scene.now = 10
    assert scene.look(drain) == [f"-{VIP}", OTHER]
    assert scene.due() == 40
    scene.now = 40
    assert scene.look(drain) == [OTHER]
    assert scene.due() is None
    assert scene.look() == [VIP, OTHER]


def test_a_changed_number_of_endpoints_is_told_when_it_has_stayed() -> None:
    scene = Scene(POOL)
    scene.endpoints = (endpoint(1), endpoint(2))
    scene.up(1, 2)
    scene.look()
    scene.now = 1
    scene.up(1)
    scene.look()
    assert scene.anycast.due == 6
    assert {path.attributes.link_bandwidth for path in scene.anycast.paths} == {2_000_000}
    scene.now = 6
    scene.look()
    assert {path.attributes.link_bandwidth for path in scene.anycast.paths} == {1_000_000}


def test_a_learned_route_may_stand_behind_unless_the_pool_says_no() -> None:
    scene = Scene(replace(POOL, unreachable=True))
    scene.endpoints = (endpoint(1), endpoint(2, "203.0.113.7"))
    scene.up(1, 2)
    scene.look()
    assert scene.anycast.fallbacks() == {ip_network("203.0.113.7/32")}


def test_a_failure_of_the_kernel_is_passed_on_and_what_is_known_is_announced() -> None:
    scene = Scene()
    scene.endpoints = (endpoint(1),)
    scene.up(1)
    scene.look()
    scene.kernel.error = OSError("no buffer space")
    with pytest.raises(OSError, match="no buffer space"):
        scene.look()
    assert {path.prefix.network_address for path in scene.anycast.paths} == {ip_address(VIP)}


def test_another_configuration_is_in_force_from_the_next_look_on() -> None:
    scene = Scene()
    scene.endpoints = (endpoint(1),)
    scene.up(1)
    scene.look()
    scene.anycast.reload(replace(scene.config, anycast=Settings(pools=(POOL,))))
    scene.look()
    assert {path.attributes.med for path in scene.anycast.paths} == {5}
