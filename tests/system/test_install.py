"""install.sh below a prefix: what it makes, that it stays inside, upgrades under load, repairs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cni.allocation import Allocation
from cni.statefile import now
from cni.store import Store

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("cni", "speaker", "protos", "lab", "packaging", "examples", "install.sh", "pyproject.toml")
TEXTS = ("README.md", "LICENSE", ".gitignore")
ELSEWHERE = ("/etc", "/opt", "/usr/local")
VERSION_CALL = {"CNI_COMMAND": "VERSION", "PATH": os.environ["PATH"]}


@dataclass(frozen=True, slots=True)
class Install:
    """A copy of the source tree, a prefix to install it below, and a place where only strays would appear."""

    tree: Path
    prefix: Path
    strays: Path

    @property
    def plugin(self) -> Path:
        return self.prefix / "opt/cni/bin/anypod"

    @property
    def command(self) -> Path:
        return self.prefix / "usr/local/bin/anypod"

    @property
    def config(self) -> Path:
        return self.prefix / "etc/anypod/speaker.toml"

    def releases(self) -> set[str]:
        return {path.name for path in (self.prefix / "opt/anypod/releases").iterdir()}

    def command_line(self, *options: str) -> list[str]:
        return [str(self.tree / "install.sh"), "--prefix", str(self.prefix), *options]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "XDG_CACHE_HOME": str(self.strays), "TMPDIR": str(self.strays)}

    def run(self, *options: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command_line(*options),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def change_source(self, text: str) -> None:
        with (self.tree / "cni/__init__.py").open("a") as file:
            file.write(f"# {text}\n")

    def version(self) -> dict[str, object]:
        """What the installed plugin answers to VERSION, as a runtime asks it."""
        done = subprocess.run(
            [str(self.plugin)],
            env=VERSION_CALL,
            input='{"cniVersion": "1.0.0"}',
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, object] = json.loads(done.stdout)
        return answer


def state_of(*roots: Path | str) -> dict[str, tuple[int, int, int]]:
    """Every path below, with what changes when it is written or replaced; folders only by name."""
    found = {}
    for root in roots:
        for folder, folders, files in os.walk(root):
            if folder == "/etc/frr":
                folders[:] = [
                    name for name in folders if not name.startswith("anypod-t")
                ]  # tests beside this one
            for name in files:
                path = os.path.join(folder, name)
                stat = os.lstat(path)
                found[path] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            found.update({os.path.join(folder, name): (0, 0, 0) for name in folders})
    return found


def make_install(base: Path) -> Install:
    install = Install(base / "tree", base / "prefix", base / "strays")
    install.tree.mkdir()
    install.strays.mkdir()
    for name in SHIPPED + TEXTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, install.tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, install.tree / name)
    return install


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Install:
    install = make_install(tmp_path_factory.mktemp("install"))
    before = state_of(install.tree, *ELSEWHERE)
    install.run()
    assert state_of(install.tree, *ELSEWHERE) == before, "something was written outside of the prefix"
    assert list(install.strays.iterdir()) == []
    return install


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
