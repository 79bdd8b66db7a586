"""The commands that show a node, asked as an operator does: on a node at work, and on one whose daemons are dead."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from lab import rig
from lab.plan import plan
from lab.service import Service
from lab.topology import Layout, RackKind
from lab.waiting import until
from tests.system.conftest import unique_name
from tests.system.operator_rig import Operator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.installed import Installation
    from lab.rig import Lab
    from lab.runtime import Attachment

NODE = "node1"


@pytest.fixture(scope="module")
def lab(installation: Installation) -> Iterator[Lab]:
    """Two clusters under a spine; both families of each node's session are up, and its pods serve."""
    made = rig.Lab(plan(unique_name(), RackKind.FRR, Layout.ANYCAST), installation)
    try:
        made.up()
        yield made
    finally:
        rig.down(made.topology.name)


@pytest.fixture(scope="module")
def pods(lab: Lab) -> list[Attachment]:
    service = Service(lab)
    return [service.add("one", NODE), service.add("two", NODE)]


def _until_well(operator: Operator, *words: str) -> None:
    until(
        lambda: operator.run(*words).returncode,
        lambda status: status == 0,
        seconds=45,
        what=f"anypod {' '.join(words)}",
    )


@pytest.fixture(scope="module")
def operator(lab: Lab, pods: list[Attachment]) -> Operator:
    assert len(pods) == 2
    operator = Operator(lab, NODE)
    # The sessions first, then what comes over them, of both families.
    _until_well(operator, "status")
    for target in ("10.244.2.0/24", "fd00:10:244:2::/64", "192.0.2.50"):
        _until_well(operator, "explain", target)
    return operator


def test_status_is_well_and_says_so_in_every_form(operator: Operator) -> None:
    found = operator.json("status")
    assert found["well"]
    parts = {one["part"]: one["detail"] for one in found["parts"]}
    assert parts["peers"] == "2 of 2 established"
    assert parts["virtual IPs"] == "2: 2 announced"
    text = operator.run("status").stdout
    assert len(text.splitlines()) == len(parts)
    assert "\x1b" not in text
    assert operator.run("status", "-o", "yaml").stdout.startswith("well: true\n")


def test_peers(operator: Operator) -> None:
    rows = operator.json("peers")
    assert {(row["description"], row["state"], row["asn"]) for row in rows} == {
        ("rack1", "established", 65010)
    }
    (one,) = operator.json("peers", rows[0]["address"])
    assert one["advertised"] > 0
    assert operator.run("peers", "nobody").returncode == 1


def test_routes(operator: Operator, pods: list[Attachment]) -> None:
    found = operator.json("routes")
    announced = {row["prefix"]: row for row in found["announced"]}
    vip = Service(operator.lab).prefix(4)
    assert announced["10.244.1.0/24"]["announcement"] == "subnets"
    assert (announced[vip]["announcement"], announced[vip]["in_gobgpd"]) == ("shared", True)
    learned = {row["prefix"]: row["state"] for row in found["learned"]}
    assert learned["192.0.2.48/28"] == "installed"
    via = {row["via"] for row in found["kernel"] if row["prefix"] == vip and row["protocol"] == 178}
    assert via == {pod.address(4) for pod in pods}
    (route,) = (row for row in operator.json("routes", "kernel", "192.0.2.50") if row["kind"] == "unicast")
    assert (route["prefix"], route["via"], route["dev"]) == ("192.0.2.48/28", "192.0.2.17", "uplink")
    assert operator.run("routes", "announced", "203.0.113.99").returncode == 1


def test_allocations(operator: Operator, pods: list[Attachment]) -> None:
    rows = operator.json("allocations")
    assert [row["addresses"] for row in rows] == [list(pod.addresses) for pod in pods]
    (one,) = operator.json("allocations", pods[1].address(6))
    assert one == next(row | {"age": one["age"]} for row in rows if row["container"] == one["container"])
    ranges = operator.json("allocations", "--ranges")
    assert {(row["range"], row["used"], row["size"]) for row in ranges if ":" not in row["range"]} == {
        ("10.244.1.1-10.244.1.254", 2, 253)
    }


