"""The lab's load and servers count what happens: who answers, what breaks, what moves, what is lost and when."""

from __future__ import annotations

import functools
import http.client
import os
import signal
import time
from ipaddress import ip_interface, ip_network
from typing import TYPE_CHECKING

import pytest

from lab import netns
from lab.commands import run
from lab.load import drive
from lab.processes import Program, end_all
from lab.topology import End, Link
from lab.waiting import until
from tests.system.traffic import within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VIPS = {4: "198.51.100.1", 6: "2001:db8:a::1"}
SOURCES = {4: "192.0.2.128/26", 6: "2001:db8:c::/122"}
VERSIONS = pytest.mark.parametrize("version", [4, 6])
PODS = ("one", "two")


class Ground:
    """A client, and a router with a next-hop group for a VIP over two pods, which have it on `lo`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        start = f"anypod-load{os.getpid()}"
        self.client, self.router = f"{start}-client", f"{start}-router"
        self.pods = {name: f"{start}-{name}" for name in PODS}

    def up(self) -> None:
        for namespace in (self.router, self.client, *self.pods.values()):
            netns.add(namespace)
            netns.configure(namespace)
        netns.set_forwarding(self.router, "1")
        netns.hash_ports(self.router)
        for number, (name, namespace) in enumerate([("client", self.client), *self.pods.items()]):
            inside, outside = (
                End(
                    member,
                    device,
                    (ip_interface(f"10.0.{number}.{n}/24"), ip_interface(f"fd00:{number}::{n}/64")),
                )
                for member, device, n in ((name, "eth0", 2), ("router", name, 1))
            )
            netns.add_link(Link(inside, outside), namespace, self.router)
            netns.add_default_routes(namespace, [address.ip for address in outside.addresses])
            for version in VIPS:
                self.own(namespace, version, inside, f"{version}{number}" if number else "")
        for version in VIPS:
            self.group(version, "1/2")

    def own(self, namespace: str, version: int, inside: End, hop: str) -> None:
        """Gives a pod, which has the id of a next hop, the VIP, and the client its addresses."""
        prefix = ip_network(VIPS[version] if hop else SOURCES[version])
        netns.own_prefix(namespace, prefix)
        via = inside.address(version)
        if hop:
            run(["ip", "-n", self.router, "nexthop", "add", "id", hop, "via", str(via), "dev", inside.member])
        else:
            netns.add_route(self.router, prefix, via)

    def group(self, version: int, members: str) -> None:
        """Sends the VIP of a version to these pods, by number, in a plain group."""
        ids = "/".join(f"{version}{number}" for number in members.split("/"))
        run(["ip", "-n", self.router, "nexthop", "replace", "id", str(version), "group", ids])
        run(["ip", "-n", self.router, f"-{version}", "route", "replace", VIPS[version], "nhid", str(version)])

    def program(self, name: str) -> Program:
        argv = drive.server(name, self.directory / f"{name}.health")
        return Program(name, self.pods[name], argv, self.directory)

    def serve(self, name: str) -> None:
        """Also makes the router know the pod's neighbour entries: a plain group prefers a pod that has one."""
        self.program(name).start()
        number = PODS.index(name) + 1
        for address in (f"10.0.{number}.2", f"fd00:{number}::2"):
            until(functools.partial(self.answers, address), bool, seconds=10, what=f"{name} serves")

    def answers(self, address: str) -> bool:
        return not drive.spread(self.client, address, 1).failed

    def down(self) -> None:
        namespaces = [self.router, self.client, *self.pods.values()]
        end_all(namespaces)
        for namespace in namespaces:
            netns.delete(namespace)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    made = Ground(tmp_path_factory.mktemp("load"))
    try:
        made.up()
        for name in PODS:
            made.serve(name)
        yield made
    finally:
        made.down()


@VERSIONS
def test_every_connection_and_question_is_counted_for_the_pod_that_answers(
    ground: Ground, version: int
) -> None:
    for load in (drive.spread, drive.ask):
        found = load(ground.client, VIPS[version], 640, sources=SOURCES[version])
        assert sum(found.pods.values()) == 640
        assert all(found.pods[pod] > 200 for pod in PODS)
        assert (found.failed, found.wrong_source) == ({}, 0)


