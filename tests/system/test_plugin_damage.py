"""A damaged state file is set aside and made anew from what the kernel shows, by whichever verb finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.conformance_rig import ask, refused, silent
from tests.system.damage_rig import ASIDE, DAMAGES, UNSEEN_BY_STATUS, Scene, execute, set_aside_and_told
from tests.system.leak_rig import KEY, conf, listed, names, port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.system.plugin_node import Node

EACH = pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
SOME = pytest.mark.parametrize("damage", DAMAGES[:5:2], ids=lambda one: one.__name__)


@pytest.fixture
def scene(node: Node) -> Scene:
    return Scene(node)


@EACH
def test_add_sets_it_aside_and_the_next_one_is_served(scene: Scene, damage: Callable[[Path], None]) -> None:
    node = scene.node
    damage(node.state)
    outside = scene.outside()
    pod = node.pod()
    set_aside_and_told(node, node.verb("ADD", "c2", pod, scene.conf), 2)
    assert node.links(pod) == {"lo"}
    scene.untouched()
    assert scene.outside() == outside
    fresh = node.add("c2", pod, conf(node))
    assert not {one["address"] for one in fresh["ips"]} & {ip for ips in scene.held.values() for ip in ips}


@EACH
def test_del_sets_it_aside_and_succeeds(scene: Scene, damage: Callable[[Path], None]) -> None:
    node = scene.node
    damage(node.state)
    answer = node.verb("DEL", "c0", scene.pods[0], scene.conf)
    silent(answer)
    assert f"is set aside as {ASIDE}1" in answer.stderr
    assert node.held() == {"c1": scene.held["c1"]}
    assert node.links(scene.pods[0]) == {"lo"}
    assert "8080" not in node.execute(node.name, "nft", "list", "ruleset")
    assert port("c1") in node.execute(node.name, "nft", "list", "ruleset")


def test_del_of_an_attachment_whose_ipam_is_no_text_succeeds(scene: Scene) -> None:
    node = scene.node
    execute(node.state, "UPDATE attachment SET ipam = x'64'")
    answer = node.verb("DEL", "c0", scene.pods[0], scene.conf)
    silent(answer)
    assert f"is set aside as {ASIDE}1" in answer.stderr
    assert node.held() == {"c1": scene.held["c1"]}
    assert node.links(scene.pods[0]) == {"lo"}


@SOME
def test_check_sets_it_aside_and_the_next_one_is_content(
    scene: Scene, damage: Callable[[Path], None]
) -> None:
    node = scene.node
    damage(node.state)
    document = conf(node, macspoofchk=True) | {"prevResult": scene.results[1]}
    set_aside_and_told(node, node.verb("CHECK", "c1", scene.pods[1], document), 2)
    scene.untouched()
    silent(node.verb("CHECK", "c1", scene.pods[1], document))


@SOME
def test_gc_sets_it_aside_and_the_next_one_collects(scene: Scene, damage: Callable[[Path], None]) -> None:
    node = scene.node
    damage(node.state)
    document = scene.conf | {KEY: listed("c1")}
    set_aside_and_told(node, ask(node, "GC", document), 2)
    assert node.held() == scene.held
    silent(ask(node, "GC", document))
    assert node.held() == {"c1": scene.held["c1"]}
    assert "8080" not in node.execute(node.name, "nft", "list", "ruleset")


@pytest.mark.parametrize(
    "damage", [one for one in DAMAGES if one not in UNSEEN_BY_STATUS], ids=lambda one: one.__name__
)
def test_status_tells_it_and_changes_nothing(scene: Scene, damage: Callable[[Path], None]) -> None:
    node = scene.node
    damage(node.state)
    before = names(node.state)
    refused(ask(node, "STATUS", scene.conf), 50, "state.db")
    assert names(node.state) == before
