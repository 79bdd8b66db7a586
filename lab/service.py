"""A service in a lab: pods on the nodes that have the same virtual IPs, each with a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.load import drive

if TYPE_CHECKING:
    from pathlib import Path

    from lab.processes import Program
    from lab.rig import Lab
    from lab.runtime import Attachment

VERSIONS = (4, 6)
NUMBER = 16  # 198.51.100.16 and 2001:db8:a::10
# The fastest that is sensible where a person waits: out after three failures in a row, in after two good ones.
CHECK = f"http://:{drive.HTTP_PORT}/healthz interval=1 timeout=500ms fast=200ms rise=2 fall=3"


@dataclass(frozen=True, slots=True)
class Service:
    """VIP `number` of a pool, over IPv4 and IPv6."""

    lab: Lab
    pool: str = "shared"
    number: int = NUMBER

    def vip(self, version: int) -> str:
        """The virtual IP of IP version 4 or 6."""
        return str(self.lab.topology.pool(self.pool).address(version, self.number))

    def prefix(self, version: int) -> str:
        """The same as peers are told it."""
        return f"{self.vip(version)}/{32 if version == 4 else 128}"

    def add(self, pod: str, node: str, *, check: str = CHECK, weight: int = 1) -> Attachment:
        """Has the plugin attach a pod that asks for the VIPs, and starts its server."""
        asked: dict[str, object] = {"vips": [self.vip(version) for version in VERSIONS], "weight": weight}
        if check:
            asked["check"] = check
        attachment = self.lab.attach(pod, node, runtime_config={"anycast": asked})
        self.server(attachment).start()
        return attachment

    def server(self, attachment: Attachment) -> Program:
        """The server of a pod; stopped with SIGSTOP it is a pod that hangs."""
        argv = drive.server(attachment.pod, self.health_file(attachment))
        return self.lab.in_pod(attachment, "server", argv)

    def health_file(self, attachment: Attachment) -> Path:
        """Whose word is how a pod's /healthz answers: "ok", "fail" or "hang"."""
        return self.lab.place(attachment.node).directory / f"{attachment.pod}.health"
