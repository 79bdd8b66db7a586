"""A rack router that is a booted machine of its own, with FRR as the distribution's unit runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.system.gobgp_rig import wait
from tests.system.machine_rig import Machine
from tests.system.peers_routers import Frr

if TYPE_CHECKING:
    from pathlib import Path

DAEMONS = "etc/frr/daemons"


class BootedFrr(Frr):
    """Its links are those of its namespace, which is the machine's network."""

    def __init__(self, name: str, directory: Path, number: int, root: Path) -> None:
        super().__init__(name, directory, number)
        self.machine = Machine(self.directory / "root", root, self.ns)

    def start_frr(self, config: str, *more: str) -> None:
        assert not more, "bgpd has the options of its unit"
        daemons = self.machine.directory / DAEMONS
        daemons.write_text(daemons.read_text().replace("bgpd=no", "bgpd=yes"))
        self.machine.boot()
        self.machine.write("/etc/frr/frr.conf", config, 0o644)
        self.machine.do("systemctl", "enable", "--now", "frr.service", seconds=60)
        wait("FRR has its configuration", lambda: "router bgp" in self.vtysh("show running-config"), 30)

    def vtysh(self, *commands: str) -> str:
        words = (word for one in commands for word in ("-c", one))
        return self.machine.do("vtysh", *words, check=False)

    def close(self) -> None:
        self.machine.remove()
        super().close()
