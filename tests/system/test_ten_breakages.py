"""Ten ways in which a node breaks, or is broken: each time `explain` or `doctor` names cause and fix."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from lab import rig
from lab.commands import run
from lab.errors import LabError
from lab.plan import plan
from lab.service import Service
from lab.topology import Layout, RackKind
from lab.waiting import until
from tests.system.conftest import unique_name
from tests.system.operator_rig import Operator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.installed import Installation
    from lab.rig import Lab

HERE, THERE = "node1", "node2"
OUTSIDE = "203.0.113.200"
# Seconds: the kernel's counters of wrong passwords are looked at every 5 s, and a peer may be down for 15 s.
PATIENCE = 40


class Scene:
    """Two clusters under a spine. node2 has wrong settings of its peers from the start; node1 is broken by and by."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.service = Service(lab)
        self.here, self.there = Operator(lab, HERE), Operator(lab, THERE)

    def ip(self, member: str, *words: str) -> None:
        run(["ip", "-n", self.lab.namespace(member), *words])

    def vip(self) -> str:
        return self.service.vip(4)

    def kill(self, member: str, program: str) -> None:
        pid = self.lab.program(member, program).pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def refused(self, pod: str, **attach: Any) -> None:
        with pytest.raises(LabError):
            self.lab.attach(pod, HERE, **attach)

    def mistake_peers(self) -> None:
        """node2's rack has another AS than it believes, over IPv4, and no password, over IPv6."""
        file = self.lab.place(THERE).speaker_toml
        secret = file.with_name("rack.password")
        secret.touch(0o600)
        secret.write_text("wrong\n")
        head, first, second = file.read_text().split("[[peer]]\n")
        first = first.replace("asn = 65020", "asn = 65029")
        file.write_text("[[peer]]\n".join([head, first, f'password-file = "{secret}"\n{second}']))


@pytest.fixture(scope="module")
def scene(installation: Installation) -> Iterator[Scene]:
    made = rig.Lab(plan(unique_name(), RackKind.FRR, Layout.ANYCAST), installation)
    try:
        made.up()
        scene = Scene(made)
        scene.mistake_peers()
        scene.service.add("one", HERE)
        until(
            lambda: scene.here.run("status").returncode,
            lambda status: status == 0,
            seconds=45,
            what="node1 is well",
        )
        assert scene.here.run("explain", scene.vip()).returncode == 0
        assert [one for one in scene.here.errors() if one["level"] == "error"] == []
        yield scene
    finally:
        rig.down(made.topology.name)


# ---- how it is broken, and mended again


def shrink(scene: Scene) -> None:
    scene.ip(HERE, "link", "set", "uplink", "mtu", "1400")


def grow(scene: Scene) -> None:
    scene.ip(HERE, "link", "set", "uplink", "mtu", "1500")


def shrink_rack(scene: Scene) -> None:
    scene.ip("rack1", "link", "set", "to-node1", "mtu", "1400")


def grow_rack(scene: Scene) -> None:
    scene.ip("rack1", "link", "set", "to-node1", "mtu", "1500")


def exhaust(scene: Scene) -> None:
    """A network with room for one pod, and two that want to be in it."""
    directory = scene.lab.place(HERE).conflists
    conflist = json.loads((directory / "10-pods.conflist").read_text())
    conflist["name"] = "tiny"
    conflist["plugins"][0] |= {"bridge": "cni9", "ipam": {"ranges": [[{"subnet": "10.250.0.0/30"}]]}}
    file = directory / "10-tiny.conflist"
    file.touch(0o600)
    file.write_text(json.dumps(conflist))
    scene.lab.attach("tiny-1", HERE, "tiny")
    scene.refused("tiny-2", network="tiny")


def ask_outside(scene: Scene) -> None:
    scene.refused("outside", runtime_config={"anycast": {"vips": [OUTSIDE]}})


def _health(scene: Scene, word: str) -> None:
    file = scene.lab.place(HERE).directory / "one.health"
    file.touch(0o600)
    file.write_text(word)


def fail(scene: Scene) -> None:
    _health(scene, "fail")


def recover(scene: Scene) -> None:
    _health(scene, "ok")
    until(
        lambda: scene.here.run("explain", scene.vip()).returncode,
        lambda status: status == 0,
        seconds=20,
        what="health",
    )


