"""GC: what belongs to no attachment any more, other plugins' reservations, and that it ends in time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.system.conformance_rig import FakeIpam, ask, encoded, refused, silent
from tests.system.leak_rig import (
    KEY,
    OLD_KEY,
    WHOLE,
    age,
    conf,
    forget,
    gc,
    listed,
    make_limits,
    make_port,
    names,
    port,
    rows,
    state,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.plugin_node import Node


# ---- what no record explains


def test_links_that_no_record_explains_go(node: Node) -> None:
    document = conf(node)
    node.add("c1", node.pod(), document)
    node.add("c2", node.pod(), document)
    forget(node, "c2")
    strays = [
        make_port(node, "s1", "pods", bridge=""),
        make_port(node, "s2"),
        make_limits(node, "s3", "pods"),
    ]
    strays.append(make_limits(node, "s4"))
    node.execute(node.name, *"ip link add other type bridge".split())
    kept = [make_port(node, "k1", "elsewhere"), make_port(node, "k2", bridge="other")]
    kept += [make_limits(node, "k3", "elsewhere"), make_limits(node, "k2")]
    node.execute(node.name, *"ip link add anyphone type bridge".split())
    silent(gc(node, "c1"))
    left = node.links()
    assert not left & {port("c2"), *strays}
    assert {port("c1"), "anyphone", *kept} <= left


def test_elements_that_no_record_explains_go(node: Node) -> None:
    document = conf(node, **WHOLE)
    pod = node.pod()
    node.add("c1", pod, document)
    node.add("c2", node.pod(), conf(node, macspoofchk=True))
    forget(node, "c1")
    # Of another state directory, as far as can be known: no range of this network has that address.
    node.execute(node.name, *"nft add element inet anypod hostports4 { tcp . 99 : 192.0.2.9 . 99 }".split())
    silent(gc(node, "c2", keys={"macspoofchk": True}))
    shown = node.execute(node.name, "nft", "list", "ruleset")
    assert "8080" not in shown
    assert port("c1") not in shown
    assert port("c2") in shown
    assert "192.0.2.9" in shown


def test_a_valid_attachment_of_which_the_record_was_lost_is_recorded_again(node: Node) -> None:
    document = conf(node, **WHOLE)
    pod = node.pod()
    node.add("c1", pod, document)
    held, elements = node.held(), rows(node, "SELECT * FROM element ORDER BY set_name")
    forget(node, "c1")
    before = node.traces()
    silent(gc(node, "c1", keys=WHOLE))
    assert node.held() == held
    assert rows(node, "SELECT * FROM element ORDER BY set_name") == elements
    assert node.traces() == before | {"held": held}
    node.delete("c1", pod, document)
    assert node.links(pod) == {"lo"}
    assert "8080" not in node.execute(node.name, "nft", "list", "ruleset")


# ---- errors, delegates, bounds


def test_g4_errors_are_told_together_and_hold_nothing_up(node: Node, tmp_path: Path) -> None:
    fake = FakeIpam(tmp_path / "plugins")
    ipam = {"type": "fake-ipam"}
    document = conf(node, ipam=ipam)
    node.add("c0", node.pod(), conf(node))
    answer = node.call(node.environment("ADD", "c1", node.pod()) | fake.variables, encoded(document))
    assert answer.status == 0, answer
    fake.fails("DEL", 111, "the fake keeps it")
    fake.fails("GC", 112, "the fake does not collect")
    told = refused(gc(node, keys={"ipam": ipam}, variables=fake.variables), 111, "the fake keeps it")
    assert "the fake does not collect" in told["msg"]
    assert node.held() == {"c1": ()}
    assert node.links() == {"lo", "cni0"}
    fake.works("DEL")
    fake.works("GC")
    silent(gc(node, keys={"ipam": ipam}, variables=fake.variables))
    assert node.held() == {}


def test_g5_another_plugin_for_addresses_is_told_each_end_and_the_list(node: Node, tmp_path: Path) -> None:
    fake = FakeIpam(tmp_path / "plugins")
    ipam = {"type": "fake-ipam", "key": 1}
    document = conf(node, ipam=ipam)
    pod = node.pod()
    answer = node.call(node.environment("ADD", "c1", pod) | fake.variables, encoded(document))
    assert answer.status == 0, answer
    silent(gc(node, "c2", keys={"ipam": ipam}, variables=fake.variables))
    assert fake.calls() == ["ADD c1 eth0", "DEL c1 eth0", "GC  "]
    assert fake.stdin("GC")[KEY] == fake.stdin("GC")[OLD_KEY] == listed("c2")
    assert fake.stdin("DEL")["ipam"] == ipam
    assert node.held() == {}


def test_g5_a_plugin_that_does_not_know_gc_is_no_error(node: Node, tmp_path: Path) -> None:
    fake = FakeIpam(tmp_path / "plugins")
    fake.fails("GC", 4, "unknown CNI_COMMAND: GC")
    silent(gc(node, keys={"ipam": {"type": "fake-ipam"}}, variables=fake.variables))


def test_a_thousand_stale_attachments_end_in_bounded_time(node: Node) -> None:
    document = conf(node, ipam={"type": "host-local", "ranges": [[{"subnet": "10.32.0.0/16"}]]})
    node.add("c0", node.pod(), document)
    with state(node) as db:
        columns = "network, netns, created, netns_inode, ipam, pod, detail"
        for number in range(1000):
            name = f"s{number}"
            db.execute(
                f"INSERT INTO attachment (container, ifname, host_ifname, {columns})"  # noqa: S608
                f" SELECT ?, ifname, ?, {columns} FROM attachment WHERE container = 'c0'",
                (name, port(name)),
            )
            db.execute(
                "INSERT INTO address SELECT network, family, ?, prefixlen, pool, ?, ifname, released"
                " FROM address WHERE container = 'c0'",
                (bytes((10, 32, 8 + number // 256, number % 256)), name),
            )
    began = time.monotonic()
    silent(ask(node, "GC", document | {KEY: listed("c0")}))
    assert time.monotonic() - began < 20
    assert set(node.held()) == {"c0"}


def test_collections_among_adds_and_dels_hurt_nobody(node: Node) -> None:
    """A runtime should not do that; the attachments that it lists stay whole all the same."""
    document = conf(node, macspoofchk=True)
    pods = [node.pod() for _ in range(12)]
    containers = [f"c{number}" for number in range(12)]

    def work(number: int) -> None:
        for _ in range(2):
            node.add(containers[number], pods[number], document)
            silent(gc(node, *containers, keys={"macspoofchk": True}))
            assert node.links(pods[number]) == {"lo", "eth0"}
            node.delete(containers[number], pods[number], document)

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(work, range(12)))
    assert node.held() == {}
    assert node.links() == {"lo", "cni0"}
    assert "anyp" not in node.execute(node.name, "nft", "list", "set", "bridge", "anypod", "guarded").replace(
        "anypod", ""
    )


def test_gc_on_a_node_that_has_nothing_yet_is_fine(node: Node) -> None:
    silent(gc(node))
    assert node.links() == {"lo"}


def test_a_record_as_old_as_the_boot_is_collected(node: Node) -> None:
    node.add("c1", node.pod(), conf(node))
    age(node, "c1", 10**6)
    silent(gc(node))
    assert node.held() == {}
    assert names(node.state) >= {"state.db"}
