"""Leaks heal by themselves: what a pod left behind that went without a DEL is taken back when it is needed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.system.conformance_rig import encoded, finish, refused, silent, wait_until
from tests.system.leak_rig import (
    MAPPED,
    WHOLE,
    age,
    conf,
    gc,
    make_limits,
    port,
    remove_pod,
    rows,
    state,
)
from tests.system.plugin_node import run

if TYPE_CHECKING:
    from tests.system.plugin_node import Node

# Two addresses for pods.
SMALL: dict[str, Any] = {
    "type": "host-local",
    "ranges": [[{"subnet": "10.244.1.0/24", "rangeStart": "10.244.1.10", "rangeEnd": "10.244.1.11"}]],
}


def small(node: Node, **keys: object) -> dict[str, Any]:
    return conf(node, ipam=SMALL, **keys)


def fill(node: Node, **keys: object) -> list[str]:
    """Two pods, c0 and c1, that hold all there is; their namespaces."""
    pods = [node.pod(), node.pod()]
    for number, pod in enumerate(pods):
        node.add(f"c{number}", pod, small(node, **keys))
    return pods


def test_a_pod_that_went_without_del_gives_way_when_the_range_is_exhausted(node: Node) -> None:
    pods = fill(node)
    remove_pod(node, pods[0], "c0")
    assert set(node.held()) == {"c0", "c1"}
    result = node.add("c2", node.pod(), small(node))
    assert result["ips"][0]["address"] == "10.244.1.10/24"
    assert set(node.held()) == {"c1", "c2"}


def test_an_add_waits_for_a_link_that_is_about_to_go(node: Node) -> None:
    """The kernel takes a namespace's links away some time behind its path."""
    pods = fill(node)
    with open(f"/run/netns/{pods[0]}", "rb") as held:
        run("ip", "netns", "del", pods[0])
        process = node.start(node.environment("ADD", "c2", node.pod()), small(node))
        place = Path(f"/proc/{process.pid}/wchan")
        wait_until(lambda: "sleep" in place.read_text(), "nobody waits")
        held.close()
        assert finish(process).status == 0
    assert set(node.held()) == {"c1", "c2"}


def test_a_range_that_living_pods_hold_is_exhausted_and_they_are_named(node: Node) -> None:
    fill(node)
    before = node.traces()
    pod = node.pod()
    before["pods"] = {**node.traces()["pods"]}  # type: ignore[dict-item]
    answer = node.verb("ADD", "c2", pod, small(node))
    told = refused(answer, 100, "no IP addresses available in range set: 10.244.1.10-10.244.1.11")
    assert "2 held: 1 by container c0, 1 by container c1" in told["msg"]
    assert node.traces() == before


def test_pods_are_counted_by_their_namespace_of_kubernetes(node: Node) -> None:
    for number in range(2):
        env = node.environment("ADD", f"c{number}", node.pod())
        env["CNI_ARGS"] = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-{number}"
        assert node.call(env, encoded(small(node))).status == 0
    refused(node.verb("ADD", "c2", node.pod(), small(node)), 100, "2 held: 2 by namespace shop")


def test_a_namespace_without_a_path_that_still_lives_keeps_its_address(node: Node) -> None:
    """Somebody holds it open: the pod's end of the link stands, and so the address is in use."""
    pods = fill(node)
    with open(f"/run/netns/{pods[0]}", "rb"):
        run("ip", "netns", "del", pods[0])
        refused(node.verb("ADD", "c2", node.pod(), small(node)), 100, "2 held")
        assert port("c0") in node.links()
    node.add("c3", node.pod(), small(node))
    assert set(node.held()) == {"c1", "c3"}


def test_another_namespace_at_the_same_path_does_not_keep_an_address(node: Node) -> None:
    """Whether the kernel gives it the inode number of the one before, which it often does, or another."""
    for _ in range(4):
        pods = fill(node)
        remove_pod(node, pods[0], "c0")
        run("ip", "netns", "add", pods[0])
        node.add("c2", node.pod(), small(node))
        assert set(node.held()) == {"c1", "c2"}
        for container in ("c1", "c2"):
            node.delete(container, "", small(node))


