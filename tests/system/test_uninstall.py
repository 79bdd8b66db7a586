"""install.sh --uninstall below a prefix: when it is refused, what it leaves, what it is no harm to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from cni.allocation import Allocation
from cni.statefile import now
from cni.store import Store
from tests.system.install_rig import (
    Install,
    installed_apart,
    state_of,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Install:
    return installed_apart(tmp_path_factory.mktemp("install"))


def test_uninstall_is_refused_while_a_pod_is_attached_or_a_runtime_would_call_the_plugin(
    installed: Install,
) -> None:
    conflist = installed.prefix / "etc/cni/net.d/10-pods.conflist"
    conflist.write_text('{"name": "pods", "plugins": [{"type": "tuning"}, {"type":"anypod"}]}')
    state = installed.prefix / "run/anypod"
    before = state_of(installed.prefix)
    store = Store(str(state))
    store.begin()
    store.attach(Allocation("pods", "container-a", "eth0", "/run/netns/a", "host-a", ()), now())
    store.commit()
    store.close()
    both = installed.run("--uninstall", status=1).stderr
    assert both.startswith("install.sh: 1 pod is attached (container-a); ")
    assert f"{conflist} names the plugin: delete the pods and move {conflist} away" in both
    assert both.count("\n") == 1
    shutil.rmtree(state)
    assert "is attached" not in installed.run("--uninstall", status=1).stderr
    conflist.rename(conflist.with_suffix(".off"))
    state.mkdir()
    (state / "state.db").write_text("no database")
    assert "state.db can't be read" in installed.run("--uninstall", status=1).stderr
    conflist.with_suffix(".off").rename(conflist)
    assert before.items() <= state_of(installed.prefix).items()


def test_uninstall_leaves_only_what_was_edited_and_can_be_repeated(installed: Install) -> None:
    installed.config.write_text("# mine\n")
    conflist = installed.prefix / "etc/cni/net.d/10-pods.conflist"
    assert conflist.exists()
    assert f"edited: {installed.config}" in installed.run("--uninstall", "--force").stdout
    left = {path for path in installed.prefix.rglob("*") if not path.is_dir()}
    assert left == {installed.config, conflist}
    for path in left:
        path.unlink()
    assert "nothing of anypod is installed" in installed.run("--uninstall").stdout


def test_half_an_installation_can_be_removed(tmp_path: Path, installed: Install) -> None:
    install = Install(installed.tree, tmp_path / "made", tmp_path / "strays")
    install.strays.mkdir()
    process = subprocess.Popen(
        install.command_line(), env=install.environment(), stdout=subprocess.DEVNULL, start_new_session=True
    )
    python = install.prefix / "opt/anypod/releases"
    deadline = time.monotonic() + 60
    while not list(python.glob("*/bin/python")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(python.glob("*/bin/python"))
    install.run("--uninstall")
    assert not install.prefix.exists()


def test_uninstall_removes_the_prefix_that_install_made(tmp_path: Path, installed: Install) -> None:
    install = Install(installed.tree, tmp_path / "made/by/install", tmp_path / "strays")
    install.strays.mkdir()
    install.run()
    install.run("--uninstall")
    assert not (tmp_path / "made").exists()