def test_vips(operator: Operator, pods: list[Attachment]) -> None:
    rows = operator.json("vips")
    assert [(row["vip"], row["state"], row["serving"]) for row in rows] == [
        ("198.51.100.16", "announced", 2),
        ("2001:db8:a::10", "announced", 2),
    ]
    text = operator.run("vips", "198.51.100.16").stdout.splitlines()
    assert text[0].split() == ["VIP", "POD", "ADDRESS", "WEIGHT", "HEALTH", "DRAIN", "CHECK", "ERROR"]
    assert [line.split()[2] for line in text[1:]] == [pod.address(4) for pod in pods]
    assert operator.run("vips", "198.51.100.99").returncode == 1


def test_everything_is_explained_and_well(operator: Operator, pods: list[Attachment]) -> None:
    targets = ["198.51.100.16", "2001:db8:a::10", pods[0].address(4), pods[0].address(6), "10.244.1.0/24"]
    targets += ["192.0.2.50", "192.0.2.48/28", "10.244.2.0/24", f"{operator.lab.topology.name}-one"]
    for target in targets:
        found = operator.explained(target)
        assert found["well"], found
        assert found["cause"] == ""
    assert operator.run("explain", "203.0.113.99").returncode == 1
    assert operator.explained("nosuchpod")["steps"][-1]["step"] == "allocation"


def test_doctor_finds_no_error(operator: Operator) -> None:
    assert [one for one in operator.errors() if one["level"] == "error"] == []
    done = operator.run("doctor", "--problems")
    assert (done.returncode, "✓" in done.stdout) == (0, False)


def test_top_shows_what_changes(operator: Operator) -> None:
    done = operator.run("top", "--count", "2", "--interval", "0.2")
    assert done.returncode == 0
    assert done.stdout.count("AS 65001") == 2
    assert "198.51.100.16" in done.stdout


def test_a_terminal_gets_colours_unless_it_does_not_want_them(operator: Operator) -> None:
    """util-linux's script is a terminal."""
    for setting, coloured in (("TERM=xterm", True), ("NO_COLOR=1", False), ("TERM=dumb", False)):
        command = " ".join([*operator.start, "vips", "--endpoints"])
        done = subprocess.run(
            ["env", "TERM=xterm", setting, "script", "-qec", command, "/dev/null"],
            capture_output=True,
            timeout=60,
            check=False,
            env=operator.environment,
        )
        assert (b"\x1b[3" in done.stdout) == coloured, done.stdout
        assert b"2001:db8:a::10" in done.stdout


def test_when_the_daemons_are_dead_the_commands_still_say_what_they_know(operator: Operator) -> None:
    lab = operator.lab
    try:
        _kill(lab, "speaker")
        assert [row["state"] for row in operator.json("peers", status=1)] == ["established"] * 2
        learned = operator.json("routes", "learned", status=1)
        assert "192.0.2.48/28" in {row["prefix"] for row in learned}
        assert {row["state"] for row in operator.json("vips", status=1)} == {"unknown"}
        parts = {one["part"]: one for one in operator.json("status", status=1)["parts"]}
        assert (parts["speaker"]["state"], parts["gobgpd"]["state"]) == ("error", "ok")
        _kill(lab, "gobgpd")
        parts = {one["part"]: one for one in operator.json("status", status=1)["parts"]}
        assert (parts["gobgpd"]["state"], parts["pods"]["detail"]) == ("error", "2 attachments")
        told = operator.run("peers")
        assert told.returncode == 1
        assert "systemctl start" in told.stderr
        assert operator.json("allocations")
        assert operator.json("routes", "kernel", "198.51.100.16")
    finally:
        for name in ("gobgpd", "speaker"):
            if lab.program(NODE, name).pid() is None:
                lab.program(NODE, name).start()


def _kill(lab: Lab, name: str) -> None:
    pid = lab.program(NODE, name).pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(
        lambda: lab.program(NODE, name).pid(),
        lambda found: found is None,
        seconds=10,
        what=f"the end of {name}",
    )
