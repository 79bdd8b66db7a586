"""Podman with its CNI back-end on a node of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.system.conflist import REFERENCE
from tests.system.pod_image import NAME

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.pod_image import PodImage
    from tests.system.runtime_host import RuntimeHost

CONFIG = """
[containers]
# Podman's own are higher than what may be set everywhere.
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"

[network]
network_backend = "cni"
cni_plugin_dirs = ["{plugins}", "{reference}"]
network_config_dir = "{networks}"
default_network = "{default}"
"""
STORAGE = """
[storage]
driver = "vfs"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"""
BOOT = """
awk '$2 ~ "^/var/lib/containers/" {print $2}' /proc/mounts | xargs --no-run-if-empty umount
rm -r /run/libpod /run/runc /run/containers /dev/shm/*
"""


class Podman:
    """The command with its configuration, and the networks that it knows."""

    def __init__(self, host: RuntimeHost, folder: Path, image: PodImage, default: str) -> None:
        self.host = host
        self.image = image
        self.networks = folder / "networks"
        self.networks.mkdir()
        config, storage = folder / "containers.conf", folder / "storage.conf"
        config.write_text(
            CONFIG.format(
                plugins=host.node.plugin.parent,
                reference=REFERENCE,
                networks=self.networks,
                default=default,
            )
        )
        storage.write_text(STORAGE)
        self.environment = {
            "CONTAINERS_CONF": str(config),
            "CONTAINERS_STORAGE_CONF": str(storage),
            "TMPDIR": "/run/tmp",
        }

    def configure(self, conflist: dict[str, Any]) -> None:
        (self.networks / f"{conflist['name']}.conflist").write_text(json.dumps(conflist))

    def podman(self, *words: str) -> str:
        """The output of a Podman command that must succeed."""
        return self.host.run("podman", *words, env=self.environment).strip()

    def import_image(self) -> None:
        self.podman("import", "--change", 'ENTRYPOINT ["/pod"]', str(self.image.files), NAME)

    def run(self, name: str, *options: str, serve: int = 8080) -> dict[str, Any]:
        """A container that listens; what Podman says of its networks, by their names."""
        start = ["run", "--detach", "--name", name, "--cgroup-parent", self.host.cgroup]
        self.podman(*start, *options, NAME, "serve", str(serve))
        return self.networks_of(name)

    def networks_of(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.podman("inspect", name))[0]["NetworkSettings"]["Networks"]
        return found

    def ask(self, name: str, address: str, port: int, protocol: str = "tcp") -> str:
        """What a server answers to a container: the address it was asked from."""
        return self.podman("exec", name, "/pod", "ask", address, str(port), protocol).strip()

    def lose_pods(self) -> None:
        """Ends every container, and what a boot would take away with them; files stay, as on a disk."""
        self.host.lose_pods()
        self.host.run("bash", "-c", BOOT)

    def remove(self, *names: str) -> None:
        self.podman("rm", "--force", "--time", "0", *names)
