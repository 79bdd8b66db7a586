"""CNI specification, GC: rules G1 to G7, with the installed executable as a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.system.conformance_rig import (
    SLOW,
    FakeIpam,
    add_with,
    ask,
    encoded,
    finish,
    injected,
    refused,
    silent,
    wait_until,
    waiting,
)
from tests.system.plugin_node import Answer, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.plugin_node import Node

NEW, OLD = "cni.dev/valid-attachments", "cni.dev/attachments"
FULL = {
    "ipMasq": True,
    "macspoofchk": True,
    "runtimeConfig": {
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": {
            "ingressRate": 8_000_000,
            "ingressBurst": 800_000,
            "egressRate": 8_000_000,
            "egressBurst": 800_000,
        },
    },
}


def valid(*containers: str, ifname: str = "eth0") -> list[dict[str, str]]:
    return [{"containerID": one, "ifname": ifname} for one in containers]


def conf_of(node: Node, **keys: object) -> dict[str, Any]:
    return node.conf(cniVersion="1.1.0") | keys


def collect(node: Node, *containers: str, **keys: object) -> Answer:
    """GC that leaves only these containers."""
    return ask(node, "GC", conf_of(node, **keys) | {NEW: valid(*containers)})


@pytest.mark.parametrize("key", [NEW, OLD])
def test_G1_either_key_tells_what_is_valid(node: Node, key: str) -> None:
    pods = [node.pod(), node.pod()]
    for name, pod in zip(("kept", "stale"), pods, strict=True):
        node.add(name, pod, conf_of(node))
    silent(ask(node, "GC", conf_of(node) | {key: valid("kept")}))
    assert set(node.held()) == {"kept"}
    assert [node.links(pod) for pod in pods] == [{"lo", "eth0"}, {"lo"}]
    assert node.pings(pods[0], "10.244.1.1")


def test_G1_of_both_keys_the_newer_one_counts(node: Node) -> None:
    for name in ("a", "b"):
        node.add(name, node.pod(), conf_of(node))
    silent(ask(node, "GC", conf_of(node) | {NEW: valid("a"), OLD: valid("b")}))
    assert set(node.held()) == {"a"}
    silent(ask(node, "GC", conf_of(node) | {NEW: valid("a"), OLD: valid("a")}))
    assert set(node.held()) == {"a"}


def test_G1_an_attachment_is_container_and_interface(node: Node) -> None:
    pod = node.pod()
    for ifname in ("eth0", "net1"):
        node.add("c1", pod, conf_of(node), ifname=ifname)
    silent(ask(node, "GC", conf_of(node) | {NEW: valid("c1", ifname="net1")}))
    assert node.links(pod) == {"lo", "net1"}


@pytest.mark.parametrize(
    "wrong",
    [
        "c1",
        {"containerID": "c1"},
        5,
        ["c1"],
        [{"containerID": "c1"}],
        [{"ifname": "eth0"}],
        [{"containerID": "../x", "ifname": "eth0"}],
        [{"containerID": "c1", "ifname": "a/b"}],
        [{"containerID": 5, "ifname": "eth0"}],
        [None],
    ],
)
@pytest.mark.parametrize("key", [NEW, OLD])
def test_G1_a_list_of_another_shape_is_code_7_and_nothing_is_removed(
    node: Node, key: str, wrong: object
) -> None:
    node.add("c1", node.pod(), conf_of(node))
    refused(ask(node, "GC", conf_of(node) | {key: wrong}), 7, key)
    assert set(node.held()) == {"c1"}


def test_G2_everything_of_a_stale_attachment_goes(node: Node) -> None:
    """Address, pair, shaper, host port, spoof check; what the node needs as a whole stays."""
    warm = node.pod()
    node.add("warm", warm, conf_of(node, **FULL))
    node.delete("warm", warm, conf_of(node, **FULL))
    before = node.traces()
    pod = node.pod()
    node.add("c1", pod, conf_of(node, **FULL))
    silent(collect(node, ipMasq=True))
    after = node.traces()
    assert {key: after[key] for key in ("links", "held", "nft")} == {
        key: before[key] for key in ("links", "held", "nft")
    }


def test_G2_other_networks_are_left_alone(node: Node) -> None:
    other = conf_of(node, name="other", ipam={"subnet": "10.244.9.0/24"}, isDefaultGateway=False)
    pods = [node.pod(), node.pod()]
    node.add("c1", pods[0], conf_of(node))
    # On the same bridge, and with the same state file.
    node.add("c2", pods[1], other)
    silent(collect(node))
    assert set(node.held()) == {"c2"}
    assert [node.links(pod) for pod in pods] == [{"lo"}, {"lo", "eth0"}]


def test_G2_links_that_are_not_ours_are_left_alone(node: Node) -> None:
    node.add("c1", node.pod(), conf_of(node))
    for name in ("anyp0123456789a", "veth0"):
        node.execute(node.name, *f"ip link add {name} type veth peer name peer-{name[:4]}".split())
    node.execute(node.name, *"ip link set veth0 master cni0 alias anything".split())
    silent(collect(node))
    assert {"anyp0123456789a", "veth0"} <= node.links()


def test_G2_a_link_that_no_record_knows_goes_too(node: Node) -> None:
    """The state file was lost with a boot directory; what the link's alias says is enough."""
    pod = node.pod()
    node.add("lost", pod, conf_of(node))
    for file in node.state.iterdir():
        file.unlink()
    node.add("kept", node.pod(), conf_of(node))
    silent(collect(node, "kept"))
    assert node.links(pod) == {"lo"}
    assert set(node.held()) == {"kept"}


