"""A default route that a rack tells of counts only where it is allowed."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import Rig, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

ANNOUNCE = '[announce]\nsubnets = ["10.244.1.0/24"]\n'
DEFAULTS = {"0.0.0.0/0": {"10.99.1.2"}, "::/0": {"fd99:1::2"}}
OTHERS = {"10.50.0.0/16": {"10.99.1.2"}, "fd50::/64": {"fd99:1::2"}}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("default"))
    try:
        rack = rig.rack(1)
        for prefix in (*DEFAULTS, *OTHERS):
            rack.gobgp("global", "rib", "add", prefix, "-a", "ipv6" if ":" in prefix else "ipv4")
        rig.configure([1], ANNOUNCE)
        rig.node.start_gobgpd()
        rig.node.start_speaker()
        wait("both sessions", lambda: rig.node.established() == 2)
        yield rig
    finally:
        rig.close()


def routed(rig: Rig, prefixes: dict[str, set[str]]) -> dict[str, set[str]]:
    return {prefix: rig.node.gateways(prefix) for prefix in prefixes}


def allow(rig: Rig, allowed: bool) -> None:
    rig.configure([1], f"{ANNOUNCE}[accept]\ndefault-route = {str(allowed).lower()}\n")
    rig.node.processes["speaker"].send_signal(signal.SIGHUP)


def test_it_comes_and_goes_with_its_permission_and_the_others_stay(rig: Rig) -> None:
    none: dict[str, set[str]] = {prefix: set() for prefix in DEFAULTS}
    wait("the others", lambda: routed(rig, OTHERS) == OTHERS)
    assert routed(rig, DEFAULTS) == none
    allow(rig, True)
    wait("it is allowed", lambda: routed(rig, DEFAULTS) == DEFAULTS, 10)
    allow(rig, False)
    wait("it is not any more", lambda: routed(rig, DEFAULTS) == none, 10)
    assert routed(rig, OTHERS) == OTHERS
    assert rig.node.established() == 2
    assert rig.node.logged('"route removed" prefix=10.50.0.0/16') == 0
