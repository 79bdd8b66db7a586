"""Virtual IPs and the state file: lost, damaged, or of a release that did not know them."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from cni.statefile import SCHEMA_VERSION
from tests.system.anycast_rig import OTHER_V4, V4, V6, asking, ips, make_group, nexthops, on_lo, rows
from tests.system.damage_rig import garbage
from tests.system.plugin_node import refused

if TYPE_CHECKING:
    from tests.system.plugin_node import Node

ALL = "SELECT * FROM vip ORDER BY container, ip"
CHECK = "http://:8080/healthz interval=2 fall=5"


def lose(node: Node) -> None:
    for file in node.state.iterdir():
        file.unlink()


@pytest.mark.parametrize("loss", [lose, lambda node: garbage(node.state)], ids=["lost", "damaged"])
def test_a_state_file_made_anew_has_the_same_endpoints(node: Node, loss: object) -> None:
    """Their next-hop ids too: established connections stay where they are."""
    first, second = node.pod(), node.pod()
    conf = asking(node, V4, V6)
    conf["runtimeConfig"]["anycast"] = {"check": CHECK, "weight": 9}
    conf |= {"prevResult": node.add("c1", first, conf)}
    node.add("c" * 64, second, asking(node, V4, OTHER_V4))
    make_group(node)
    before, groups = rows(node, ALL), nexthops(node)
    assert len(before) == 4
    assert callable(loss)
    loss(node)
    answer = node.verb("ADD", "c3", node.pod(), asking(node))
    if answer.status != 0:
        refused(answer, 11, "2 attachments; try again")
    assert rows(node, ALL) == before
    assert node.verb("CHECK", "c1", first, conf).status == 0
    assert nexthops(node) == groups
    node.delete("c1", first, conf)
    node.delete("c" * 64, second, conf)
    assert (ips(node), nexthops(node), on_lo(node, first)) == ({}, {}, set())


def test_gc_records_endpoints_again_whose_record_was_lost(node: Node) -> None:
    pod = node.pod()
    conf = asking(node, V4, cniVersion="1.1.0")
    node.add("c1", pod, conf)
    before = rows(node, ALL)
    db = sqlite3.connect(node.state / "state.db", isolation_level=None)
    for table in ("attachment", "address", "vip"):
        db.execute(f"DELETE FROM {table}")  # noqa: S608 - the names stand above
    db.close()
    valid = conf | {"cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]}
    answer = node.call(
        {"PATH": "/usr/bin:/usr/sbin", "CNI_COMMAND": "GC", "CNI_PATH": "/x"}, json.dumps(valid).encode()
    )
    assert answer.status == 0, answer
    assert rows(node, ALL) == before


def test_more_vips_than_the_link_s_alias_has_room_for_are_lost_with_the_file_and_check_says_so(
    node: Node,
) -> None:
    pod = node.pod()
    many = [f"198.51.100.{number}" for number in range(1, 65)]
    conf = asking(node, *many)
    conf |= {"prevResult": node.add("c1", pod, conf)}
    assert len(on_lo(node, pod)) == len(ips(node)["c1"]) == 64
    assert node.verb("CHECK", "c1", pod, conf).status == 0
    (link,) = [one for one in node.ip("link") if one["ifname"].startswith("anyp")]
    assert link["ifalias"] == "anypod pods c1/eth0"
    lose(node)
    refused(node.verb("CHECK", "c1", pod, conf), 104, "the state file has no virtual IPs of c1/eth0")
    node.delete("c1", pod, conf)


def test_pods_of_the_release_before_go_on_and_new_ones_serve(node: Node) -> None:
    old, pod = node.pod(), node.pod()
    conf = node.conf()
    conf |= {"prevResult": node.add("old", old, conf)}
    db = sqlite3.connect(node.state / "state.db", isolation_level=None)
    db.executescript("DROP TABLE vip; PRAGMA user_version = 2")
    db.close()
    node.add("new", pod, asking(node, V4))
    assert rows(node, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert ips(node) == {"new": [V4]}
    assert node.verb("CHECK", "old", old, conf).status == 0
    node.delete("old", old, conf)
    node.delete("new", pod, asking(node, V4))
    assert (node.held(), ips(node), node.links()) == ({}, {}, {"lo", "cni0"})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE vip SET ip = x'01'",
        "UPDATE vip SET weight = 0",
        "UPDATE vip SET health = '[1]'",
        "UPDATE attachment SET detail = '{\"vips\": 7}'",
        'UPDATE attachment SET detail = \'{"vips": ["x"]}\'',
        "UPDATE network SET compiled = json_set(compiled, '$.anycast.pools', 7)",
    ],
)
def test_values_of_vips_that_no_plugin_wrote_do_not_keep_a_pod(node: Node, statement: str) -> None:
    pod = node.pod()
    node.add("c1", pod, asking(node, V4))
    db = sqlite3.connect(node.state / "state.db", isolation_level=None)
    db.execute(statement)
    db.close()
    node.delete("c1", pod, asking(node, V4))
    assert node.links() == {"lo", "cni0"}
    pod = node.pod()
    answer = node.verb("ADD", "c2", pod, asking(node, V4))
    if answer.status != 0:
        refused(answer, 11, "it is set aside")
        node.add("c2", pod, asking(node, V4))
    assert ips(node) == {"c2": [V4]}