@pytest.mark.parametrize("key", [NEW, OLD])
@pytest.mark.parametrize("empty", [[], None], ids=["list", "null"])
def test_G3_an_empty_list_is_all_stale(node: Node, key: str, empty: object) -> None:
    """libcni sends null for a list of Go that is nil: a runtime without any container."""
    for number in range(3):
        node.add(f"c{number}", node.pod(), conf_of(node))
    silent(ask(node, "GC", conf_of(node) | {key: empty}))
    assert node.held() == {}
    assert node.links() == {"lo", "cni0"}


def test_G3_a_missing_list_is_an_error_and_never_all_stale(node: Node) -> None:
    node.add("c1", node.pod(), conf_of(node))
    before = node.traces()
    refused(ask(node, "GC", conf_of(node)), 7, NEW)
    refused(ask(node, "GC", conf_of(node) | {"cni.dev/valid": []}), 7, NEW)
    assert node.traces() == before


def test_G4_an_error_is_told_at_the_end_and_the_rest_is_done(node: Node, tmp_path: Path) -> None:
    ipam = FakeIpam(tmp_path / "cni")
    conf = conf_of(node, ipam={"type": "fake-ipam"})
    pod = node.pod()
    assert add_with(node, pod, conf, **ipam.variables).status == 0
    ipam.fails("GC")
    ipam.fails("DEL", msg="the fake refuses this too")
    answer = ask(node, "GC", conf | {NEW: []}, **ipam.variables)
    shown = refused(answer, 111)
    assert "the fake refuses" in shown["msg"]
    assert "the fake refuses this too" in shown["msg"]
    # What is left is the word that another plugin still has a reservation.
    assert not any(node.held().values())
    assert node.links(pod) == {"lo"}
    ipam.works("GC")
    ipam.works("DEL")
    silent(ask(node, "GC", conf | {NEW: []}, **ipam.variables))
    assert node.held() == {}


def test_G4_a_link_that_resists_is_told_and_the_addresses_are_free(node: Node) -> None:
    pods = [node.pod() for _ in range(3)]
    for number, pod in enumerate(pods):
        node.add(f"c{number}", pod, conf_of(node))
    trace = injected("sendto,sendmsg:error=EPERM")
    process = node.start(node.environment("GC", "", ""), conf_of(node) | {NEW: []}, trace)
    answer = finish(process)
    assert answer.status == 1
    assert answer.json["code"] != 999
    assert node.held() == {}
    silent(collect(node))
    assert all(node.links(pod) == {"lo"} for pod in pods)


def test_G5_gc_is_passed_on_to_the_delegated_plugin_with_its_list(node: Node, tmp_path: Path) -> None:
    ipam = FakeIpam(tmp_path / "cni")
    conf = conf_of(node, ipam={"type": "fake-ipam"}) | {NEW: valid("kept"), OLD: valid("kept")}
    silent(ask(node, "GC", conf, **ipam.variables))
    assert [call.split()[0] for call in ipam.calls()] == ["GC"]
    told = ipam.stdin("GC")
    assert (told["name"], told[NEW], told[OLD]) == ("pods", valid("kept"), valid("kept"))


def test_G6_what_was_attached_after_gc_began_stays(node: Node) -> None:
    """The list is older than the attachment: a runtime that locks too little."""
    node.add("stale", node.pod(), conf_of(node))
    pod, environment = node.pod(), node.environment("GC", "", "")
    process = waiting(node, {key: environment[key] for key in ("PATH", "CNI_COMMAND")})
    node.add("young", pod, conf_of(node))
    silent(finish(process, encoded(conf_of(node) | {NEW: []})))
    assert set(node.held()) == {"young"}
    assert node.pings(pod, "10.244.1.1")


def test_G6_an_add_that_is_under_way_is_left_alone_or_undoes_itself(node: Node) -> None:
    pod = node.pod()
    node.add("warm", node.pod(), conf_of(node))
    process = node.start(node.environment("ADD", "c1", pod), conf_of(node), SLOW)
    wait_until(lambda: "c1" in node.held(), "no address was given")
    silent(collect(node, "warm"))
    refused(finish(process), 3, "was deleted")
    assert set(node.held()) == {"warm"}
    assert node.links(pod) == {"lo"}


@pytest.mark.parametrize("namespace", ["there", "gone"])
def test_G7_a_stale_attachments_namespace_may_be_gone_or_there(node: Node, namespace: str) -> None:
    pod = node.pod()
    node.add("c1", pod, conf_of(node))
    if namespace == "gone":
        run("ip", "netns", "del", pod)
        node.pods.remove(pod)
    silent(collect(node))
    assert node.held() == {}
    wait_until(lambda: node.links() == {"lo", "cni0"}, "the pair stays")
    if namespace == "there":
        assert node.links(pod) == {"lo"}
        silent(node.call(node.environment("DEL", "c1", pod), encoded(conf_of(node))))
        node.add("c1", pod, conf_of(node))


def test_G7_nothing_to_collect_is_success(node: Node) -> None:
    silent(collect(node))
    node.add("c1", node.pod(), conf_of(node))
    for _ in range(2):
        silent(collect(node, "c1", "never"))
    assert set(node.held()) == {"c1"}
