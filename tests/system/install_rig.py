"""Copies of the source tree that install.sh is run from, below a prefix."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

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


def installed_apart(base: Path) -> Install:
    """One that was run, and has written below its prefix only."""
    install = make_install(base)
    before = state_of(install.tree, *ELSEWHERE)
    install.run()
    assert state_of(install.tree, *ELSEWHERE) == before, "something was written outside of the prefix"
    assert list(install.strays.iterdir()) == []
    return install
