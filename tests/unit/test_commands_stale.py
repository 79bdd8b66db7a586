"""What of links and nftables elements is left of pods that are gone: only what can be proved."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from cni.attach import host_ifname, ifb_ifname
from cni.elements import IFNAMSIZ, Element
from cni.network import Network, Range, packed
from speaker.commands.gc import listed
from speaker.commands.stale import Held, judge

if TYPE_CHECKING:
    from cni.owned import OwnedLink

PODS = {"c1": host_ifname("c1", "eth0"), "c2": host_ifname("c2", "eth0")}


def number(text: str) -> int:
    return int.from_bytes(packed(text), "big")


RANGE = Range(4, number("10.1.0.0"), 24, number("10.1.0.1"), number("10.1.0.254"), number("10.1.0.1"))
NETWORK = Network("pods", bridge="cni0", range_sets=[[RANGE]])


def link(name: str, alias: str = "", kind: str = "veth", **fields: Any) -> OwnedLink:
    words = alias.split(" ")
    owner = tuple(words[2].split("/")) if len(words) > 2 else None
    usual = {"index": hash(name), "master": 0, "alias": alias, "kind": kind, "name": name}
    made = SimpleNamespace(
        **{**usual, **fields}, network=lambda: words[1] if len(words) > 1 else "", owner=lambda: owner
    )
    return cast("OwnedLink", made)


def held(**fields: Any) -> Held:
    record = ("c1", "eth0", "pods", "/run/netns/x", 5, 10, "", PODS["c1"])
    return Held(**{"records": [record], "networks": [NETWORK], "addresses": {packed("10.1.0.5")}, **fields})


BRIDGE = link("cni0", kind="bridge", index=7)
FIRST = link(PODS["c1"], "anypod pods c1/eth0", master=7)
SECOND = link(PODS["c2"], "anypod pods c2/eth0", master=7)


def test_what_a_record_explains_stays() -> None:
    found = judge(held(), [BRIDGE, FIRST], [], [])
    assert len(found) == 0
    assert found.kept == []


def test_a_link_without_a_record_goes_only_where_its_pod_was_deleted() -> None:
    assert judge(held(), [BRIDGE, FIRST, SECOND], [], []).kept == [SECOND]
    found = judge(held(deleted={("c2", "eth0")}), [BRIDGE, FIRST, SECOND], [], [])
    assert (found.links, found.kept) == ([SECOND], [])


def test_what_is_of_another_state_file_is_not_looked_at() -> None:
    other = link(PODS["c2"], "anypod elsewhere c2/eth0")
    found = judge(held(deleted={("c2", "eth0")}), [BRIDGE, other], [], [])
    assert (found.links, found.kept) == ([], [])


def test_an_add_that_was_cut_off_leaves_a_link_without_a_name_of_its_own() -> None:
    half = link(PODS["c2"], master=7)
    assert judge(held(), [BRIDGE, half], [], []).links == [half]
    assert judge(held(), [BRIDGE, link(PODS["c2"], master=9)], [], []).links == []


def test_a_device_of_limits_goes_when_its_pods_link_is_gone() -> None:
    limits = link(ifb_ifname("c2", "eth0"), "anypod pods c2/eth0", kind="ifb")
    assert judge(held(), [BRIDGE, limits], [], []).links == [limits]
    assert judge(held(), [BRIDGE, SECOND, limits], [], []).links == []


def guarded(name: str) -> Element:
    return Element("guarded", name.encode().ljust(IFNAMSIZ, b"\0"), b"")


def port(ip: str) -> Element:
    return Element("hostports4", bytes([6, 0, 0, 0, 0, 80, 0, 0]), packed(ip) + bytes(4))


def test_elements_go_that_lead_to_nobody() -> None:
    there, gone = guarded(PODS["c1"]), guarded(PODS["c2"])
    ours, nobodys, foreign = port("10.1.0.5"), port("10.1.0.9"), port("10.9.0.9")
    found = judge(held(), [BRIDGE, FIRST], [], [there, gone, ours, nobodys, foreign])
    assert found.elements == [gone, nobodys]
    recorded = held(elements={(one.set_name, one.key) for one in (gone, nobodys)})
    assert judge(recorded, [BRIDGE, FIRST], [], [gone, nobodys]).elements == []


def test_where_a_pod_may_run_without_a_record_its_ports_stay() -> None:
    assert judge(held(), [BRIDGE, FIRST, SECOND], [], [port("10.1.0.9")]).elements == []


def test_each_thing_has_a_reason() -> None:
    record = ("c3", "eth0", "pods", "/run/netns/y", 5, 10, "", "anyp3")
    found = judge(held(deleted={("c2", "eth0")}), [BRIDGE, SECOND], [record], [guarded("anypgone")])
    rows = listed(found)
    assert [row["what"] for row in rows] == ["attachment", "link", "element"]
    assert all(row["name"] and row["why"] for row in rows)
