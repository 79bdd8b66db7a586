"""GC: what the runtime does not list goes, whole; everything else stays. CNI specification 1.1.0, rules G1 to G7."""

from __future__ import annotations

import subprocess
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

import pytest

from cni.attach import ifb_ifname
from tests.system.conformance_rig import ask, encoded, finish, refused, silent, wait_until
from tests.system.leak_rig import (
    KEY,
    LIMITED,
    OLD_KEY,
    WHOLE,
    conf,
    forget,
    gc,
    listed,
    port,
    remove_pod,
    rows,
)

if TYPE_CHECKING:
    from tests.system.plugin_node import Node


# ---- the list


def test_g1_the_key_of_the_older_document_counts_too(node: Node) -> None:
    document = conf(node)
    node.add("c1", node.pod(), document)
    node.add("c2", node.pod(), document)
    silent(ask(node, "GC", document | {OLD_KEY: listed("c2")}))
    assert set(node.held()) == {"c2"}


def test_g1_of_two_keys_the_one_of_the_specification_counts(node: Node) -> None:
    document = conf(node)
    node.add("c1", node.pod(), document)
    silent(ask(node, "GC", document | {KEY: listed("c1"), OLD_KEY: []}))
    assert set(node.held()) == {"c1"}
    silent(ask(node, "GC", document | {KEY: None, OLD_KEY: listed("c1")}))
    assert set(node.held()) == {"c1"}


@pytest.mark.parametrize("empty", [[], None], ids=["list", "null"])
def test_g3_an_empty_list_ends_every_attachment_of_the_network(node: Node, empty: object) -> None:
    """libcni sends null for a list without entries."""
    document = conf(node)
    pod = node.pod()
    node.add("c1", pod, document)
    silent(ask(node, "GC", document | {KEY: empty, OLD_KEY: empty}))
    assert node.held() == {}
    assert node.links(pod) == {"lo"}
    assert node.links() == {"lo", "cni0"}


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({}, "is missing"),
        ({KEY: "c1"}, "is no list"),
        ({KEY: {"containerID": "c1", "ifname": "eth0"}}, "is no list"),
        ({KEY: [*listed("c1"), "c2"]}, "[1]: containerID"),
        ({KEY: [{"containerID": "c1"}]}, "[0]: ifname"),
        ({KEY: [{"containerID": "c1", "ifname": 0}]}, "[0]: ifname"),
        ({KEY: [{"containerID": "c1", "ifname": "e/0"}]}, "[0]: ifname"),
        ({KEY: [{"containerID": "../c1", "ifname": "eth0"}]}, "[0]: containerID"),
        ({KEY: [None]}, "[0]: containerID"),
        ({OLD_KEY: 1}, f"{OLD_KEY}: 1 is no list"),
    ],
)
def test_g3_no_list_or_a_broken_one_is_an_error_and_ends_nothing(
    node: Node, entries: dict[str, Any], says: str
) -> None:
    document = conf(node)
    node.add("c1", node.pod(), document)
    before = node.traces()
    refused(ask(node, "GC", document | entries), 7, says)
    assert node.traces() == before


# ---- what goes and what stays


def test_g2_whatever_an_attachment_has_goes_with_it(node: Node) -> None:
    node.add("c0", node.pod(), conf(node, macspoofchk=True))
    pod = node.pod()
    before = node.traces()
    document = conf(node, **WHOLE)
    node.add("c1", pod, document)
    assert ifb_ifname("c1", "eth0") in node.links()
    silent(ask(node, "GC", document | {KEY: listed("c0")}))
    assert set(node.held()) == {"c0"}
    assert node.links(pod) == {"lo"}
    assert node.traces()["links"] == before["links"]
    assert rows(node, "SELECT container FROM element WHERE container = 'c1'") == []
    shown = node.execute(node.name, "nft", "list", "ruleset")
    assert "8080" not in shown
    assert port("c1") not in shown
    assert port("c0") in shown


def test_g2_nothing_of_another_network_is_touched(node: Node) -> None:
    """Neither what its records name nor what they have lost, on the same bridge."""
    document = conf(node, **WHOLE)
    ranges = {"type": "host-local", "ranges": [[{"subnet": "10.245.0.0/24"}]]}
    other = conf(node, name="other", ipam=ranges, **(WHOLE | {"runtimeConfig": LIMITED}))
    node.add("c0", node.pod(), document)
    node.add("c1", node.pod(), other)
    node.add("c2", node.pod(), other)
    forget(node, "c2")
    before = node.traces()
    silent(gc(node, "c0", keys=WHOLE))
    assert node.traces() == before
    silent(ask(node, "GC", other | {KEY: listed("c1")}))
    assert set(node.held()) == {"c0", "c1"}
    assert port("c2") not in node.links()
    assert port("c2") not in node.execute(node.name, "nft", "list", "ruleset")


