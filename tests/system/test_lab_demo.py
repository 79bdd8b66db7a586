"""The demo as a newcomer runs it: it passes and leaves nothing; it fails when something does not hold."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from lab import leftovers, netns, rig
from lab.cli import lab as lab_commands
from lab.commands import attempt, run
from lab.plan import plan
from lab.topology import RackKind, namespace_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab.installed import Installation
    from lab.rig import Lab

SECONDS = 110.0
DEMO_SECONDS = 120.0  # what a newcomer was promised
PODS_UP = "The CNI plugin brings up"
IPV4_REACHED = "over IPv4"


class Demo:
    """A running `anypod lab demo`, read line by line."""

    def __init__(self, installation: Installation, name: str, *options: str) -> None:
        argv = [*installation.anypod, "lab", "demo", "--name", name, *options]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        self._killer = threading.Timer(SECONDS, self.process.kill)
        self._killer.start()

    def read_until(self, words: str) -> None:
        """Reads until a step with these words has held."""
        for line in self.process.stdout or ():
            self.lines.append(line.rstrip())
            if "✓" in line and words in line:
                return
        pytest.fail("\n".join([f"the demo ended before {words!r} held:", *self.lines]))

    def finish(self) -> int:
        """Reads the rest; returns the exit status."""
        self.lines += [line.rstrip() for line in self.process.stdout or ()]
        status = self.process.wait(SECONDS)
        self.end()
        return status

    def end(self) -> None:
        self._killer.cancel()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(SECONDS)
        if self.process.stdout:
            self.process.stdout.close()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def nothing_is_left(name: str, before: leftovers.Machine) -> None:
    assert leftovers.find(name, before, frozenset()) == ()
    own = namespace_prefix(name)
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = cmdline.read_bytes().decode(errors="replace")
        except OSError:
            continue
        assert own not in words
        assert str(rig.HOME / name) not in words


def test_demo_passes_in_time_and_leaves_nothing(installation: Installation, lab_name: str) -> None:
    before = leftovers.look(lab_name)
    started = time.monotonic()
    demo = Demo(installation, lab_name)
    assert demo.finish() == 0, demo.text
    took = time.monotonic() - started
    print(f"the demo took {took:.1f} s")
    assert took < DEMO_SECONDS
    assert "✗" not in demo.text
    assert "PASSED" in demo.lines[-1]
    for seen in ("hop 4  pod-b", "64 - 3 = 61", "proto", "203.0.113.", "AS 65001"):
        assert seen in demo.text
    nothing_is_left(lab_name, before)


def _no_forwarding(lab: Lab) -> None:
    netns.set_forwarding(lab.namespace("rack"), "0")


def _dead_speaker(lab: Lab) -> None:
    lab.program("node2", "speaker").signal(signal.SIGKILL)


def _address_translation(lab: Lab) -> None:
    # To an address that answers find back to, so that only the receiver can notice.
    chain = "type nat hook postrouting priority 100; ip saddr 10.244.1.0/24 snat to 10.244.1.1;"
    rules = f"table ip sly {{ chain out {{ {chain} }}; }}"
    run(netns.inside(lab.namespace("node1"), ["nft", "-f", "-"]), stdin=rules)


def _tunnel(lab: Lab) -> None:
    namespace = lab.namespace("node1")
    vxlan = ["type", "vxlan", "id", "7", "dstport", "4789", "remote", "192.0.2.34", "dev", "uplink"]
    run(["ip", "-n", namespace, "link", "add", "sly0", *vxlan])
    netns.set_link(namespace, "sly0", "up")


@pytest.mark.parametrize(
    ("after", "sabotage", "failing"),
    [
        (PODS_UP, _no_forwarding, "over IPv4"),
        (IPV4_REACHED, _dead_speaker, "announced by itself"),
        (PODS_UP, _address_translation, "over IPv4"),
        (PODS_UP, _tunnel, "no overlay"),
    ],
    ids=["no forwarding", "dead speaker", "address translation", "tunnel"],
)
def test_demo_fails_when_a_step_does_not_hold_and_leaves_nothing(
    installation: Installation, lab_name: str, after: str, sabotage: Callable[[Lab], None], failing: str
) -> None:
    before = leftovers.look(lab_name)
    demo = Demo(installation, lab_name)
    try:
        demo.read_until(after)
        sabotage(rig.Lab(plan(lab_name, RackKind.GOBGP), installation))
        assert demo.finish() == 1, demo.text
    finally:
        demo.end()
    failed = [line for line in demo.lines if "✗" in line]
    assert len(failed) == 1, demo.text
    assert failing in failed[0]
    assert "FAILED" in demo.lines[-1]
    nothing_is_left(lab_name, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_ended_demo_takes_its_lab_down(
    installation: Installation, lab_name: str, number: signal.Signals
) -> None:
    before = leftovers.look(lab_name)
    demo = Demo(installation, lab_name)
    try:
        demo.read_until(PODS_UP)
        demo.process.send_signal(number)
        assert demo.finish() == 128 + number, demo.text
    finally:
        demo.end()
    assert "Traceback" not in demo.text
    nothing_is_left(lab_name, before)


def test_killed_demo_s_lab_is_removed_by_down(installation: Installation, lab_name: str) -> None:
    before = leftovers.look(lab_name)
    demo = Demo(installation, lab_name)
    try:
        demo.read_until(PODS_UP)
    finally:
        demo.end()
    assert netns.names()
    assert attempt([*installation.anypod, "lab", "down", "--name", lab_name]).status == 0
    nothing_is_left(lab_name, before)


def test_up_status_exec_down(installation: Installation, lab_name: str) -> None:
    before = leftovers.look(lab_name)
    lab = [*installation.anypod, "lab"]
    up = attempt([*lab, "up", "--name", lab_name], seconds=60)
    assert up.status == 0, up.stderr
    again = attempt([*lab, "up", "--name", lab_name])
    assert again.status == 1
    assert f"anypod lab down --name {lab_name}" in again.reason
    status = attempt([*lab, "status", "--name", lab_name])
    assert status.status == 0, status.stderr
    for seen in ("rack", "client", "10.244.1.2", "gobgpd: runs", "speaker: runs"):
        assert seen in status.stdout
    inside = attempt([*lab, "exec", "--name", lab_name, "node1-1", "--", "ip", "-br", "address"])
    assert (inside.status, "10.244.1.2/24" in inside.stdout) == (0, True)
    unknown = attempt([*lab, "exec", "--name", lab_name, "node9", "--", "true"])
    assert unknown.status == 1
    assert "node1" in unknown.reason
    assert attempt([*lab, "down", "--name", lab_name]).status == 0
    nothing_is_left(lab_name, before)
    assert attempt([*lab, "down", "--name", lab_name]).status == 0
    gone = attempt([*lab, "status", "--name", lab_name])
    assert (gone.status, "anypod lab up" in gone.reason) == (1, True)


def test_demo_does_not_touch_a_lab_of_that_name_that_stands(
    installation: Installation, lab_name: str
) -> None:
    rig.Lab(plan(lab_name, RackKind.GOBGP), installation).up()
    before = netns.names()
    demo = Demo(installation, lab_name)
    assert demo.finish() == 1
    assert "is up already" in demo.text
    assert [name for name in before if name.startswith(namespace_prefix(lab_name))] == [
        name for name in netns.names() if name.startswith(namespace_prefix(lab_name))
    ]


def refused(installation: Installation, *arguments: str, env: Mapping[str, str]) -> str:
    """What a command says that must not begin: one line, no traceback."""
    done = attempt([*installation.anypod, "lab", *arguments], env={**os.environ, **env})
    assert done.status == 1
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def test_missing_program_or_plugin_is_said_with_what_to_do(
    installation: Installation, lab_name: str, tmp_path: Path
) -> None:
    for command in ("ip", "nft", "gobgp"):
        (tmp_path / command).symlink_to("/bin/true")
    said = refused(installation, "demo", "--name", lab_name, env={"PATH": str(tmp_path)})
    assert "gobgpd is not installed; install it with: apt-get install gobgpd" in said
    said = refused(installation, "up", "--name", lab_name, env={"ANYPOD_CNI_BIN": str(tmp_path / "none")})
    assert "ANYPOD_CNI_BIN" in said
    assert refused(installation, "up", "--name", "No-Name", env={}).startswith("anypod lab: lab name")


def test_plugin_that_fails_ends_up_and_leaves_nothing(installation: Installation, lab_name: str) -> None:
    before = leftovers.look(lab_name)
    said = refused(installation, "up", "--name", lab_name, env={"ANYPOD_CNI_BIN": "/bin/false"})
    assert "plugin ADD" in said
    nothing_is_left(lab_name, before)


@pytest.mark.parametrize("verb", ["up", "demo", "down"])
def test_root_is_needed_and_said(monkeypatch: pytest.MonkeyPatch, lab_name: str, verb: str) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(os, "geteuid", lambda: 65534)
        done = CliRunner().invoke(lab_commands, [verb, "--name", lab_name])
    assert done.exit_code == 1
    assert "run it with sudo" in done.output
    assert len(done.output.splitlines()) == 1


def test_a_container_that_can_not_hold_a_lab_is_said(monkeypatch: pytest.MonkeyPatch, lab_name: str) -> None:
    """A root that may not set forwarding, where the demo would stop in the middle of its first step."""
    with monkeypatch.context() as changed:
        changed.setattr(rig, "SETTINGS", "/proc/version")
        changed.setattr(os, "access", lambda path, _mode: path != "/proc/version")
        done = CliRunner().invoke(lab_commands, ["demo", "--name", lab_name])
    assert done.exit_code == 1
    assert "privileged container" in done.output
    assert len(done.output.splitlines()) == 1
