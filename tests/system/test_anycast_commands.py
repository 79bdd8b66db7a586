"""Commands as health checks: what they are given, and that nothing that they started outlives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.gobgp_rig import wait
from tests.system.probe_rig import LATE, LOCAL, LOCAL6, VIP, VIP6, processes_with, said

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.system.probe_rig import Probes

    Script = Callable[[str], str]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Writes a script of bash and gives its path."""

    def write(text: str) -> str:
        path = tmp_path / "check"
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return write


@pytest.fixture
def pod(tmp_path: Path) -> str:
    """A name by which the processes of this test are found."""
    return f"dns/{tmp_path.parent.name}-{tmp_path.name}"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("exit 0", "healthy"),
        ("echo much; echo more >&2", "healthy"),
        ("exit 3", "exit status 3"),
        ("echo; echo '  no  answer'; echo more; exit 1", "exit status 1: no answer"),
        ("echo to stderr >&2; exit 1", "exit status 1: to stderr"),
        ("printf '\\xff\\x1b[31m'; exit 1", "exit status 1: \ufffd?[31m"),
        ("kill -SEGV $$", "killed by signal 11"),
        ("read line", "exit status 1"),  # there is no input
    ],
)
def test_the_exit_status_decides(probes: Probes, script: Script, text: str, verdict: str) -> None:
    assert said(probes.ask(f"exec:{script(text)}")) == verdict


def test_arguments_are_its_own_and_no_shell_sees_them(probes: Probes, script: Script) -> None:
    path = script('[[ $# -eq 3 && $1 == "\\$HOME;" && $2 == "*" && $3 == "a=b" ]]')
    assert said(probes.ask(f"exec:{path} $HOME; * a=b timeout=1")) == "healthy"


@pytest.mark.parametrize(("address", "vip"), [(LOCAL, VIP), (LOCAL6, VIP6)])
def test_its_environment_is_small(
    probes: Probes, script: Script, tmp_path: Path, address: str, vip: str
) -> None:
    path = script(
        f"cat /proc/self/environ >{tmp_path}/told; pwd >{tmp_path}/pwd; ls /proc/self/fd >{tmp_path}/fds"
    )
    assert said(probes.ask(f"exec:{path}", address, vip, "dns/a")) == "healthy"
    told = dict(one.split("=", 1) for one in (tmp_path / "told").read_text().split("\0") if one)
    told = {name: value for name, value in told.items() if name not in {"PWD", "SHLVL", "_"}}  # bash's own
    assert told.pop("PATH").startswith("/usr/local/sbin:")
    assert told == {"ANYPOD_VIP": vip, "ANYPOD_ADDRESS": address, "ANYPOD_POD": "dns/a"}
    assert (tmp_path / "pwd").read_text() == "/\n"
    assert (tmp_path / "fds").read_text().split() == ["0", "1", "2", "3"]  # 3 is that of ls


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/nowhere/check", "/nowhere/check can't be run: no such file or directory"),
        ("/etc/passwd", "/etc/passwd can't be run: permission denied"),
        ("/etc", "/etc can't be run: permission denied"),
    ],
)
def test_what_can_not_be_run(probes: Probes, path: str, error: str) -> None:
    assert said(probes.ask(f"exec:{path}")) == error


def test_what_is_no_program(probes: Probes, tmp_path: Path) -> None:
    path = tmp_path / "check"
    path.write_text("neither\n")
    path.chmod(0o755)
    assert said(probes.ask(f"exec:{path}")) == f"{path} can't be run: exec format error"


HANGING = {
    "itself": "trap '' TERM INT HUP; while :; do sleep 60; done",
    "a child that ignores SIGTERM": "(trap '' TERM; while :; do sleep 60; done) & wait",
    "a child in a group of its own": "set -m; sleep 60 & wait",
    "a child in a session of its own": "setsid bash -c \"trap '' TERM; sleep 60 & wait\" & wait",
    "a daemon": "(setsid setsid sleep 60 &) ; sleep 60",
    "stopped": "kill -STOP $$",
    "a crowd": "for n in {1..50}; do setsid sleep 60 & sleep 60 & done; wait",
}


@pytest.mark.parametrize("text", HANGING.values(), ids=HANGING)
def test_a_command_that_hangs_is_killed_with_all_that_it_started(
    probes: Probes, script: Script, pod: str, text: str
) -> None:
    verdict = probes.ask(f"exec:{script(text)} timeout=500ms", pod=pod)
    assert said(verdict, pod) == "no answer within 0.5 s"
    assert verdict.seconds < 0.5 + LATE


@pytest.mark.parametrize("text", HANGING.values(), ids=HANGING)
def test_a_command_whose_probe_is_cancelled_leaves_nothing(
    probes: Probes, script: Script, pod: str, text: str
) -> None:
    verdict = probes.ask(f"exec:{script(text)} timeout=5", pod=pod, patience=0.3, times=3)
    assert said(verdict, pod) == "cancelled"


LEAVING = {
    "a child": "sleep 60 &",
    "a child without output": "sleep 60 >/dev/null 2>&1 &",
    "a child in a session of its own": "setsid sleep 60 & sleep 0.1",
    "a daemon": "(setsid setsid sleep 60 &); sleep 0.1",
}


@pytest.mark.parametrize("text", LEAVING.values(), ids=LEAVING)
@pytest.mark.parametrize("status", [0, 1])
def test_a_command_that_ends_leaves_no_child(
    probes: Probes, script: Script, pod: str, text: str, status: int
) -> None:
    path = script(f"{text}\nexit {status}")
    verdict = probes.ask(f"exec:{path}", pod=pod)
    assert said(verdict, pod) == ("healthy" if status == 0 else "exit status 1")
    assert verdict.seconds < 0.1 + LATE  # it waits for nobody who holds the output open


def test_who_ends_does_not_end_another(probes: Probes, script: Script, pod: str) -> None:
    """Each has a child in a group of its own, and they end one after the other."""
    path = script("set -m; sleep 0.$((RANDOM % 5 + 1)) & wait $!")
    assert said(probes.ask(f"exec:{path} timeout=5", pod=pod, times=20), pod) == "healthy"


@pytest.mark.parametrize("text", ["yes", "exec cat /dev/zero", "yes & yes & wait"])
def test_a_flood_of_output_ends_at_once(probes: Probes, script: Script, pod: str, text: str) -> None:
    verdict = probes.ask(f"exec:{script(text)} timeout=5", pod=pod)
    assert said(verdict, pod) == "more than 65536 bytes of output"
    assert verdict.seconds < LATE


def test_much_output_is_no_fault(probes: Probes, script: Script) -> None:
    assert said(probes.ask(f"exec:{script('head -c 65000 /dev/zero')}")) == "healthy"


def test_many_at_a_time_leave_nothing(probes: Probes, script: Script, pod: str) -> None:
    path = script("sleep 60 & setsid sleep 60 & exit 1")
    assert said(probes.ask(f"exec:{path} timeout=10 interval=10", pod=pod, times=50), pod) == "exit status 1"
    wait("no child", lambda: processes_with(f"ANYPOD_POD={pod}\0") == [], 20)