def remove_state(scene: Scene) -> None:
    for file in scene.lab.place(HERE).state.glob("state.db*"):
        file.unlink()


def make_state(scene: Scene) -> None:
    """By doing what was told to do."""
    assert scene.here.run("gc").returncode == 0
    assert scene.here.explained(scene.vip())["well"]


def delete_bridge(scene: Scene) -> None:
    scene.ip(HERE, "link", "del", "cni0")


def end_rack(scene: Scene) -> None:
    scene.kill("rack1", "bgpd")


def end_gobgpd(scene: Scene) -> None:
    scene.kill(HERE, "gobgpd")


def nothing(_scene: Scene) -> None:
    """Broken from the beginning, or the last that is done to it."""


@dataclass(frozen=True)
class Break:
    """`target` is what is explained; empty: doctor is asked. `cause` and `fix` are said."""

    way: str
    cause: str
    fix: str
    target: str = ""
    node: str = HERE
    do: Callable[[Scene], None] = nothing
    undo: Callable[[Scene], None] = nothing


VIP = "198.51.100.16"
POD = "10.244.1.2"
NO_ROOM = "range set: 10.250.0.1-10.250.0.2"
NO_POOL = f"{OUTSIDE} is in none of the network's pools"
NO_BRIDGE = "of network pods is gone"
NOBODY = "nobody listens on port 179 of 192.0.2.17"
BREAKS = [
    Break("MTU", "of up to 1500 bytes, and the link uplink", "set uplink mtu 1500", do=shrink, undo=grow),
    Break("MTU beyond", "get lost on the way to 192.0.2.17", "raise the MTU", do=shrink_rack, undo=grow_rack),
    Break("pool exhausted", NO_ROOM, "widen ipam.ranges", "{lab}-tiny-2", do=exhaust),
    Break("pool exhausted: doctor", "of network tiny is exhausted", "widen ipam.ranges"),
    Break("address outside pool", NO_POOL, "add it to anycast.pools", OUTSIDE, do=ask_outside),
    Break("address outside pool: pod", NO_POOL, "add it to anycast.pools", "{lab}-outside"),
    Break("health check", "fails its check http://:8080/healthz", "see to the application", VIP, do=fail),
    Break("health check: doctor", "fails: ", "see to the application", undo=recover),
    Break("state file removed", "state.db is gone while", "anypod gc", POD, do=remove_state),
    Break("state file removed: doctor", "state.db is gone while", "anypod gc", undo=make_state),
    Break("bridge deleted", NO_BRIDGE, "made anew", POD, do=delete_bridge),
    Break("bridge deleted: virtual IP", NO_BRIDGE, "made anew", VIP),
    Break("bridge deleted: doctor", NO_BRIDGE, "made anew"),
    Break("wrong AS", "its AS is not 65029", "peer.asn", "10.244.2.0/24", THERE),
    Break("wrong AS: doctor", "peer 192.0.2.33 (rack2) is down: gobgpd refuses", "peer.asn", node=THERE),
    Break("wrong password", "passwords differ", "peer.password-file", "fd00:10:244:2::/64", THERE),
    Break("wrong password: doctor", "passwords differ", "peer.password-file", node=THERE),
    Break("peer down", NOBODY, "start the BGP daemon", "10.244.1.0/24", do=end_rack),
    Break("peer down: doctor", NOBODY, "start the BGP daemon"),
    Break(
        "gobgpd dead",
        "does not answer at unix:",
        "systemctl restart anypod-gobgpd",
        "10.244.1.0/24",
        do=end_gobgpd,
    ),
    Break("gobgpd dead: doctor", "gobgpd does not answer at unix:", "systemctl restart anypod-gobgpd"),
]


@pytest.mark.parametrize("one", BREAKS, ids=lambda one: one.way)
def test_cause_and_fix_are_named(scene: Scene, one: Break) -> None:
    operator = scene.here if one.node == HERE else scene.there
    target = one.target.format(lab=scene.lab.topology.name)

    def told() -> list[tuple[str, str]]:
        if not target:
            return [(found["what"], found["fix"]) for found in operator.errors()]
        found = operator.explained(target)
        return [(found["cause"], found["fix"])]

    one.do(scene)
    try:
        until(
            told,
            lambda seen: any(one.cause in what and one.fix in fix for what, fix in seen),
            seconds=PATIENCE,
            what=one.way,
        )
    finally:
        one.undo(scene)
