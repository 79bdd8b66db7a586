"""The nftables tables over time: made in place of older ones, restored after a flush, and with strays in them."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

from cni import conntrack
from cni.elements import Element, ElementSocket, field, interface, spoof_elements
from cni.errors import CniError
from tests.system.outside import NODE, Outside
from tests.system.traffic import UDP, Server, ask, client, exchange, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cni.netlink import NetlinkSocket
    from tests.system.plugin_node import Node

# What anypod 0.1 made.
OLDER = """
table inet anypod {
    set masquerade4 { type ipv4_addr; flags interval; auto-merge; elements = { 10.9.0.0/24 } }
    set masquerade6 { type ipv6_addr; flags interval; auto-merge; elements = { fd09::/64 } }
    chain postrouting { type nat hook postrouting priority srcnat; policy accept; }
}
add rule inet anypod postrouting ip saddr @masquerade4 ip daddr != @masquerade4 ip daddr != 224.0.0.0/4 masquerade
add rule inet anypod postrouting ip6 saddr @masquerade6 ip6 daddr != @masquerade6 ip6 daddr != ff00::/8 masquerade
"""
PORT = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
MAPPED, OTHER = bytes((10, 1, 1, 1, 0, 80, 0, 0)), bytes((10, 1, 1, 2, 0, 81, 0, 0))


def key(port: int) -> bytes:
    return field(bytes((6,))) + field(port.to_bytes(2, "big"))


def nft(node: Node, *argv: str) -> str:
    return node.execute(node.name, "nft", *argv)


@pytest.fixture
def nftables(node: Node) -> Iterator[ElementSocket]:
    """Our codec's socket, on a node whose tables stand."""
    conf = node.conf(macspoofchk=True, runtimeConfig=PORT)
    pod = node.pod()
    node.add("first", pod, conf)
    node.delete("first", pod, conf)
    made = within(node.name, ElementSocket)
    yield made
    made.close()


def test_an_older_table_gets_what_is_new_and_loses_nothing(node: Node) -> None:
    node.execute(node.name, "nft", OLDER)
    pod = node.pod()
    node.add("c1", pod, node.conf(ipMasq=True, macspoofchk=True, runtimeConfig=PORT))
    assert nft(node, "list", "chain", "inet", "anypod", "postrouting").count("masquerade\n") == 2
    shown = nft(node, "list", "ruleset")
    for element in (
        "10.9.0.0/24",
        "10.244.1.0/24",
        "fd09::/64",
        "fd00:1::/64",
        "tcp . 8080 : 10.244.1.2 . 80",
    ):
        assert element in shown
    with Server(pod, 80, "c1"):
        assert ask(node.name, "127.0.0.1", 8080) == "c1 10.244.1.1"


def test_a_table_for_masquerading_alone_gets_port_mappings_when_a_pod_asks(node: Node) -> None:
    node.add("c1", node.pod(), node.conf(ipMasq=True))
    assert "hostports" not in nft(node, "list", "ruleset")
    assert node.execute(node.name, "sysctl", "-n", "net.ipv4.conf.cni0.route_localnet") == "0\n"
    pod = node.pod()
    node.add("c2", pod, node.conf(ipMasq=True, runtimeConfig=PORT))
    with Server(pod, 80, "c2"):
        assert ask(node.name, "127.0.0.1", 8080) == "c2 10.244.1.1"


@pytest.mark.parametrize("with_ports", [True, False])
def test_after_a_flush_the_next_add_restores_all_pods_mappings(node: Node, with_ports: bool) -> None:
    conf = node.conf(ipMasq=True, macspoofchk=True)
    pod = node.pod()
    node.add("c1", pod, conf | {"runtimeConfig": PORT})
    before = nft(node, "list", "ruleset")
    nft(node, "flush", "ruleset")
    other = node.pod()
    more = {"portMappings": [{"hostPort": 9090, "containerPort": 80}]} if with_ports else {}
    node.add("c2", other, conf | {"runtimeConfig": more})
    with Server(pod, 80, "c1"):
        assert ask(node.name, "127.0.0.1", 8080) == "c1 10.244.1.1"
    node.delete("c2", other, conf)
    assert nft(node, "list", "ruleset") == before


def test_after_a_flush_del_needs_no_table(node: Node) -> None:
    conf = node.conf(macspoofchk=True, runtimeConfig=PORT)
    pod = node.pod()
    node.add("c1", pod, conf)
    nft(node, "flush", "ruleset")
    node.delete("c1", pod, conf)
    assert node.held() == {}


def test_a_bridge_that_was_made_anew_lets_the_loopback_address_out_again(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod, node.conf(runtimeConfig=PORT))
    node.delete("c1", pod)
    node.execute(node.name, "ip", "link", "del", "cni0")
    # The first ADD behind that makes the bridge, and no port mapping.
    other = node.pod()
    node.add("c2", other)
    node.add("c1", pod, node.conf(runtimeConfig=PORT))
    with Server(pod, 80, "c1"):
        assert ask(node.name, "127.0.0.1", 8080) == "c1 10.244.1.1"