def test_only_the_interface_that_is_not_listed_goes(node: Node) -> None:
    pod = node.pod()
    document = conf(node)
    node.add("c1", pod, document)
    node.add("c1", pod, document, ifname="net1")
    silent(gc(node, "c1"))
    assert node.links(pod) == {"lo", "eth0"}
    assert len(node.held()["c1"]) == 2


def test_an_address_that_gc_took_back_can_be_given_out_again(node: Node) -> None:
    ipam = {"type": "host-local", "ranges": [[{"subnet": "10.244.1.0/30"}]]}
    document = conf(node, ipam=ipam)
    first = node.add("c1", node.pod(), document)
    silent(gc(node, keys={"ipam": ipam}))
    assert node.add("c2", node.pod(), document)["ips"] == first["ips"]


def test_g6_what_began_behind_the_gc_stays(node: Node) -> None:
    """GC has started, and waits for its configuration while an ADD comes."""
    document = conf(node)
    node.add("c1", node.pod(), document)
    process = waiting_for_stdin(node, node.environment("GC", "", ""))
    node.add("c2", node.pod(), document)
    assert process.stdin is not None
    process.stdin.write(encoded(document | {KEY: []}))
    process.stdin.close()
    process.stdin = None
    silent(finish(process))
    assert set(node.held()) == {"c2"}
    assert port("c2") in node.links()
    silent(gc(node))
    assert node.held() == {}


def waiting_for_stdin(node: Node, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A call that has begun, and reads its configuration."""
    env = {key: value for key, value in environment.items() if value}
    process = subprocess.Popen(node.argv(), env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    place = Path(f"/proc/{process.pid}/wchan")
    wait_until(lambda: "pipe_read" in place.read_text(), "the call does not read its configuration")
    return process


def test_g7_the_namespace_of_a_stale_attachment_may_be_gone_or_not(node: Node) -> None:
    document = conf(node)
    gone, there = node.pod(), node.pod()
    node.add("c1", gone, document)
    node.add("c2", there, document)
    remove_pod(node, gone, "c1")
    silent(gc(node))
    assert node.held() == {}
    assert node.links(there) == {"lo"}


def test_an_add_that_is_under_way_undoes_itself(node: Node) -> None:
    document = conf(node)
    node.add("warm", node.pod(), document)
    before = node.traces()
    pod = node.pod()
    strace = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", "inject=setns:delay_enter=1500000"]
    process = node.start(node.environment("ADD", "c1", pod), document, strace)
    wait_until(lambda: port("c1") in node.links(), "no veth was made")
    silent(gc(node, "warm"))
    refused(finish(process), 3, "was deleted")
    assert node.held().keys() == {"warm"}
    assert node.traces()["links"] == before["links"]


def test_an_add_that_began_before_finds_word_of_the_end(node: Node) -> None:
    """As with a DEL: it is for the attachment that was there when it began."""
    document = conf(node)
    node.add("c1", node.pod(), document)
    process = waiting_for_stdin(node, node.environment("ADD", "c1", node.pod()))
    silent(gc(node))
    assert process.stdin is not None
    process.stdin.write(encoded(document))
    process.stdin.close()
    process.stdin = None
    refused(finish(process), 3, "was deleted")
    assert node.held() == {}


def test_an_add_that_is_under_way_and_listed_goes_on(node: Node) -> None:
    """Its elements come last, behind its record: nothing of it is taken for a stray."""
    document = conf(node, **WHOLE)
    node.add("warm", node.pod(), conf(node, macspoofchk=True))
    pod = node.pod()
    strace = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", "inject=setns:delay_enter=1500000"]
    process = node.start(node.environment("ADD", "c1", pod), document, strace)
    wait_until(lambda: port("c1") in node.links(), "no veth was made")
    for _ in range(3):
        silent(gc(node, "warm", "c1", keys=WHOLE))
    assert finish(process).status == 0
    silent(gc(node, "warm", "c1", keys=WHOLE))
    assert "8080" in node.execute(node.name, "nft", "list", "ruleset")
    node.delete("c1", pod, document)
