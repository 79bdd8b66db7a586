"""A third party's IPAM plugin that keeps files of its own: what ADD took there, DEL and a failed ADD give back.

It is the reference plugin `host-local` under another name; under its own it stands for the built-in allocator.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.system.conflist import REFERENCE, Attachment, Conflist

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.plugin_node import Node


@dataclass
class ThirdParty:
    """The plugin's own directory, and a list that delegates to it."""

    data: Path
    conflist: Conflist

    def reserved(self) -> dict[str, str]:
        """Container and interface of each address, as the plugin's files say."""
        files = (self.data / "pods").glob("10.*")
        return {file.name: "/".join(file.read_text().split()) for file in files}


@pytest.fixture
def third(node: Node, tmp_path: Path) -> ThirdParty:
    folder = tmp_path / "plugins"
    folder.mkdir()
    shutil.copy(REFERENCE / "host-local", folder / "thirdparty")
    data = tmp_path / "data"
    conf = {
        "type": "anypod",
        "bridge": "cni0",
        "isGateway": True,
        "stateDir": str(node.state),
        "ipam": {"type": "thirdparty", "subnet": "10.55.0.0/24", "dataDir": str(data)},
    }
    return ThirdParty(data, Conflist(node, [conf], directories=(folder,)))


def test_its_file_is_there_while_the_attachment_is(node: Node, third: ThirdParty) -> None:
    one, other = Attachment("c1", node.pod()), Attachment("c2", node.pod())
    second = Attachment("c1", one.pod, "eth1")
    for attachment in (one, other, second):
        third.conflist.add(attachment)
    assert third.reserved() == {"10.55.0.2": "c1/eth0", "10.55.0.3": "c2/eth0", "10.55.0.4": "c1/eth1"}
    assert node.pings(one.pod, "10.55.0.3")
    for attachment in (one, other, second):
        assert third.conflist.check(attachment) == {}
    assert third.conflist.delete(one) == {}
    assert third.reserved() == {"10.55.0.3": "c2/eth0", "10.55.0.4": "c1/eth1"}
    assert third.conflist.check(second) == {}
    for attachment in (second, other):
        assert third.conflist.delete(attachment) == {}
    assert (third.reserved(), node.held(), node.links()) == ({}, {}, {"lo", "cni0"})


def test_it_is_asked_by_check(node: Node, third: ThirdParty) -> None:
    one = Attachment("c1", node.pod())
    third.conflist.add(one)
    (third.data / "pods" / "10.55.0.2").unlink()
    failed = third.conflist.check(one)["anypod"].json
    assert failed["msg"].startswith("thirdparty: ")


def test_an_add_that_fails_behind_it_releases(node: Node, third: ThirdParty) -> None:
    """The bridge has another address of the subnet, which is seen when the gateway is known."""
    for argv in ("link add cni0 type bridge", "addr add 10.55.0.77/24 dev cni0"):
        node.execute(node.name, "ip", *argv.split())
    one = Attachment("c1", node.pod())
    before = node.traces()
    assert third.conflist.try_add(one).json["code"] == 102
    assert third.reserved() == {}
    assert node.traces() == before


def test_an_add_that_fails_before_it_does_not_ask_it(node: Node, third: ThirdParty) -> None:
    one = Attachment("c1", node.pod())
    node.execute(one.pod, *"ip link add eth0 type veth peer name x0".split())
    assert third.conflist.try_add(one).json["code"] == 101
    assert not third.data.exists()


def test_a_second_add_of_the_same_leaves_the_first_ones_address(node: Node, third: ThirdParty) -> None:
    one = Attachment("c1", node.pod())
    third.conflist.add(one)
    result = one.result
    assert third.conflist.try_add(one).json["code"] == 101
    assert third.reserved() == {"10.55.0.2": "c1/eth0"}
    one.result = result
    assert third.conflist.check(one) == {}


@pytest.mark.parametrize("lost", ["the state", "the namespace", "the links"])
def test_del_releases_whatever_else_is_lost(node: Node, third: ThirdParty, lost: str) -> None:
    one = Attachment("c1", node.pod())
    third.conflist.add(one)
    if lost == "the state":
        shutil.rmtree(node.state)
    elif lost == "the links":
        node.execute(one.pod, *"ip link del eth0".split())
    else:
        node.execute(node.name, "ip", "netns", "del", one.pod)
        one.pod = ""
    assert third.conflist.delete(one) == {}
    assert third.reserved() == {}
    assert node.links() == {"lo", "cni0"}


def test_a_later_plugin_that_fails_and_del_in_reverse_release(node: Node, third: ThirdParty) -> None:
    third.conflist.plugins.append({"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.is_none": "1"}})
    third.conflist.directories = [*third.conflist.directories, REFERENCE]
    one = Attachment("c1", node.pod())
    assert third.conflist.try_add(one).status == 1
    assert third.reserved() == {"10.55.0.2": "c1/eth0"}
    assert third.conflist.delete(one) == {}
    assert (third.reserved(), node.held(), node.links()) == ({}, {}, {"lo", "cni0"})


def test_many_at_a_time_get_an_address_each(node: Node, third: ThirdParty) -> None:
    ones = [Attachment(f"c{number}", node.pod()) for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(third.conflist.add, ones))
        assert len(third.reserved()) == len(node.held()) == 8
        assert set(third.reserved()) == {ips[0].partition("/")[0] for ips in node.held().values()}
        assert list(pool.map(third.conflist.delete, ones)) == [{}] * 8
    assert (third.reserved(), node.held(), node.links()) == ({}, {}, {"lo", "cni0"})