def test_an_element_that_nobody_holds_is_replaced(node: Node) -> None:
    pod = node.pod()
    node.add("c1", pod, node.conf(runtimeConfig=PORT))
    node.delete("c1", pod)
    nft(node, "add element inet anypod hostports4 { tcp . 8080 : 10.9.9.9 . 99 }")
    node.add("c1", pod, node.conf(runtimeConfig=PORT))
    with Server(pod, 80, "c1"):
        assert ask(node.name, "127.0.0.1", 8080) == "c1 10.244.1.1"


def test_elements_are_what_nft_shows(node: Node, nftables: ElementSocket) -> None:
    v6 = b"\x20\1\x0d\xb8" + bytes(11) + b"\1"
    nftables.put(
        [
            Element("hostports4", key(8080), MAPPED),
            Element("hostports6_ip", v6 + key(53), v6 + field(b"\0\x35")),
            Element("published4", key(8080) + MAPPED),
            *spoof_elements("anyp01234567890", b"\x0a\x58\1\2\3\4"),
        ]
    )
    shown = nft(node, "list", "ruleset")
    for element in (
        "tcp . 8080 : 10.1.1.1 . 80",
        "2001:db8::1 . tcp . 53 : 2001:db8::1 . 53",
        "tcp . 8080 . 10.1.1.1 . 80",
        '"anyp01234567890" . 0a:58:01:02:03:04',
        'elements = { "anyp01234567890" }',
    ):
        assert element in shown
    assert nftables.dump("hostports4") == [Element("hostports4", key(8080), MAPPED)]
    assert nftables.dump("bridges") == [Element("bridges", interface("cni0"))]


def test_a_put_replaces_what_stands_and_says_what_is_missing(nftables: ElementSocket) -> None:
    first, second = Element("hostports4", key(1), MAPPED), Element("hostports4", key(1), OTHER)
    nftables.put([first])
    nftables.put([first])
    nftables.put([second, Element("hostports4", key(2), OTHER)])
    assert nftables.missing([first, second]) == [first]
    assert len(nftables.dump("hostports4")) == 2


def test_a_put_that_is_refused_changes_nothing(node: Node, nftables: ElementSocket) -> None:
    nft(node, "delete", "table", "bridge", "anypod")
    with pytest.raises(CniError) as found:
        nftables.put([Element("hostports4", key(1), MAPPED), Element("guarded", interface("anyp0"))])
    assert found.value.code == 11
    with pytest.raises(CniError) as found:
        nftables.put([Element("hostports4", key(1), MAPPED), Element("hostports4", b"short", MAPPED)])
    assert found.value.code == 103
    assert nftables.dump("hostports4") == []


def test_a_removal_takes_out_what_is_there(node: Node, nftables: ElementSocket) -> None:
    there, other = Element("hostports4", key(1), MAPPED), Element("hostports4", key(2), MAPPED)
    nftables.put([there, other])
    nftables.remove([Element("hostports4", key(3)), there, *spoof_elements("anyp0", bytes(6))])
    assert nftables.dump("hostports4") == [other]
    nftables.remove([Element("hostports4", b"no such key"), Element("no such set", key(1)), other])
    nftables.put([other])
    nft(node, "flush", "ruleset")
    nftables.remove([other])
    assert nftables.dump("hostports4") == []
    assert nftables.missing([other]) == [other]


def test_a_batch_that_is_longer_than_a_sockets_buffer_is_one_all_the_same(nftables: ElementSocket) -> None:
    many = [Element("hostports6", key(port), bytes(16) + field(b"\0\x50")) for port in range(1, 5001)]
    nftables.put(many)
    assert set(nftables.dump("hostports6")) == set(many)
    nftables.remove([*many, Element("hostports6", key(6000))])
    assert nftables.dump("hostports6") == []


def test_without_the_privilege_the_answer_comes_at_once(node: Node) -> None:
    """The head of a batch is all that the kernel answers then."""
    code = (
        "from cni.elements import *\n"
        "try: ElementSocket().put([Element('guarded', interface('x'))])\n"
        "except CniError as error: print(error.code, error.message)"
    )
    argv = ["setpriv", "--bounding-set=-net_admin", sys.executable, "-c", code]
    assert "103 the kernel refused" in node.execute(node.name, *argv)


@pytest.mark.parametrize("forget", [conntrack.forget_udp, conntrack.forget_listed])
def test_udp_connections_to_one_port_are_forgotten(
    node: Node, nftables: ElementSocket, forget: Callable[[NetlinkSocket, int, int], None]
) -> None:
    outside = Outside(node)
    for address, family in ((NODE["v4"], socket.AF_INET), (NODE["v6"], socket.AF_INET6)):
        with (
            Server(node.name, 8080),
            Server(node.name, 9090),
            client(outside.name, address, 8080, UDP) as first,
            client(outside.name, address, 9090, UDP) as second,
        ):
            exchange(first)
            exchange(second)
        assert [connections(nftables, family, port) for port in (8080, 9090)] == [1, 1]
        forget(nftables.netfilter, family, 8080)
        assert [connections(nftables, family, port) for port in (8080, 9090)] == [0, 1]


def connections(nftables: ElementSocket, family: int, port: int) -> int:
    listed = conntrack.matching(conntrack.IPCTNL_MSG_CT_GET, conntrack.NLM_F_DUMP, family, port)
    return len(nftables.netfilter.dump(listed))
