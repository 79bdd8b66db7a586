"""CHECK passes while all is as ADD left it, and names what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.system.plugin_node import Node


def test_check_passes_and_names_what_is_missing(node: Node) -> None:
    pod = node.pod()
    result = node.add("c1", pod)
    conf = node.conf(prevResult=result)

    def check() -> tuple[int, str]:
        answer = node.verb("CHECK", "c1", pod, conf)
        return (0, answer.stdout) if answer.status == 0 else (answer.json["code"], answer.json["msg"])

    def broken(says: str, *change: str, namespace: str = pod) -> None:
        node.execute(namespace, *change)
        code, message = check()
        assert code == 104
        assert says in message

    assert check() == (0, "")
    node.execute(pod, "ip", "route", "add", "198.51.100.0/24", "via", "10.244.1.9")
    assert check() == (0, "")
    broken("lost its route 0.0.0.0/0", "ip", "route", "del", "default")
    node.execute(pod, "ip", "route", "add", "default", "via", "10.244.1.1")
    broken(
        "lost its gateway 10.244.1.1",
        "ip",
        "addr",
        "del",
        "10.244.1.1/24",
        "dev",
        "cni0",
        namespace=node.name,
    )
    node.execute(node.name, "ip", "addr", "add", "10.244.1.1/24", "dev", "cni0")
    broken("lost its address 10.244.1.2/24", "ip", "addr", "del", "10.244.1.2/24", "dev", "eth0")
    broken(
        "not a port of cni0",
        "ip",
        "link",
        "set",
        result["interfaces"][1]["name"],
        "nomaster",
        namespace=node.name,
    )
    node.execute(node.name, "ip", "link", "set", result["interfaces"][1]["name"], "master", "cni0")
    mac = result["interfaces"][2]["mac"]
    broken("has MAC 02:00:00:00:00:09", "ip", "link", "set", "eth0", "address", "02:00:00:00:00:09")
    node.execute(pod, "ip", "link", "set", "eth0", "address", mac)
    broken("is down", "ip", "link", "set", "eth0", "down")
    broken("is missing", "ip", "link", "del", "eth0")


def test_check_sees_another_mtu_and_a_lost_masquerade(node: Node) -> None:
    pod = node.pod()
    conf = node.conf(cniVersion="1.1.0", mtu=1400, ipMasq=True)
    conf["prevResult"] = node.add("c1", pod, conf)
    assert node.verb("CHECK", "c1", pod, conf).status == 0
    node.execute(pod, "ip", "link", "set", "eth0", "mtu", "1300")
    assert "has MTU 1300" in node.verb("CHECK", "c1", pod, conf).json["msg"]
    node.execute(pod, "ip", "link", "set", "eth0", "mtu", "1400")
    node.execute(node.name, "nft", "delete", "table", "inet", "anypod")
    assert "inet anypod is gone" in node.verb("CHECK", "c1", pod, conf).json["msg"]


def test_check_needs_the_result_of_add_and_a_version_that_knows_it(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod)
    assert node.verb("CHECK", "c1", pod).json["code"] == 7
    answer = node.verb("CHECK", "c1", pod, node.conf(cniVersion="0.3.1", prevResult={}))
    assert (answer.json["code"], answer.json["msg"]) == (1, "config version does not allow CHECK")
