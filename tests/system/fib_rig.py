"""A node with two links and the kernel's half of a speaker, which is told what peers would tell."""

from __future__ import annotations

import time
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from speaker.bgp import BgpGlobal, Destination, LearnedPath
from speaker.kernel.routes import Routes
from speaker.settings import Announce, Announcement, Api, Config
from tests.system.gobgp_rig import Member, wait
from tests.system.test_fib_kernel import fib_in

if TYPE_CHECKING:
    from pathlib import Path

    from speaker.bgp import Prefix
    from speaker.kernel.fib import Fib

CONFIG = Config(
    BgpGlobal(65001, "10.99.0.1"),
    Api("unix:///nowhere"),
    announce=Announce(Announcement("subnets", (ip_network("10.244.1.0/24"),))),
)


class Node(Member):
    """A namespace with two links, and the kernel's half of a speaker."""

    def __init__(self, directory: Path, config: Config = CONFIG) -> None:
        super().__init__("hops", directory)
        self.heard: dict[Prefix, Destination] = {}
        self.fib: Fib | None = None
        for number in (1, 2):
            link = f"e{number}"
            self.ip("link", "add", link, "type", "veth", "peer", "name", f"far{number}")
            for name in (link, f"far{number}"):
                # No addresses of the kernel's own, of which it would tell a second later.
                self.ip("link", "set", name, "addrgenmode", "none")
                self.ip("link", "set", name, "up")
            self.ip("address", "add", f"10.99.{number}.1/24", "dev", link)
            self.ip("address", "add", f"fd99:{number}::1/64", "dev", link, "nodad")
        self.fib = fib_in(self.ns, config.kernel)
        self.routing = Routes(config, self.fib)
        self.routing.adopt(0.0)

    def close(self) -> None:
        if self.fib is not None:
            self.fib.close()
        super().close()

    def learn(self, prefix: str, *hops: str) -> None:
        """Tells of a prefix as peers do; without next hops it is withdrawn."""
        net = ip_network(prefix)
        self.heard.pop(net, None)
        if hops:
            self.heard[net] = Destination(net, None, False, tuple(map(path, hops)))

    def sync(self) -> None:
        self.routing.sync(self.heard, {ip_network("10.244.1.0/24")})

    def hears(self, what: str) -> None:
        """Waits for the kernel's word, as the loop does, and follows it."""
        assert self.fib is not None
        wait(what, self.fib.changed, 5)
        self.routing.reread()
        self.sync()

    def settled(self) -> None:
        assert self.fib is not None
        while self.fib.changed():
            pass

    def quiet(self, seconds: float = 1.5) -> None:
        """Until the kernel has told nothing for so long: of a link that came up it may tell a second later."""
        assert self.fib is not None
        until = time.monotonic() + seconds
        for _ in range(100):
            if self.fib.changed():
                until = time.monotonic() + seconds
            if time.monotonic() > until:
                return
            time.sleep(0.1)
        raise AssertionError("the kernel tells of changes again and again")

    def all_routes(self, *words: str) -> str:
        return "".join(self.ip(family, "route", "show", *words) for family in ("-4", "-6"))


def path(hop: str) -> LearnedPath:
    address, _, interface = hop.partition("%")
    return LearnedPath(ip_address(address), hop, 100, 1, 0, 0, True, interface)
