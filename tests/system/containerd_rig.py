"""containerd with its CRI service on a node of its own, and what the kubelet would ask of it."""

from __future__ import annotations

import itertools
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tests.system.conflist import REFERENCE
from tests.system.cri_client import SECONDS, Cri, CriError, compile_definition
from tests.system.pod_image import NAME
from tests.system.runtime_host import Daemon, RuntimeHost, wait

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.system.pod_image import PodImage

SOCKET = "/run/containerd/containerd.sock"
CONFIG = """
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  # Lowering oom_score_adj needs CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    # The others need a file system that they can stack or clone.
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{configurations}"
"""
# Keeps what the runtime hands over, then hands it on.
RECORDER = """#!/bin/bash
call=$(mktemp -d {calls}/$EPOCHREALTIME-XXXXXX)
env -0 >"$call/environment"
cat >"$call/stdin"
exec {plugin} <"$call/stdin"
"""
WIPE = """
awk '$2 ~ "^/run/containerd/" {print $2}' /proc/mounts | xargs --no-run-if-empty umount
rm -r /run/containerd /var/lib/containerd /var/lib/cni/results
"""


class Call:
    """One call of the plugin as containerd made it."""

    def __init__(self, folder: Path) -> None:
        pairs = (folder / "environment").read_text().rstrip("\0").split("\0")
        self.environment = dict(pair.partition("=")[::2] for pair in pairs)
        self.conf: dict[str, Any] = json.loads((folder / "stdin").read_text() or "{}")
        self.verb = self.environment["CNI_COMMAND"]


class Containerd:
    """The daemon, what it is configured with, and the sandboxes it is asked for."""

    def __init__(self, host: RuntimeHost, folder: Path, image: PodImage) -> None:
        self.host = host
        self.folder = folder
        self.image = image
        self.pool = compile_definition(folder)
        self.plugins, self.configurations = folder / "bin", folder / "net.d"
        self.calls = folder / "calls"
        self.log = folder / "containerd.log"
        self.numbers = itertools.count()
        self.daemon: Daemon | None = None
        self.cri: Cri | None = None
        for made in (self.plugins, self.configurations, self.calls):
            made.mkdir()
        # containerd attaches the loopback by a plugin of that name in the same directory.
        for one in REFERENCE.iterdir():
            (self.plugins / one.name).symlink_to(one)
        (self.plugins / "anypod").symlink_to(host.node.plugin)
        config = CONFIG.format(
            socket=SOCKET, image=NAME, plugins=self.plugins, configurations=self.configurations
        )
        (folder / "config.toml").write_text(config)

    def replace_plugin(self, script: str) -> None:
        """From now on, a script is called instead; it may call `{plugin}` and write into `{calls}`."""
        made = self.plugins / "anypod"
        made.unlink()
        made.write_text(script.format(calls=self.calls, plugin=self.host.node.plugin))
        made.chmod(0o755)

    def record(self) -> None:
        """From now on, every call of the plugin is kept."""
        self.replace_plugin(RECORDER)

    def recorded(self, verb: str = "") -> list[Call]:
        """The calls of a verb, or all; the oldest first."""
        calls = [Call(folder) for folder in sorted(self.calls.iterdir())]
        return [call for call in calls if verb in {"", call.verb}]

    def configure(self, conflist: dict[str, Any]) -> None:
        (self.configurations / "10-pods.conflist").write_text(json.dumps(conflist))

    # ---- the daemon

    def start(self) -> None:
        """Starts containerd; back when it serves and has the image."""
        self.daemon = self.host.start(self.log, "containerd", "--config", self.folder / "config.toml")
        self.cri = Cri(self.pool, self.host.path(SOCKET))
        wait("containerd and its network are ready", self._ready, 30)
        self.host.run("ctr", "-a", SOCKET, "-n", "k8s.io", "images", "import", self.image.archive)

    def _ready(self) -> bool:
        assert self.daemon is not None
        assert self.daemon.started.poll() is None, self.log.read_text()[-2000:]
        try:
            conditions = self.call("Status")["status"]["conditions"]
        except CriError:
            return False
        return all(one["status"] for one in conditions)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends the daemon alone: sandboxes go on."""
        assert self.cri is not None
        assert self.daemon is not None
        self.daemon.end(number)
        self.cri.close()

    def wipe(self) -> None:
        """Ends containerd and every pod, and takes all that it knew of them: as if it were installed anew."""
        assert self.cri is not None
        self.cri.close()
        self.host.lose_pods()
        self.host.run("bash", "-c", WIPE)

    def close(self) -> None:
        if self.cri:
            self.cri.close()

    # ---- what the kubelet asks

    def call(self, method: str, seconds: float = SECONDS, **fields: object) -> dict[str, Any]:
        """CriError where containerd refuses, or has not answered by then."""
        assert self.cri is not None
        return self.cri.call(method, seconds, **fields)

    def config(self, **fields: object) -> dict[str, Any]:
        """A sandbox of a pod that no other has."""
        number = next(self.numbers)
        metadata = {"name": f"pod{number}", "uid": f"uid{number}", "namespace": "tests"}
        return {"metadata": metadata, "linux": {"cgroup_parent": self.host.cgroup}} | fields

    def run(self, **fields: object) -> str:
        """A running sandbox; its id."""
        made: str = self.call("RunPodSandbox", config=self.config(**fields))["pod_sandbox_id"]
        return made

    def serve(self, sandbox: str, port: int) -> None:
        """A container in the sandbox, that listens."""
        config = {"metadata": {"name": "server"}, "image": {"image": NAME}, "linux": {}}
        container = self.call(
            "CreateContainer",
            pod_sandbox_id=sandbox,
            config=config | {"args": ["serve", str(port)]},
            sandbox_config=self.config(),
        )
        self.call("StartContainer", **container)

    def status(self, sandbox: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("PodSandboxStatus", pod_sandbox_id=sandbox)["status"]
        return found

    def addresses(self, sandbox: str) -> list[str]:
        """The pod's addresses as the kubelet sees them."""
        network = self.status(sandbox)["network"]
        return [network["ip"], *(one["ip"] for one in network["additional_ips"])]

    def sandboxes(self) -> dict[str, str]:
        """The state of each sandbox that containerd knows."""
        return {one["id"]: one["state"] for one in self.call("ListPodSandbox")["items"]}

    def remove(self, sandbox: str) -> None:
        self.call("StopPodSandbox", pod_sandbox_id=sandbox)
        self.call("RemovePodSandbox", pod_sandbox_id=sandbox)

    def together(self, count: int) -> list[str | CriError]:
        """Asks for many sandboxes at once; the id of each, or why there is none."""

        def attempt(_: int) -> str | CriError:
            try:
                return self.run()
            except CriError as error:
                return error

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(attempt, range(count)))

    def remove_together(self, sandboxes: Iterable[str]) -> None:
        with ThreadPoolExecutor(100) as pool:
            list(pool.map(self.remove, sandboxes))
