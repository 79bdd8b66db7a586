"""A machine with a booted systemd (systemd-nspawn on a root made by debootstrap) in a namespace of a Rig."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path

from tests.system.gobgp_rig import ROOT, run, wait

PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,gobgpd,frr,iproute2,nftables,procps"
BOOT = 90.0
SOURCE = "/src"  # where the tree is seen inside
CONFIG = "/etc/anypod/speaker.toml"


def make_root(directory: Path) -> None:
    """A minimal system of the distribution that runs here, from the mirror that apt uses here; it takes a minute."""
    mirror = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split()[0]
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(directory), mirror]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise AssertionError(f"debootstrap: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    # For the machine that is a rack; nodes have it and don't run it.
    (directory / "etc/systemd/system/multi-user.target.wants/frr.service").unlink()


class Machine:
    """A system that can be booted: a copy of `root` in `directory`. Its network is that of a namespace."""

    def __init__(self, directory: Path, root: Path, namespace: str, *seen: Path) -> None:
        """`seen`: what it sees of this machine, to read, at the same place; of installations the first."""
        run("cp", "-a", "--reflink=auto", root, directory)
        self.directory = directory
        self._namespace = namespace
        self._seen = seen
        self._log = directory.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    def boot(self) -> None:
        command = [
            "systemd-nspawn",
            *("--quiet", "--register=no", "--keep-unit", "--boot", f"--directory={self.directory}"),
            *(f"--network-namespace-path=/run/netns/{self._namespace}", "--capability=CAP_NET_ADMIN"),
            *(f"--bind-ro={ROOT}:{SOURCE}", *(f"--bind-ro={path}" for path in self._seen)),
        ]
        # A node's root sets sysctls of its network.
        env = {**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
        with self._log.open("ab") as stream:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                env=env,
            )
        wait("init runs", self._find_init, BOOT)
        wait("the system is up", self._is_up, BOOT)

    def _find_init(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"systemd-nspawn ended: {self._log.read_text()[-1000:]}")
        # systemd-nspawn first has another child, which makes the one that becomes init.
        for child in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    self._init = int(child)
        return self._init > 0

    def _is_up(self) -> bool:
        state = self.do("systemctl", "is-system-running", check=False).strip()
        return state in {"running", "degraded"}

    def inside(self, *command: str) -> list[str]:
        """The command line that runs a command inside, as root."""
        spaces = ["-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        return ["nsenter", "-t", str(self._init), *spaces, "--", *command]

    def do(self, *command: str, check: bool = True, stdin: str = "", seconds: float = 30) -> str:
        """The output of a command that is run inside."""
        return run(*self.inside(*command), check=check, stdin=stdin, seconds=seconds)

    def install_units(self, prefix: Path, seconds_to_death: int) -> None:
        """The units as install.sh installs them, and the commands from the prefix; a configuration must be there."""
        # The distribution's unit serves the API to everybody; the package has enabled it.
        self.do("systemctl", "disable", "--now", "gobgpd.service")
        script = (
            'SOURCE=$1 PREFIX= ANYPOD_HOME=/opt/anypod CONFIG=$2; say() { :; }; make_directory() { mkdir -p "$1"; };'
            ' systemd_is_booted() { [[ -d /run/systemd/system ]]; }; . "$1/packaging/files.sh"; install_units'
        )
        self.do("mkdir", "-p", "/usr/local/bin", "/opt/anypod")
        self.do("ln", "-sfn", f"{prefix}/usr/local/bin/anypod", "/usr/local/bin/anypod")
        for unit in ("anypod-speaker", "anypod-gobgpd"):
            drop_in = self.directory / f"etc/systemd/system/{unit}.service.d/test.conf"
            drop_in.parent.mkdir(parents=True, exist_ok=True)
            # The prefix lies below /tmp, and the units have one of their own.
            drop_in.write_text(f"[Service]\nBindReadOnlyPaths={prefix}\n")
        self.do("bash", "-euc", script, "install", SOURCE, CONFIG)
        with (self.directory / CONFIG.lstrip("/")).open("a") as stream:
            stream.write(f"[speaker]\ndead-man = {seconds_to_death}\n")

    def write(self, path: str, text: str, mode: int = 0o600) -> None:
        target = self.directory / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def restarts(self, unit: str) -> int:
        return int(self.do("systemctl", "show", "-P", "NRestarts", unit))

    def capabilities(self, unit: str) -> int:
        """The effective ones, as the kernel's bits."""
        status = self.do("cat", f"/proc/{self.main_pid(unit)}/status")
        found = re.search(r"CapEff:\s*([0-9a-f]+)", status)
        assert found
        return int(found[1], 16)

    def is_active(self, unit: str) -> bool:
        return self.do("systemctl", "is-active", unit, check=False).strip() == "active"

    def main_pid(self, unit: str) -> int:
        return int(self.do("systemctl", "show", "--property=MainPID", "--value", unit))

    def journal(self, unit: str) -> str:
        return self.do("journalctl", "--unit", unit, "--output=cat", "--no-pager")

    def leave(self) -> None:
        """The first half of `reboot`: systemd-nspawn leaves the start to who called it."""
        assert self._process is not None
        self.do("systemctl", "reboot", "--no-block")
        self._process.wait(BOOT)
        self._process, self._init = None, 0

    def stop(self) -> None:
        """Powers off, or kills what does not end."""
        if self._process is None:
            return
        if self._init:
            self.do("systemctl", "poweroff", "--force", "--force", check=False)
        end = time.monotonic() + 20
        while self._process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        self._process.kill()
        self._process.wait(10)
        self._process, self._init = None, 0

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
