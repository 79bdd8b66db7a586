"""From the reference bridge and host-local to anypod, on a node whose pods go on: what docs/migration.md says of it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.compare_rig import DUAL, REFERENCE, Side
from tests.system.plugin_node import run

if TYPE_CHECKING:
    from collections.abc import Iterator

# The upper halves of the ranges, as the page has them.
UPPER: dict[str, Any] = {
    "ranges": [
        [{"subnet": "10.244.1.0/24", "rangeStart": "10.244.1.128"}],
        [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::8000:0"}],
    ]
}


@dataclass
class Change:
    """A node on which the conflist's plugin becomes another one."""

    side: Side
    plugin: Path

    def by_reference(self, verb: str, container: str, pod: str) -> dict[str, Any]:
        """What the conflist did before the change; the result of an ADD."""
        self.side.node.plugin = Path(REFERENCE) / "bridge"
        answer = self.side.call(verb, container, pod, self.conf() | {"type": "bridge"})
        self.side.node.plugin = self.plugin
        assert answer.status == 0, answer
        return answer.json if answer.stdout else {}

    def conf(self, **keys: object) -> dict[str, Any]:
        return self.side.conf(ipam=DUAL, isDefaultGateway=True, ipMasq=True) | keys

    def upper(self) -> dict[str, Any]:
        """The netconf that keeps to addresses which host-local has given to nobody."""
        return self.conf(ipam=self.conf()["ipam"] | UPPER)

    def reaches(self, pod: str, *others: list[str]) -> bool:
        return all(self.side.node.pings(pod, one) for addresses in others for one in addresses)

    def reserved(self) -> set[str]:
        """The addresses that host-local's directory holds."""
        return {
            file.name
            for file in (self.side.folder / "networks/pods").iterdir()
            if ":" in file.name or file.name[0].isdigit()
        }

    def rules(self) -> int:
        """How many rules the reference bridge's ipMasq has for IPv4."""
        table = self.side.node.execute(
            self.side.node.name, "nft", "list", "chain", "ip", "nat", "POSTROUTING"
        )
        return table.count("jump CNI-")


@pytest.fixture
def change(prefix: Path, tmp_path: Path) -> Iterator[Change]:
    plugin = prefix / "opt/cni/bin/anypod"
    change = Change(Side.of(plugin, tmp_path), plugin)
    change.side.up()
    try:
        yield change
    finally:
        change.side.down()


def given(result: dict[str, Any]) -> list[str]:
    return [one["address"].partition("/")[0] for one in result["ips"]]


GATEWAYS = ["10.244.1.1", "fd00:1::1"]


def test_with_the_same_ranges_an_address_is_given_twice(change: Change) -> None:
    """The order that the page warns of: anypod does not read host-local's reservations."""
    old, new = change.side.pod(), change.side.pod()
    first = change.by_reference("ADD", "old", old)
    assert given(change.side.add("new", new, change.conf())) == given(first)


def test_with_a_part_of_the_ranges_of_its_own_all_pods_go_on(change: Change) -> None:
    node, pods = change.side.node, [change.side.pod() for _ in range(3)]
    one, two = (given(change.by_reference("ADD", f"old{n}", pods[n])) for n in range(2))
    mac = node.ip("link", "show", "cni0")[0]["address"]
    watching = subprocess.Popen(
        ["ip", "netns", "exec", pods[0], "ping", "-q", "-i0.1", "-c15", two[0]], stdout=subprocess.PIPE
    )
    new = given(change.side.add("new", pods[2], change.upper()))
    told, _ = watching.communicate(timeout=30)
    assert b" 0% packet loss" in told, told
    assert new == ["10.244.1.128", "fd00:1::8000:0"]
    assert node.ip("link", "show", "cni0")[0]["address"] == mac
    assert change.reaches(pods[0], two, new, GATEWAYS)
    assert change.reaches(pods[2], one, two, GATEWAYS)
    # A collection knows its own attachments only.
    gc = change.upper() | {"cniVersion": "1.1.0", "cni.dev/valid-attachments": []}
    answer = change.side.call("GC", "", "", gc)
    assert (answer.status, answer.stdout) == (0, ""), answer
    assert change.reaches(pods[0], two, GATEWAYS)
    assert change.side.held() == []


def test_del_of_an_old_pod_by_anypod_leaves_what_bridge_and_host_local_made(change: Change) -> None:
    node, old, new = change.side.node, change.side.pod(), change.side.pod()
    addresses = given(change.by_reference("ADD", "old", old))
    change.side.add("new", new, change.upper())
    change.side.delete("old", old, change.upper())
    assert "eth0" in node.links(old)
    assert (change.reserved(), change.rules()) == (set(addresses), 1)
    assert json.loads(change.side.call("CHECK", "old", old, check(change)).stdout)["code"] == 104
    run("ip", "netns", "del", old)  # the runtime's next step
    assert {name for name in node.links() if name.startswith("veth")} == set()
    assert (change.reserved(), change.rules()) == (set(addresses), 1)
    assert change.reaches(new, GATEWAYS)


def check(change: Change) -> dict[str, Any]:
    return change.upper() | {"prevResult": {"cniVersion": "1.0.0", "ips": []}}


def test_del_of_an_old_pod_by_bridge_takes_everything_and_nothing_of_anypods(change: Change) -> None:
    old, new = change.side.pod(), change.side.pod()
    addresses = given(change.by_reference("ADD", "old", old))
    change.side.add("new", new, change.upper())
    change.by_reference("DEL", "old", old)
    assert (change.reserved(), change.rules()) == (set(), 0)
    assert change.reaches(new, GATEWAYS)
    # With the last old pod gone, the netconf may have the whole ranges again.
    assert given(change.side.add("later", old, change.conf())) == addresses
    assert change.reaches(new, addresses)