def test_an_attachment_that_lost_its_link_keeps_no_address_for_long(node: Node) -> None:
    """Right behind its record an ADD may still be about to make the link."""
    fill(node)
    node.execute(node.name, "ip", "link", "del", port("c0"))
    refused(node.verb("ADD", "c2", node.pod(), small(node)), 100, "2 held")
    age(node, "c0", 40)
    node.add("c3", node.pod(), small(node))
    assert set(node.held()) == {"c1", "c3"}


def test_links_that_have_another_name_by_now_keep_the_address(node: Node) -> None:
    pods = fill(node)
    node.execute(node.name, *f"ip link set {port('c0')} down".split())
    node.execute(node.name, *f"ip link set {port('c0')} name renamed".split())
    node.execute(node.name, *"ip link set renamed up".split())
    age(node, "c0", 40)
    refused(node.verb("ADD", "c2", node.pod(), small(node)), 100, "2 held")
    assert "eth0" in node.links(pods[0])


def test_an_add_killed_behind_its_record_is_taken_back_when_its_namespace_is_gone(node: Node) -> None:
    node.add("warm", node.pod(), small(node))
    pod = node.pod()
    strace = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", "inject=setns:signal=KILL"]
    process = node.start(node.environment("ADD", "c1", pod), small(node), strace)
    assert process.wait(60) != 0
    process.communicate()
    assert set(node.held()) == {"warm", "c1"}
    assert port("c1") in node.links()
    remove_pod(node, pod, "c1")
    node.add("c2", node.pod(), small(node))
    assert set(node.held()) == {"warm", "c2"}
    assert {name for name in node.links() if name.startswith("any")} == {port("warm"), port("c2")}


def test_limits_and_elements_go_with_what_is_taken_back(node: Node) -> None:
    pods = [node.pod(), node.pod()]
    node.add("c0", pods[0], small(node, **WHOLE))
    node.add("c1", pods[1], small(node, macspoofchk=True))
    remove_pod(node, pods[0], "c0")
    node.add("c2", node.pod(), small(node, macspoofchk=True))
    assert {name for name in node.links() if name.startswith("any")} == {port("c1"), port("c2")}
    shown = node.execute(node.name, "nft", "list", "ruleset")
    assert "8080" not in shown
    assert port("c0") not in shown


def test_a_host_port_of_a_pod_that_is_gone_can_be_mapped_again(node: Node) -> None:
    """Also where that pod was in another network."""
    pod = node.pod()
    ranges = {"type": "host-local", "ranges": [[{"subnet": "10.245.0.0/24"}]]}
    other = conf(node, name="other", bridge="cni1", ipam=ranges, runtimeConfig=MAPPED)
    node.add("c0", pod, other)
    wanted = conf(node, runtimeConfig=MAPPED)
    refused(node.verb("ADD", "c1", node.pod(), wanted), 105, "c0/eth0")
    remove_pod(node, pod, "c0")
    node.add("c2", node.pod(), wanted)
    assert set(node.held()) == {"c2"}


def test_an_address_that_is_asked_for_is_taken_back_from_a_pod_that_is_gone(node: Node) -> None:
    pod = node.pod()
    wanted = conf(node, runtimeConfig={"ips": ["10.244.1.77"]})
    node.add("c0", pod, wanted)
    refused(node.verb("ADD", "c1", node.pod(), wanted), 102, "c0/eth0")
    remove_pod(node, pod, "c0")
    assert node.add("c2", node.pod(), wanted)["ips"][0]["address"] == "10.244.1.77/24"


def test_a_container_that_lost_its_namespace_without_del_can_be_attached_again(node: Node) -> None:
    pod = node.pod()
    node.add("c0", pod, conf(node))
    refused(node.verb("ADD", "c0", node.pod(), conf(node)), 101, "run DEL")
    remove_pod(node, pod, "c0")
    fresh = node.pod()
    node.add("c0", fresh, conf(node))
    assert node.links(fresh) == {"lo", "eth0"}
    assert len(node.held()) == 1