@VERSIONS
def test_pod_that_sees_another_s_address_is_noticed(ground: Ground, version: int) -> None:
    chain = "type nat hook postrouting priority 100"
    rules = f"table inet t {{ chain c {{ {chain}; meta nfproto ipv{version} masquerade; }}; }}"
    run(netns.inside(ground.router, ["nft", "-f", "-"]), stdin=rules)
    try:
        for load in (drive.spread, drive.ask):
            found = load(ground.client, VIPS[version], 64, sources=SOURCES[version])
            assert (found.failed, found.wrong_source) == ({}, 64)
    finally:
        run(netns.inside(ground.router, ["nft", "delete", "table", "inet", "t"]))


@VERSIONS
def test_what_breaks_and_what_moves_when_a_pod_leaves_the_group(ground: Ground, version: int) -> None:
    where = ground.client, VIPS[version]
    with (
        drive.Held(*where, 200, sources=SOURCES[version], interval=0.2) as held,
        drive.Flows(*where, 100, sources=SOURCES[version], interval=0.2) as flows,
        drive.Requests(*where, 100, sources=SOURCES[version]) as requests,
    ):
        before, moving = held.report()["pods"], flows.report()["pods"]
        start = time.monotonic()
        ground.group(version, "1")
        try:
            time.sleep(1.0)
        finally:
            ground.group(version, "1/2")
    broken = held.of("broken", start)
    assert {event["pod"] for event in broken} == {"two"}
    assert len(broken) == before["two"]
    # The group as it was takes the rest of what had moved back.
    moved = [event for event in flows.of("moved", start) if event["to"] == "one"]
    assert len(moved) == moving["two"]
    assert requests.last["lost"] == len(requests.of("lost")) <= 2  # on its way to the pod at that moment
    assert requests.last["sent"] == sum(requests.last["pods"].values()) + requests.last["lost"]


def test_lost_requests_are_told_with_their_times(ground: Ground) -> None:
    with drive.Requests(ground.client, VIPS[4], 100, sources=SOURCES[4], patience=0.3) as requests:
        time.sleep(0.5)
        start = time.monotonic()
        ground.program("one").signal(signal.SIGSTOP)
        try:
            time.sleep(1.0)
        finally:
            ground.program("one").signal(signal.SIGCONT)
        end = time.monotonic()
        time.sleep(0.5)
    lost = requests.of("lost")
    assert {event["why"] for event in lost} == {"silent"}
    assert 10 < len(lost) < 100
    assert all(start - 0.3 < event["begun"] < end for event in lost)


def test_connections_with_a_life_are_replaced_and_none_breaks(ground: Ground) -> None:
    with drive.Held(ground.client, VIPS[4], 50, sources=SOURCES[4], interval=0.2, life=0.6) as held:
        time.sleep(1.5)
    counts = held.last["counts"]
    assert counts["ended"] >= 50
    assert 0 <= counts["begun"] - counts["ended"] <= 50
    assert sum(held.last["pods"].values()) > 40
    assert "broken" not in counts
    assert "failed" not in counts


def test_route_changes_are_told_with_next_hops_and_weights(ground: Ground) -> None:
    hops = [word for n in (1, 3) for word in ("nexthop", "via", f"10.0.{(n + 1) // 2}.2", "weight", str(n))]
    with drive.Routes(ground.router) as routes:
        before = time.monotonic()
        run(["ip", "-n", ground.router, "route", "add", "198.51.100.9", *hops])
        run(["ip", "-n", ground.router, "route", "delete", "198.51.100.9"])
        after = time.monotonic()
        time.sleep(0.1)
    new, gone = routes.prefix("198.51.100.9/32")
    assert (new["event"], new["gateways"]) == ("new", {"10.0.1.2": 1, "10.0.2.2": 3})
    assert gone["event"] == "gone"
    assert before < new["at"] <= gone["at"] < after + 0.1


def get(namespace: str, path: str) -> tuple[int, str]:
    def asked() -> tuple[int, str]:
        connection = http.client.HTTPConnection("10.0.1.2", drive.HTTP_PORT, timeout=0.5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    return within(namespace, asked)


def test_health_is_what_the_file_says(ground: Ground) -> None:
    file = ground.directory / "one.health"
    for said, code in (("ok", 200), ("fail", 503), ("ok", 200)):
        file.write_text(said)
        assert get(ground.client, "/healthz")[0] == code
    file.write_text("hang")
    with pytest.raises(TimeoutError):
        get(ground.client, "/healthz")
    file.unlink()
    assert get(ground.client, "/healthz")[0] == 200
    assert get(ground.client, "/") == (200, "one 10.0.0.2\n")
