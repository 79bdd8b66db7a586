"""requireSpeaker: STATUS follows a real speaker, from before its first session to after its death."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.conformance_rig import ask
from tests.system.gobgp_rig import Rig, wait
from tests.system.leak_rig import conf
from tests.system.plugin_node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.installed import Installation

MORE = '[announce]\nsubnets = ["10.244.1.0/24"]\n[timers]\nstale-routes = 60\n'


class Routed:
    """A node with a speaker, a rack that it is to peer with, and the plugin on that node."""

    def __init__(self, rig: Rig, installation: Installation) -> None:
        self.rig = rig
        self.rack = rig.rack(1)
        self.node = rig.node
        self.plugin = Node(installation.plugin, rig.directory / "state", rig.node.ns)
        rig.configure([1], MORE)

    def told(self) -> tuple[int, str]:
        """STATUS's code, 0 for ready, and its message."""
        answer = ask(self.plugin, "STATUS", conf(self.plugin, requireSpeaker=True))
        found: dict[str, Any] = answer.json if answer.stdout else {"code": answer.status, "msg": ""}
        return found["code"], found["msg"]

    def says(self, text: str) -> bool:
        code, message = self.told()
        assert code == 50, message
        return text in message

    def restart_rack(self) -> None:
        """Its daemon starts anew, with a route to tell."""
        self.rack.start_gobgpd("--config-file", str(self.rack.directory / "gobgpd.toml"))
        wait("the rack's neighbours", lambda: len(self.rack.neighbours()) == 2)
        self.rack.gobgp("global", "rib", "add", "10.50.0.0/16", "-a", "ipv4")


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory, installation: Installation) -> Iterator[Routed]:
    rig = Rig(tmp_path_factory.mktemp("routed"))
    routed = Routed(rig, installation)
    try:
        pod = routed.plugin.pod()
        routed.plugin.add("c1", pod, conf(routed.plugin, requireSpeaker=True))
        yield routed
    finally:
        routed.plugin.pods.append(rig.node.ns)
        rig.close()
        routed.plugin.down()


def test_from_before_the_first_session_to_after_the_last(routed: Routed) -> None:
    node = routed.node
    assert routed.says("no speaker reports")
    routed.rack.kill("gobgpd")
    node.start_gobgpd()
    node.start_speaker()
    wait("the speaker's report", lambda: routed.says("none of the speaker's 2 peers is established"))
    routed.restart_rack()
    wait("readiness", lambda: routed.told()[0] == 0)
    # Not before what the rack told is in the kernel.
    assert node.gateways("10.50.0.0/16") == {"10.99.1.2"}
    routed.rack.kill("gobgpd")
    wait("the loss of the rack", lambda: routed.told()[0] == 50, 10)
    assert routed.says("none of the speaker's 2 peers is established")


def test_a_killed_speaker_counts_at_once(routed: Routed) -> None:
    node = routed.node
    if "gobgpd" not in routed.rack.processes:
        routed.restart_rack()
    wait("readiness", lambda: routed.told()[0] == 0)
    node.kill("speaker", signal.SIGKILL)
    assert routed.says("has ended")
    node.start_speaker()
    wait("readiness", lambda: routed.told()[0] == 0)


def test_a_speaker_that_stops_takes_its_report_along(routed: Routed) -> None:
    node = routed.node
    wait("readiness", lambda: routed.told()[0] == 0)
    node.kill("speaker", signal.SIGTERM)
    assert routed.says("no speaker reports")
    node.start_speaker()
    wait("readiness", lambda: routed.told()[0] == 0)


def test_a_daemon_that_dies_counts_too(routed: Routed) -> None:
    node = routed.node
    wait("readiness", lambda: routed.told()[0] == 0)
    node.kill("gobgpd")
    wait("the loss of the daemon", lambda: routed.told()[0] == 50, 10)
    node.start_gobgpd()
    wait("readiness", lambda: routed.told()[0] == 0)


def test_a_report_that_somebody_removes_is_written_again(routed: Routed) -> None:
    wait("readiness", lambda: routed.told()[0] == 0)
    (routed.rig.directory / "state" / "speaker" / "speaker.json").unlink()
    # With the next pass, which any event brings.
    routed.rack.gobgp("global", "rib", "add", "10.51.0.0/16", "-a", "ipv4")
    wait("the report", lambda: routed.told()[0] == 0, 10)
