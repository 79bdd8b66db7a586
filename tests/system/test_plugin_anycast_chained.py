"""Behind another plugin that made the pod: virtual IPs for a cluster that has its network already."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from cni.attach import owner_alias
from tests.fake_plugin import fake_plugin
from tests.system.anycast_rig import (
    ANNOTATIONS,
    POOLS,
    V4,
    V6,
    ips,
    nexthop,
    nexthops,
    on_lo,
    rows,
    served,
    sysctl,
)
from tests.system.conflist import REFERENCE, Attachment, Conflist
from tests.system.plugin_node import refused, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.plugin_node import Answer, Node

IPAM = {"type": "host-local", "ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:1::/64"}]]}
MADE_BY: dict[str, dict[str, Any]] = {
    "bridge": {"type": "bridge", "bridge": "br0", "isGateway": True, "isDefaultGateway": True},
    "ptp": {"type": "ptp"},
}


def behind(node: Node, kind: str, **keys: object) -> Conflist:
    """anypod behind the reference plugin of that kind."""
    ipam = IPAM | {"dataDir": f"{node.state}-data"}
    ourself = {
        "type": "anypod",
        "stateDir": str(node.state),
        "capabilities": {ANNOTATIONS: True},
        "anycast": POOLS,
    }
    return Conflist(node, [MADE_BY[kind] | {"ipam": ipam}, ourself | keys])


def attachment(node: Node, *vips: str, container: str = "c1") -> Attachment:
    annotations = {"anypod.dev/anycast": ",".join(vips)} if vips else {}
    return Attachment(container, node.pod(), capabilities={ANNOTATIONS: annotations})


def gc(conflist: Conflist, *valid: str) -> Answer:
    conf = conflist.plugins[-1] | {"name": conflist.name, "cniVersion": "1.1.0"}
    conf["cni.dev/valid-attachments"] = [{"containerID": one, "ifname": "eth0"} for one in valid]
    env = {"PATH": os.environ["PATH"], "CNI_COMMAND": "GC", "CNI_PATH": "/x"}
    return conflist.node.call(env, json.dumps(conf).encode())


def status(conflist: Conflist) -> Answer:
    conf = conflist.plugins[-1] | {"name": conflist.name, "cniVersion": "1.1.0"}
    return conflist.node.call(
        {"PATH": os.environ["PATH"], "CNI_COMMAND": "STATUS"}, json.dumps(conf).encode()
    )


@pytest.mark.parametrize("kind", MADE_BY)
def test_a_pod_of_another_plugin_serves_and_its_result_passes_as_it_is(node: Node, kind: str) -> None:
    conflist, one = behind(node, kind), attachment(node, V4, V6)
    alone = Conflist(node, conflist.plugins[:1])
    other = attachment(node, container="alone")
    expected = alone.add(other)
    result = conflist.add(one)
    assert result.keys() == expected.keys()
    assert result.get("routes") == expected.get("routes")
    first, second = (ip["address"].partition("/")[0] for ip in result["ips"])
    assert {(vip.ip, vip.via) for vip in served(node)["c1"]} == {(V4, first), (V6, second)}
    assert on_lo(node, one.pod) == {f"{V4}/32", f"{V6}/128"}
    # The speaker announces what is in table address.
    assert node.held() == {"c1": ()}
    assert rows(node, "SELECT * FROM address") == []
    assert sysctl(node, one.pod, "ipv4/conf/eth0/accept_redirects") == "0"
    # No bridge of ours, no link.
    assert not {name for name in node.links() if name.startswith(("anyp", "cni"))}
    for vip, via in ((V4, first), (V6, second)):
        (way,) = node.ip("route", "get", via)
        # As the speaker's next hops are: over ptp's routes of scope host the kernel would skip the gateway.
        run(*f"ip -n {node.name} route add {vip} via {via} dev {way['dev']} onlink".split())
        # The reference bridge's own IPv6 address takes its time.
        assert any(node.pings(node.name, vip) for _ in range(5))
    assert conflist.check(one) == {}
    node.execute(one.pod, *f"ip addr del {V4}/32 dev lo".split())
    refused(conflist.check(one)["anypod"], 104, f"lost its virtual IP {V4}")
    assert conflist.delete(one) == {}
    assert (ips(node), on_lo(node, one.pod), node.held()) == ({}, set(), {})
    assert conflist.delete(one) == {}
    assert alone.delete(other) == {}


def test_a_pod_that_asks_for_nothing_is_not_recorded_and_ignores_redirects(node: Node) -> None:
    conflist, one = behind(node, "bridge"), attachment(node)
    result = conflist.add(one)
    assert len(result["ips"]) == 2
    assert (node.held(), on_lo(node, one.pod)) == ({}, set())
    assert sysctl(node, one.pod, "ipv6/conf/eth0/accept_redirects") == "0"
    assert conflist.check(one) == {}
    assert conflist.delete(one) == {}


def test_the_netconf_may_give_each_pod_a_vip(node: Node) -> None:
    conflist, one = behind(node, "bridge", anycast=POOLS | {"vips": [V4]}), attachment(node)
    conflist.add(one)
    assert ips(node) == {"c1": [V4]}
    assert conflist.check(one) == {}
    for file in node.state.iterdir():
        file.unlink()
    refused(conflist.check(one)["anypod"], 104, "has no virtual IPs of c1/eth0, which asks for some")


def test_gc_ends_what_is_not_listed_and_its_next_hops_and_nothing_of_the_other_plugin(node: Node) -> None:
    conflist = behind(node, "bridge")
    first, second = attachment(node, V4), attachment(node, V4, container="c2")
    conflist.add(first)
    conflist.add(second)
    for vips in served(node).values():
        nexthop(node, "add", "id", str(vips[0].nexthop), "via", vips[0].via, "dev", "br0")
    links = node.links()
    assert gc(conflist, "c1", "c2").status == 0
    assert ips(node) == {"c1": [V4], "c2": [V4]}
    assert gc(conflist, "c2").status == 0
    assert ips(node) == {"c2": [V4]}
    assert nexthops(node).keys() == {served(node)["c2"][0].nexthop}
    assert node.links() == links
    assert conflist.delete(first) == {}


def test_status_asks_for_no_bridge_of_ours(node: Node) -> None:
    conflist, one = behind(node, "ptp"), attachment(node, V4)
    assert status(conflist).status == 0
    conflist.add(one)
    assert status(conflist).status == 0


def test_reclaim_takes_back_the_pods_whose_namespace_has_gone_and_no_others(node: Node) -> None:
    """No link of ours stands for them."""
    conflist = behind(node, "bridge")
    stays, leaves = attachment(node, V4, container="stays"), attachment(node, V4, container="leaves")
    conflist.add(stays)
    conflist.add(leaves)
    run("ip", "netns", "del", leaves.pod)
    node.pods.remove(leaves.pod)
    # The second ADD of a container that stands has to look who is gone.
    ourself = conflist.plugins[-1]
    refused(conflist.run("ADD", stays, ourself, stays.result), 101, "have anypod once in the list")
    assert ips(node) == {"stays": [V4]}


def test_two_anypods_in_a_list_are_refused(node: Node) -> None:
    ourself = behind(node, "bridge").plugins[-1]
    first = {"type": "anypod", "bridge": "cni0", "isGateway": True, "stateDir": str(node.state)}
    twice = Conflist(node, [first | {"ipam": {"subnet": "10.244.1.0/24"}}, ourself])
    one = attachment(node, V4)
    refused(twice.try_add(one), 2, "anypod made eth0 already; have one anypod in the list")
    assert ips(node) == {}
    assert twice.delete(one) == {}
    thrice = Conflist(node, [*behind(node, "bridge").plugins, ourself])
    refused(thrice.try_add(one), 101, "have anypod once in the list")
    assert thrice.delete(one) == {}
    assert (ips(node), node.held(), on_lo(node, one.pod)) == ({}, {}, set())


def test_first_in_the_list_without_ipam_is_refused(node: Node) -> None:
    conflist = behind(node, "bridge")
    one = attachment(node)
    answer = conflist.run("ADD", one, conflist.plugins[-1])
    refused(answer, 7, "none made eth0; put anypod behind that plugin, or set ipam")
    assert node.links() == {"lo"}


def test_what_another_plugins_pods_can_t_have_is_refused(node: Node) -> None:
    conflist = behind(node, "bridge", capabilities={ANNOTATIONS: True, "portMappings": True})
    one = attachment(node, V4)
    one.capabilities["portMappings"] = [{"hostPort": 80, "containerPort": 80}]
    refused(conflist.try_add(one), 2, "runtimeConfig.portMappings: anypod gives virtual IPs alone")
    assert conflist.delete(one) == {}
    with_ipam = behind(node, "bridge", ipam={"subnet": "10.9.0.0/24"})
    other = attachment(node, V4, container="c2")
    refused(with_ipam.try_add(other), 2, "made eth0 already; put anypod first")
    assert with_ipam.delete(other) == {}
    without = behind(node, "bridge", anycast=None)
    refused(without.try_add(other), 2, "To give its pods virtual IPs, set anycast")
    assert without.delete(other) == {}
    assert (ips(node), node.held()) == ({}, {})


@pytest.mark.parametrize(
    ("told", "code", "says"),
    [
        ('"ips": [{"address": "10.9.0.5/24", "interface": 0}]', 7, "there is none in"),
        ('"ips": [{"address": "198.51.100.77/24", "interface": 0}]', 102, "the pod's own subnet"),
        ('"ips": [{"address": "198.51.100.10/32", "interface": 0}]', 102, "the pod's own subnet"),
        ('"ips": []', 106, "needs a pod with an IPv6 address"),
    ],
)
def test_a_result_that_does_not_fit_the_pod_is_refused_and_leaves_nothing(
    node: Node, tmp_path: Path, told: str, code: int, says: str
) -> None:
    answer = f'{{"cniVersion": "1.0.0", "interfaces": [{{"name": "eth0", "sandbox": "$CNI_NETNS"}}], {told}}}'
    shown = answer.replace('"', '\\"')
    fake_plugin(tmp_path, "earlier", f'[ $CNI_COMMAND != ADD ] || echo "{shown}"')
    ourself = behind(node, "bridge").plugins[-1]
    conflist = Conflist(node, [{"type": "earlier"}, ourself], directories=(tmp_path, REFERENCE))
    one = attachment(node, V4)
    refused(conflist.try_add(one), code, says)
    assert (ips(node), on_lo(node, one.pod), node.held()) == ({}, set(), {})


def test_a_link_of_ours_with_that_alias_is_no_matter(node: Node) -> None:
    """Judged by the namespace alone: DEL in a network without our links finds none and succeeds."""
    conflist, one = behind(node, "bridge"), attachment(node, V4)
    conflist.add(one)
    run("ip", "-n", node.name, "link", "set", "br0", "alias", owner_alias("pods", "c1", "eth0"))
    assert conflist.delete(one) == {}
    assert "br0" in node.links()
