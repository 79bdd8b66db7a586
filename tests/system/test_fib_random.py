"""Links, addresses and other programs' routes change at random, and so does what peers tell: the kernel keeps up."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from speaker.desired import unreachable_routes
from speaker.kernel.learned import Learned
from speaker.settings import Accept, Kernel
from tests.system.fib_rig import CONFIG, Node
from tests.system.gobgp_rig import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STEPS = 150
SEED = os.environ.get("ANYPOD_FIB_SEED")
TOLD = [
    *(
        "10.50.0.0/16",
        "10.50.1.0/24",
        "10.51.0.0/16",
        "10.99.1.0/24",
        "10.99.1.2/32",
        "10.99.2.128/25",
        "0.0.0.0/0",
    ),
    *("fd50::/64", "fd51::/64", "fd99:1::/64", "fd99:2::2/128", "::/0"),
]
HOPS4 = [
    "10.99.1.2",
    "10.99.1.3",
    "10.99.2.2",
    "10.99.1.1",
    "10.50.0.1",
    "10.60.0.1",
    "fe80::2%e1",
    "fd99:2::2",
]
HOPS6 = [
    "fd99:1::2",
    "fd99:1::2",
    "fd99:1::3",
    "fd99:2::2",
    "fd99:2::1",
    "fd50::1",
    "fd60::1",
    "fe80::2%e1",
    "fe80::2%e2",
]
THEIRS = [
    ("-4", "10.60.0.0/16", "10.99.1.7", "0"),
    ("-4", "10.60.0.0/24", "10.99.2.7", "50"),
    ("-4", "10.50.0.0/16", "10.99.2.7", "1190"),
    ("-4", "10.51.0.0/16", "10.99.1.7", "1190"),
    ("-6", "fd50::/64", "fd99:1::7", "1190"),
    ("-4", "default", "10.99.1.7", "100"),
    ("-6", "fd60::/32", "fd99:1::7", "50"),
    ("-6", "fd51::/64", "fd99:2::7", "1190"),
]


class World:
    """The node, and everything that can happen to it."""

    def __init__(self, node: Node, dice: random.Random) -> None:
        self.node = node
        self.dice = dice
        self.config = CONFIG

    def step(self) -> str:
        names = ["learn"] * 8 + ["theirs"] * 6 + ["far_end", "link", "address", "flush", "reload", "copy"]
        name = self.dice.choice(names)
        happens: Callable[[], None] = getattr(self, f"_{name}")
        happens()
        return name

    def _learn(self) -> None:
        prefix = self.dice.choice(TOLD)
        hops = HOPS6 if ":" in prefix else HOPS4
        self.node.learn(prefix, *self.dice.sample(hops, self.dice.randrange(4)))

    def _copy(self) -> None:
        self.node.heard = {prefix: replace(entry) for prefix, entry in self.node.heard.items()}

    def _theirs(self) -> None:
        family, prefix, via, metric = self.dice.choice(THEIRS)
        verb = self.dice.choice(["add", "replace", "replace", "del"])
        words = (prefix, "via", via, "metric", metric, "proto", "static")
        run("ip", "-n", self.node.ns, family, "route", verb, *words, check=False)

    def _far_end(self) -> None:
        self.node.ip(
            "link", "set", self.dice.choice(["far1", "far2"]), self.dice.choice(["up", "up", "down"])
        )

    def _link(self) -> None:
        """IPv6 addresses go with the link: somebody sets them again."""
        number = self.dice.choice("12")
        self.node.ip("link", "set", f"e{number}", "down")
        if self.dice.random() < 0.8:
            self.node.ip("link", "set", f"e{number}", "up")
            self.node.ip("address", "replace", f"fd99:{number}::1/64", "dev", f"e{number}", "nodad")

    def _address(self) -> None:
        verb = self.dice.choice(["add", "add", "del"])
        words = (verb, "10.99.1.1/24", "dev", "e1")
        run("ip", "-n", self.node.ns, "address", *words, check=False)

    def _flush(self) -> None:
        self.node.ip(
            self.dice.choice(["-4", "-6"]), "route", "flush", "proto", str(self.config.kernel.protocol)
        )

    def _reload(self) -> None:
        kernel = Kernel(
            protocol=self.dice.choice([177, 201]),
            metric=self.dice.choice([50, 1190]),
            table=self.dice.choice([254, 254, 100]),
        )
        accept = Accept(default_route=self.dice.random() < 0.5, maximum=self.dice.choice([0, 0, 3]))
        self.config = replace(CONFIG, kernel=kernel, accept=accept)
        self.node.routing.reload(self.config)

    def follow(self) -> None:
        """What the loop does: read again where the kernel spoke, and write."""
        assert self.node.fib is not None
        for _ in range(20):
            if self.node.fib.changed():
                self.node.routing.reread()
            self.node.sync()
            if not self.node.fib.changed():
                return
            self.node.routing.reread()
        pytest.fail("it does not come to rest")

    def others(self) -> list[str]:
        lines = self.node.all_routes("table", "all", "proto", "static").splitlines()
        return sorted(line.replace(" linkdown", "").replace(" dead", "") for line in lines)

    def check(self) -> None:
        """What is remembered is what is, and what somebody who has just come would make of it."""
        routing, fib = self.node.routing, self.node.fib
        assert fib is not None
        remembered, refused = dict(fib.known.ours), dict(routing.refused)
        routing.reread()
        assert fib.known.ours == remembered
        self.node.sync()
        assert (fib.known.ours, routing.refused) == (remembered, refused)
        announced = {ip_network("10.244.1.0/24")}
        fresh = Learned(self.config).judge(self.node.heard, fib.known, announced)
        wanted = {**unreachable_routes(self.config), **fresh.routes}
        assert routing.wanted == fresh.routes
        assert {key: route for key, route in wanted.items() if key not in routing.refused} == {
            key: route for key, route in remembered.items() if key not in routing.refused
        }
        ours = {(177, 254), (177, 100), (201, 254), (201, 100)} - {
            (self.config.kernel.protocol, self.config.kernel.table)
        }
        for protocol, table in ours:
            assert self.node.all_routes("proto", str(protocol), "table", str(table)) == ""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    try:
        # Else asking for a table that is not there yet is an error.
        for family in ("-4", "-6"):
            made.ip(family, "route", "add", "blackhole", "default", "table", "100", "metric", "9999")
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("number", range(3))
def test_the_kernel_keeps_up(node: Node, number: int) -> None:
    seed = int(SEED) if SEED else random.SystemRandom().randrange(1 << 32)
    print(f"ANYPOD_FIB_SEED={seed}, run {number}")
    world = World(node, random.Random(seed + number))  # noqa: S311 - dice, no secret
    done: list[str] = []
    for _ in range(STEPS):
        done.append(world.step())
        before = world.others()
        world.follow()
        assert world.others() == before, done
        world.check()
