"""install.sh below a prefix: what it makes, that it stays inside, upgrades under load, repairs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.system.install_rig import (
    ROOT,
    VERSION_CALL,
    Install,
    installed_apart,
    make_install,
    state_of,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Install:
    return installed_apart(tmp_path_factory.mktemp("install"))


def test_plugin_and_command_run_from_the_prefix(installed: Install) -> None:
    assert "1.0.0" in str(installed.version()["supportedVersions"])
    done = subprocess.run(
        [installed.command, "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert re.search(r"\b0\.1\.0\b", done.stdout)


def test_launcher_is_short_and_starts_the_distribution_s_interpreter_isolated(installed: Install) -> None:
    lines = installed.plugin.read_text().splitlines()
    assert len(lines) <= 10
    release = (installed.prefix / "opt/anypod/current").resolve()
    assert lines[0] == f"#!{release}/image/python -IS"
    assert re.fullmatch(r"/usr/bin/python3\.\d+", str((release / "image/python").readlink()))
    assert str(release) in installed.plugin.read_text()


def test_plugin_runs_the_image_of_its_release_and_does_without_a_damaged_one(installed: Install) -> None:
    image = (installed.prefix / "opt/anypod/current").resolve() / "image"
    traced = ["strace", "-f", "-e", "trace=openat", str(installed.plugin)]

    def opened() -> str:
        done = subprocess.run(
            traced, env=VERSION_CALL, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
        )
        assert "supportedVersions" in done.stdout
        return str(done.stderr)

    assert f"{image}/start" in opened()
    assert f"{image}/encodings.pyc" in opened()
    assert "site-packages" not in opened()
    assert "/encodings/" not in opened(), "the interpreter's own package"
    start = (image / "start").read_bytes()
    (image / "start").write_bytes(start[:1000])
    try:
        assert "site-packages/cni" in opened()
    finally:
        (image / "start").write_bytes(start)


def test_modules_of_the_release_are_compiled_without_a_check_of_their_source(installed: Install) -> None:
    release = (installed.prefix / "opt/anypod/current").resolve()
    compiled = sorted(release.glob("lib/python3.*/site-packages/cni/__pycache__/*.pyc"))
    sources = sorted(release.glob("lib/python3.*/site-packages/cni/*.py"))
    assert len(compiled) == len(sources) > 0
    # PEP 552: bit 0 says that the file is bound to a hash, bit 1 that the hash is checked.
    assert {int.from_bytes(path.read_bytes()[4:8], "little") for path in compiled} == {0b01}


def test_example_conflist_is_not_one_that_a_runtime_would_load(installed: Install) -> None:
    names = {path.suffix for path in (installed.prefix / "etc/cni/net.d").iterdir()}
    assert names == {".example"}


def test_second_run_changes_nothing(installed: Install) -> None:
    before = state_of(installed.prefix)
    assert "installing" not in installed.run().stdout
    assert state_of(installed.prefix) == before


@dataclass(slots=True)
class Caller:
    """Asks the plugin for VERSION again and again, as runtimes do while an upgrade is under way."""

    install: Install
    calls: int = 0
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self.install.version()
            except (AssertionError, OSError, ValueError) as error:
                self.failures.append(str(error))
            self.calls += 1


def test_upgrade_under_load_fails_no_call_and_keeps_what_operators_wrote(installed: Install) -> None:
    old = installed.releases()
    installed.config.write_text("# mine\n")
    installed.change_source("an upgrade")
    caller = Caller(installed)
    thread = threading.Thread(target=caller.run)
    thread.start()
    try:
        installed.run()
    finally:
        caller.stop.set()
        thread.join()
    assert caller.failures == []
    assert caller.calls > 50
    new = (installed.prefix / "opt/anypod/current").resolve().name
    assert new not in old
    assert installed.releases() == {new} | old, "calls under way may still need the previous release"
    assert installed.config.read_text() == "# mine\n"


def test_killed_install_leaves_the_old_release_at_work_and_the_next_run_repairs(installed: Install) -> None:
    before = (installed.prefix / "opt/anypod/current").resolve()
    launcher = installed.plugin.read_bytes()
    installed.change_source("an upgrade that is killed")
    process = subprocess.Popen(
        installed.command_line(),
        env=installed.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    known = installed.releases()
    deadline = time.monotonic() + 60
    while (
        not (half := installed.releases() - known) and process.poll() is None and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(half) == 1
    assert (installed.prefix / "opt/anypod/current").resolve() == before
    assert installed.plugin.read_bytes() == launcher
    installed.version()

    installed.run()
    assert {(installed.prefix / "opt/anypod/current").resolve().name} == half
    assert installed.releases() == half | {before.name}
    installed.version()


def test_plugin_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    install = make_install(tmp_path)
    install.plugin.parent.mkdir(parents=True)
    install.plugin.write_text("#!/bin/sh\n")
    refused = install.run(status=1)
    assert refused.stderr.count("\n") == 1
    assert f"{install.plugin} exists and is not from this script" in refused.stderr
    assert install.plugin.read_text() == "#!/bin/sh\n"
    assert install.run("--uninstall").stdout.endswith(f"below {install.prefix}\n")
    assert install.plugin.exists()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--prefix"], 2, "--prefix needs a folder"),
        (["--prefix", "/"], 2, "--prefix /"),
        (["--prefx", "prefix"], 2, "unknown option --prefx"),
        (["--force"], 2, "--force goes with --uninstall"),
        (["--prefix", "/proc/anypod"], 1, "cannot make /proc/anypod"),
    ],
)
def test_wrong_usage_is_said_in_one_line(arguments: list[str], status: int, words: str) -> None:
    command = [str(ROOT / "install.sh"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


# packaging/packages.sh with a pretended apt-get, so that no package of this machine changes.
PACKAGES_ALONE = """
set -euo pipefail
SOURCE=$1 POLICY=$2
say() { echo "$*"; }
fail() { echo "$*" >&2; exit 1; }
systemd_is_booted() { false; }
policy=$POLICY
. "$SOURCE/packaging/packages.sh"
POLICY=$policy
trap allow_service_starts EXIT
install_missing a-package
"""
FOREIGN = "#!/bin/sh\nexit 0 # somebody else's\n"


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("ending", ["exit 0", "echo 'E: broken' >&2; exit 100", "kill -TERM $PPID"])
def test_services_may_not_start_while_packages_are_installed(
    tmp_path: Path, ending: str, foreign: bool
) -> None:
    policy = tmp_path / "policy-rc.d"
    if foreign:
        policy.write_text(FOREIGN)
    apt = tmp_path / "bin/apt-get"
    apt.parent.mkdir()
    asked = f'"{policy}" x start; echo $? >>"{tmp_path}/asked"'
    apt.write_text(f'#!/bin/sh\n{asked}\ncase "$*" in *install*) {ending};; esac\n')
    apt.chmod(0o755)
    subprocess.run(
        ["bash", "-c", PACKAGES_ALONE, "bash", str(ROOT), str(policy)],
        env={**os.environ, "PATH": f"{apt.parent}:{os.environ['PATH']}"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert set((tmp_path / "asked").read_text().split()) == {"101"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["asked", "bin"] + ["policy-rc.d"] * foreign
    )
    if foreign:
        assert policy.read_text() == FOREIGN