def test_after_a_reboot_nothing_is_held(node: Node) -> None:
    """Simulated: the pods go, and the file is one of another boot."""
    pods = fill(node)
    for number, pod in enumerate(pods):
        remove_pod(node, pod, f"c{number}")
    with state(node) as db:
        db.execute("UPDATE meta SET value = 'an-earlier-boot' WHERE key = 'boot'")
    assert node.add("c0", node.pod(), small(node))["ips"][0]["address"] == "10.244.1.10/24"
    assert len(node.held()) == 1


def test_a_runtime_that_was_wiped_leaves_nothing_that_hinders(node: Node) -> None:
    """All of its pods are gone and it knows of none: what it asks next is served, and its first GC ends the rest."""
    pods = fill(node)
    extra = conf(node, name="second", bridge="cni1", ipam={"ranges": [[{"subnet": "10.246.0.0/24"}]]})
    pods.append(node.pod())
    node.add("c2", pods[2], extra)
    for number, pod in enumerate(pods):
        remove_pod(node, pod, f"c{number}")
    node.add("d0", node.pod(), small(node))
    node.add("d1", node.pod(), small(node))
    assert {"d0", "d1"} <= set(node.held()) <= {"d0", "d1", "c2"}
    silent(gc(node, "d0", "d1"))
    silent(gc(node, keys={"name": "second", "bridge": "cni1"}))
    assert set(node.held()) == {"d0", "d1"}


def test_a_file_that_somebody_removed_is_made_anew_from_the_kernels_links(node: Node) -> None:
    """Or pods that run would lose their addresses to new ones."""
    for number in range(3):
        node.add(f"c{number}", node.pod(), conf(node, **(WHOLE if number == 0 else {})))
    held, elements = node.held(), rows(node, "SELECT * FROM element ORDER BY set_name")
    for path in node.state.iterdir():
        path.unlink()
    fresh = node.add("c3", node.pod(), conf(node))
    assert node.held() == held | {"c3": tuple(one["address"] for one in fresh["ips"])}
    assert rows(node, "SELECT * FROM element ORDER BY set_name") == elements
    assert not {one["address"] for one in fresh["ips"]} & {ip for ips in held.values() for ip in ips}
    refused(node.verb("ADD", "c4", node.pod(), conf(node, runtimeConfig=MAPPED)), 105, "c0/eth0")


def test_an_address_of_a_file_made_anew_comes_back_when_its_pod_goes(node: Node) -> None:
    ipam = {"ranges": [[SMALL["ranges"][0][0] | {"rangeEnd": "10.244.1.12"}]]}
    pods = [node.pod(), node.pod()]
    for number, pod in enumerate(pods):
        node.add(f"c{number}", pod, conf(node, ipam=ipam))
    for path in node.state.iterdir():
        path.unlink()
    node.add("c2", node.pod(), conf(node, ipam=ipam))
    refused(node.verb("ADD", "c3", node.pod(), conf(node, ipam=ipam)), 100, "3 held")
    node.delete("c0", pods[0], conf(node, ipam=ipam))
    assert node.add("c4", node.pod(), conf(node, ipam=ipam))["ips"][0]["address"] == "10.244.1.10/24"


def test_a_full_range_is_looked_through_quickly(node: Node) -> None:
    """All of a /24, by attachments whose pods are gone."""
    node.add("c0", node.pod(), conf(node))
    limits = make_limits(node, "s7", "pods")
    with state(node) as db:
        for number in range(252):
            name = f"s{number}"
            db.execute(
                "INSERT INTO attachment (container, ifname, host_ifname, netns, netns_inode, network, created)"
                " SELECT ?, ifname, ?, ?, 7, network, created FROM attachment WHERE container = 'c0'",
                (name, port(name), f"/run/netns/gone-{number}"),
            )
            db.execute(
                "INSERT INTO address SELECT network, family, ?, prefixlen, pool, ?, ifname, released"
                " FROM address WHERE container = 'c0' AND family = 4",
                (bytes((10, 244, 1, number + 3)), name),
            )
    pod = node.pod()
    began = time.monotonic()
    node.add("c1", pod, conf(node))
    assert time.monotonic() - began < 5
    assert set(node.held()) == {"c0", "c1"}
    assert limits not in node.links()
